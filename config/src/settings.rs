//! The table of settings: each declared once. Everything else about a setting is derived from its row.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rustcorn_sys::log::syslog::{Address as SyslogAddress, Facility};
use rustcorn_sys::log::{Format, Level};

use crate::access_rule::{AccessFile, AccessFormat, AccessLog, LineFormat};
use crate::address::{Address, StatsdHost};
use crate::app::App;
use crate::connection_rule::{FilePath, Protocol, Protocols};
use crate::control_rule::{Permissions, SocketPath};
use crate::dev_rule::Paths;
use crate::endpoint::Endpoint;
use crate::http_rule::{HEADER_MAP, HeaderMap, Names, PROXY_PROTOCOL, ProxyProtocol, SchemeHeaders};
use crate::input::Input;
use crate::log_rule::{LogFacility, LogFile, LogFormat, LogLevel, PREFIX_FORBIDDEN, SyslogServer};
use crate::process_rule::{Account, Octal, Place, Profile, Variables};
use crate::rule::{
    Addresses, Choice, Line, MaybeAddress, OneOf, Otlp, Ratio, Rule, Statsd, Switch, Time, TimeOrOff, Whole, Words,
    Workers,
};
use crate::setting::{Apply, Fallback, Setting};
use crate::size::Bytes;
use crate::trust::{Networks, Trusted};

const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;

/// `Settings`, one field a row, and `SETTINGS`, one element a row.
macro_rules! settings {
    ($($key:ident: $type:ty = $default:literal, $rule:expr, $flags:literal $value:literal, $apply:ident,
       $(or $variable:literal $convert:path,)? $help:literal;)*) => {
        /// Every setting, resolved.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Settings {
            $(#[doc = $help] pub $key: $type,)*
            /// The application's own table.
            pub app: App,
        }

        impl Settings {
            /// The built-in values, and no application.
            #[must_use]
            pub fn defaults() -> Self {
                Self {
                    $($key: Rule::<$type>::parse(&$rule, &Input::Untyped($default.to_owned()))
                        .expect("a test parses every default"),)*
                    app: App::default(),
                }
            }
        }

        /// Every setting, in the order of the docs.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: stringify!($key),
            value: $value,
            default: $default,
            help: $help,
            apply: Apply::$apply,
            flags: $flags,
            fallback: settings!(@fallback $($variable $convert)?),
            allowed: || Rule::<$type>::allowed(&$rule),
            set: |settings, input| Rule::<$type>::parse(&$rule, input).map(|value| settings.$key = value),
            show: |settings| Rule::<$type>::show(&$rule, &settings.$key),
        }),*];
    };
    (@fallback) => { None };
    (@fallback $variable:literal $convert:path) => { Some(Fallback { variable: $variable, convert: $convert }) };
}

settings! {
    profile: String = "", Profile, "--profile" "NAME", Both,
        "Other defaults for a place to run in; what any layer says explicitly wins. gke: behind Google's load balancers, keepalive \
         = 620, drain_delay = 15, log_format = json.";
    bind: Vec<Address> = "127.0.0.1:8000", Addresses, "-b --bind" "ADDRESS", Workers,
        or "PORT" any_interface,
        "Addresses to listen on. Port 8000 where none is named, port 0 for one that the kernel chooses, no host for \
         every IPv4 interface. Given several times, or with commas, for several addresses. fd://N is a socket that is open \
         already. Sockets that systemd hands over take the place of all of these.";
    backlog: u32 = "2048", Whole(1, 65_535), "--backlog" "N", Both,
        "Connections that may wait to be accepted, per address. The kernel lowers it to net.core.somaxconn without a word.";
    socket_mode: Option<u32> = "", Octal, "--socket-mode" "MODE", Master,
        "Permissions of unix sockets, in octal; to connect takes the right to write. Empty means 0777 less umask where umask is \
         set, else 0660: the owner and the group. The owner is user and group, where they are set.";
    reuse_port: bool = "false", Switch, "--reuse-port" "", Restart,
        "One TCP socket per worker and address (SO_REUSEPORT) instead of one that all share: the kernel spreads new connections \
         evenly. The master holds them all, so none of their queues is lost with a worker.";
    workers: usize = "auto", Workers(Whole(1, 1024)), "-w --workers" "N", Master,
        or "WEB_CONCURRENCY" unchanged,
        "Worker processes to keep alive; auto means one per CPU that the affinity mask and the cgroup allow.";
    threads: usize = "1", Whole(1, 1024), "--threads" "N", Workers,
        "Threads that serve requests, per worker.";
    worker_connections: usize = "1000", Whole(1, 1_000_000), "--worker-connections" "N", Workers,
        "Connections that one worker holds at the same time; more wait in the backlog or go to another worker.";
    timeout: Duration = "30", TimeOrOff(Time(SECOND, 24 * HOUR)), "-t --timeout" "SECONDS", Both,
        "A worker that gives no sign of life for this long is aborted and replaced; 0 turns the check off. It is no limit \
         for a request: a worker that waits is alive.";
    graceful_timeout: Duration = "30", Time(0, 24 * HOUR), "--graceful-timeout" "SECONDS", Both,
        "Time that a worker has to finish its requests once it was asked to leave; then it is killed.";
    drain_delay: Duration = "0", Time(0, HOUR), "--drain-delay" "SECONDS", Both,
        "On a stop, time to go on accepting connections before the drain begins, so that a load balancer notices first.";
    boot_timeout: Duration = "60", Time(100, HOUR), "--boot-timeout" "SECONDS", Master,
        "Time that a new worker has to become ready; then it is killed.";
    keepalive: Duration = "75", Time(0, 24 * HOUR), "--keep-alive" "SECONDS", Workers,
        "Time that an idle connection is kept open for its next request; 0 closes after every response.";
    header_timeout: Duration = "30", Time(10, HOUR), "--header-timeout" "SECONDS", Workers,
        "Time that a client has to send the head of a request.";
    body_timeout: Duration = "30", TimeOrOff(Time(100, HOUR)), "--body-timeout" "SECONDS", Workers,
        "Time that the body of a request may stand still while there is room for it; then 408. 0 turns that off.";
    body_min_rate: u64 = "240", Bytes, "--body-min-rate" "BYTES", Workers,
        "Bytes a second that the body of a request must come in at least, on average over body_timeout, while there is room for \
         it; then 408. 0 turns that off.";
    write_timeout: Duration = "60", TimeOrOff(Time(100, HOUR)), "--write-timeout" "SECONDS", Workers,
        "Time that a client may take none of the response that waits for it; then the connection, or its stream of HTTP/2, is cut. 0 turns that off.";
    request_timeout: Duration = "0", TimeOrOff(Time(100, 24 * HOUR)), "--request-timeout" "SECONDS", Workers,
        "Time that the application has to begin its response; then it is dropped and the client gets 504. 0 turns that off.";
    max_body_size: u64 = "0", Bytes, "--max-body-size" "SIZE", Workers,
        "Largest body of a request; beyond it 413. 0 for any size: bodies are streamed, and cost what the application keeps.";
    limit_request_line: usize = "4094", Whole(0, 65_534), "--limit-request-line" "BYTES", Workers,
        "Longest request line without its line end; beyond it 414. 0 for the longest there can be.";
    limit_request_fields: usize = "100", Whole(0, 16_384), "--limit-request-fields" "N", Workers,
        "Most header lines of a request, dropped ones included; beyond it 431. 0 for the most there can be.";
    limit_request_field_size: usize = "8190", Whole(0, 65_534), "--limit-request-field_size" "BYTES", Workers,
        "Longest header line with its line end; beyond it 431. 0 for the longest there can be.";
    limit_request_head: usize = "65536", Whole(8192, 1_048_576), "--limit-request-head" "BYTES", Workers,
        "Largest head of a request: its line and all header lines together; beyond it 431. That much memory a client can take \
         by sending slowly.";
    permit_obsolete_folding: bool = "false", Switch, "--permit-obsolete-folding" "", Workers,
        "Accept header lines that go on in the next line; otherwise 400. The line ends become blanks.";
    strip_header_spaces: bool = "false", Switch, "--strip-header-spaces" "", Workers,
        "Accept blanks between a header's name and its colon, and drop them; otherwise 400. Unsafe behind a proxy that keeps them.";
    permit_unconventional_http_method: bool = "false", Switch, "--permit-unconventional-http-method" "", Workers,
        "Accept methods with lower-case letters or a number sign, shorter than 3 or longer than 20; otherwise 400.";
    permit_unconventional_http_version: bool = "false", Switch, "--permit-unconventional-http-version" "", Workers,
        "Take HTTP/0.x and HTTP/2.x to HTTP/9.x on the request line for HTTP/1.1; otherwise 505.";
    casefold_http_method: bool = "false", Switch, "--casefold-http-method" "", Workers,
        "Turn methods into upper case before anything looks at them.";
    header_map: HeaderMap = "drop", HEADER_MAP, "--header-map" "WHAT", Workers,
        "What to do with a header whose name has an underscore: drop it, refuse the request with 400, or, dangerous, let it pass.";
    forwarder_headers: Vec<String> = "SCRIPT_NAME,PATH_INFO", Names, "--forwarder-headers" "NAMES", Workers,
        "Headers with an underscore that pass all the same from peers in forwarded_allow_ips.";
    forwarded_allow_ips: Trusted = "127.0.0.1,::1", Networks, "--forwarded-allow-ips" "NETWORKS", Workers,
        or "FORWARDED_ALLOW_IPS" unchanged,
        "Peers that are believed what they say of scheme and client; the TCP peer counts, not what the PROXY protocol says. \
         Peers on unix sockets always are.";
    secure_scheme_headers: Vec<(String, String)> =
        "X-FORWARDED-PROTO=https,X-FORWARDED-PROTOCOL=ssl,X-FORWARDED-SSL=on", SchemeHeaders,
        "--secure-scheme-headers" "HEADERS", Workers,
        "Headers, and the value of each that means https; any other value means http. Believed from forwarded_allow_ips.";
    proxy_protocol: ProxyProtocol = "off", PROXY_PROTOCOL, "--proxy-protocol" "VERSION", Workers,
        "Which headers of the PROXY protocol a connection may begin with: off, v1, v2, or auto for both.";
    proxy_allow_ips: Trusted = "127.0.0.1,::1", Networks, "--proxy-allow-from" "NETWORKS", Workers,
        "Peers that may send a header of the PROXY protocol. Peers on unix sockets always may.";
    max_connection_age: Duration = "0", TimeOrOff(Time(10, 365 * 24 * HOUR)), "--max-connection-age" "SECONDS", Workers,
        "Time after which a connection is told to end, up to a tenth more by connection: HTTP/1.1 by Connection: close on its next \
         response, HTTP/2 by GOAWAY. Nothing under way is cut. 0 turns that off.";
    max_requests: u64 = "0", Whole(0, 1_000_000_000_000), "--max-requests" "N", Workers,
        "Requests after which a worker is replaced, against leaks; it serves until its successor is ready. 0 turns that off.";
    max_requests_jitter: u64 = "0", Whole(0, 1_000_000_000_000), "--max-requests-jitter" "N", Workers,
        "Up to so many requests more, by chance for each worker, so that not all are replaced at once.";
    max_rss: u64 = "0", Bytes, "--max-rss" "SIZE", Master,
        "Resident memory above which a worker is replaced, seen in three looks in a row, one in 5 seconds; it serves until its \
         successor is ready. 0 turns that off.";
    worker_lifetime: Duration = "0", TimeOrOff(Time(SECOND, 365 * 24 * HOUR)), "--worker-lifetime" "SECONDS", Master,
        "Time after which a worker is replaced, up to a tenth more by worker; it serves until its successor is ready. 0 turns \
         that off.";
    max_surge: usize = "1", Whole(1, 1024), "--max-surge" "N", Master,
        "Workers beyond the wanted number that may run while old ones are replaced.";
    restart_backoff: Duration = "0.1", Time(0, 30 * SECOND), "--restart-backoff" "SECONDS", Master,
        "Wait before a worker that keeps dying is started again; doubles with each death up to 30 seconds, 0 turns it off.";
    upgrade: String = "manual", Choice(&["manual", "auto"]), "--upgrade" "MODE", Master,
        "Who ends an upgrade to a new program (SIGUSR2): manual, the operator, by a TERM to the old master or, to go back, to the \
         new one; auto, the old master, once all workers of the new one are ready.";
    chdir: Option<PathBuf> = "", Place, "--chdir" "PATH", Both,
        "Directory to work in: where relative paths begin, except that of the configuration file. Workers run in it.";
    pidfile: Option<PathBuf> = "", Place, "-p --pid" "PATH", Master,
        "File that holds the master's process id while it runs. A start is refused while another server holds the file; one that \
         was left behind is replaced.";
    daemon: bool = "false", Switch, "-D --daemon" "", Restart,
        "Run in the background, away from the terminal. The command returns once the server serves, or with the reason and exit \
         code of a start that failed.";
    proc_name: String = "", Line, "-n --name" "NAME", Both,
        "Name in brackets in the process titles, after \"rustcorn: master\"; empty for the application's.";
    user: String = "", Account, "-u --user" "NAME", Both,
        "User of the workers and the admin process, by name or number; empty for the master's own. The master binds, opens and \
         goes on as who started it, which has to be root.";
    group: String = "", Account, "-g --group" "NAME", Both,
        "Group of the workers and the admin process, by name or number; empty for the user's own.";
    initgroups: bool = "false", Switch, "--initgroups" "", Workers,
        "Give workers all groups that user is a member of. Otherwise they have the one group alone.";
    umask: Option<u32> = "", Octal, "-m --umask" "MASK", Both,
        "Permissions that files made by workers do not get, in octal; empty for those that the master was started with.";
    raw_env: BTreeMap<String, String> = "", Variables, "-e --env" "KEY=VALUE", Workers,
        "Environment of the workers, beyond the master's own. In the file it is a table: a line [env], below it KEY = \"VALUE\".";
    dev: bool = "false", Switch, "--dev --reload" "", Master,
        "For development: reload when the configuration file changes, the program's file (not that of a built-in handler), or \
         what dev_watch names.";
    dev_watch: Vec<PathBuf> = "", Paths, "--dev-watch --reload-extra-file" "PATH", Master,
        "More files for dev to watch; a directory stands for everything in it, but for names that begin with a dot.";
    admin_bind: Option<Address> = "", MaybeAddress, "--admin-bind" "ADDRESS", Master,
        "Address of the admin process, which answers /livez, /readyz, /metrics and /status; one of the forms of bind, empty \
         for no such process. Anyone who can connect may look, so keep it off the internet.";
    min_ready_workers: usize = "1", Whole(1, 1024), "--min-ready-workers" "N", Master,
        "Ready workers below which /readyz says that the server is not ready; at most as many as workers.";
    accesslog: AccessLog = "", AccessFile, "--access-logfile" "FILE", Workers,
        "File that gets a line for each request, as seen from the working directory; - for standard output, empty for none. USR1 \
         opens it anew, under the same name.";
    access_log_format: Option<AccessFormat> = "", LineFormat, "--access-logformat" "FORMAT", Workers,
        "What a line of the access log says. Empty for gunicorn's own, %(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \
         \"%(a)s\", or, with log_format = json, for an object with httpRequest.";
    errorlog: Option<PathBuf> = "-", LogFile, "--error-logfile --log-file" "FILE", Both,
        "File that log lines are appended to, as seen from the working directory; - for standard error. USR1 opens it anew, \
         under the same name.";
    capture_output: bool = "false", Switch, "--capture-output" "", Workers,
        "Send what workers write to standard output where the log goes, too.";
    control_socket: Option<PathBuf> = "", SocketPath, "--control-socket" "PATH", Master,
        "Unix socket on which rustcornctl talks to the master; empty for none. Only root and the master's own user are heard. A \
         file beside it, PATH.lock, keeps a second master from taking the path over.";
    control_socket_mode: u32 = "0600", Permissions, "--control-socket-mode" "MODE", Master,
        "Permissions of the control socket, in octal. They can keep people out; they let nobody in whom the master refuses.";
    certfile: String = "", FilePath, "--certfile" "FILE", Workers,
        "Certificate of the server with those that lead to its CA, as PEM; makes the server speak TLS on all its addresses. A \
         reload reads it again.";
    keyfile: String = "", FilePath, "--keyfile" "FILE", Workers,
        "Private key of the certificate, as PEM; empty means that certfile holds it, too. Only the master reads it.";
    ca_certs: String = "", FilePath, "--ca-certs" "FILE", Workers,
        "Certificates, as PEM, of the CAs that client certificates must come from.";
    cert_reqs: u8 = "0", Whole(0, 2), "--cert-reqs" "N", Workers,
        "Client certificates: 0 asks for none, 1 verifies one that is shown, 2 refuses clients without.";
    ciphers: String = "", Words { forbidden: "|#" }, "--ciphers" "LIST", Workers,
        "Cipher suites of TLS by their IANA names, with commas or colons between; empty for all that are safe.";
    tls_handshake_timeout: Duration = "10", Time(10, HOUR), "--tls-handshake-timeout" "SECONDS", Workers,
        "Time that a client has for the TLS handshake.";
    http_protocols: Vec<Protocol> = "h2,h1", Protocols, "--http-protocols" "LIST", Workers,
        "Versions of HTTP that are offered to clients over TLS (ALPN).";
    http2_cleartext: String = "off", Choice(&["off", "prior-knowledge"]), "--http2-cleartext" "MODE", Workers,
        "HTTP/2 without TLS: prior-knowledge understands clients that begin with it, from peers in forwarded_allow_ips and on unix \
         sockets.";
    http2_max_concurrent_streams: u32 = "100", Whole(1, 0x7fff_ffff), "--http2-max-concurrent-streams" "N", Workers,
        "Requests that an HTTP/2 connection may have under way at the same time.";
    http2_initial_window_size: u32 = "65535", Whole(1, 0x7fff_ffff), "--http2-initial-window-size" "BYTES", Workers,
        "Bytes of a request's body that an HTTP/2 client may send before the application has taken them.";
    http2_max_frame_size: u32 = "16384", Whole(16_384, 16_777_215), "--http2-max-frame-size" "BYTES", Workers,
        "Longest HTTP/2 frame that is accepted.";
    http2_max_header_list_size: u32 = "65536", Whole(1, 0x7fff_ffff), "--http2-max-header-list-size" "BYTES", Workers,
        "Size of all header fields of an HTTP/2 request together; a longer head is answered 431.";
    loglevel: Level = "info", LogLevel, "--log-level" "LEVEL", Both,
        "Least severity that is logged. For what the application logs through tracing, RUST_LOG goes first.";
    log_format: Format = "text", LogFormat, "--log-format" "FORMAT", Both,
        "How log lines are written: text as gunicorn's, json as objects that Google Cloud Logging understands.";
    syslog: bool = "false", Switch, "--log-syslog" "", Both,
        "Send log lines to syslog, too.";
    syslog_addr: SyslogAddress = "udp://localhost:514", SyslogServer, "--log-syslog-to" "ADDRESS", Both,
        "Where syslog listens; port 514 where none is named. With a unix socket #dgram or #stream says what it is; without, both \
         are tried.";
    syslog_prefix: String = "", Words { forbidden: PREFIX_FORBIDDEN }, "--log-syslog-prefix" "PREFIX", Both,
        "Makes the program's name in syslog rustcorn.PREFIX.error; without it the handler's or the program's name is in its place.";
    syslog_facility: Facility = "user", LogFacility, "--log-syslog-facility" "FACILITY", Both,
        "Facility that syslog files the lines under.";
    disable_redirect_access_to_syslog: bool = "false", Switch, "--disable-redirect-access-to-syslog" "", Workers,
        "With syslog, send it no lines of the access log.";
    statsd_host: Option<StatsdHost> = "", Statsd, "--statsd-host" "ADDRESS", Master,
        "Where to send statsd metrics, as datagrams; port 8125 where none is named, empty for nowhere.";
    statsd_prefix: String = "", Words { forbidden: ":|@#," }, "--statsd-prefix" "PREFIX", Master,
        "Put in front of the name of every metric, with a dot between.";
    dogstatsd_tags: String = "", Words { forbidden: "|#" }, "--dogstatsd-tags" "TAGS", Master,
        "Tags for every metric, as DogStatsD has them: name:value pairs with commas between.";
    statsd_interval: Duration = "1", Time(10, HOUR), "--statsd-interval" "SECONDS", Master,
        "Time between two reports of metrics.";
    otlp_endpoint: Option<Endpoint> = "", Otlp, "--otlp-endpoint" "URL", Both,
        or "OTEL_EXPORTER_OTLP_ENDPOINT" unless_empty,
        "Base URL of the OpenTelemetry collector that gets spans and metrics; empty turns both off.";
    otlp_traces_endpoint: Option<Endpoint> = "", Otlp, "--otlp-traces-endpoint" "URL", Both,
        or "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" unless_empty,
        "Whole URL for spans, where they go elsewhere than otlp_endpoint says.";
    otlp_metrics_endpoint: Option<Endpoint> = "", Otlp, "--otlp-metrics-endpoint" "URL", Both,
        or "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" unless_empty,
        "Whole URL for metrics, where they go elsewhere than otlp_endpoint says.";
    otlp_protocol: String = "", OneOf(&["http/protobuf", "grpc"]), "--otlp-protocol" "PROTOCOL", Workers,
        or "OTEL_EXPORTER_OTLP_PROTOCOL" a_protocol,
        "How to speak to the collector; empty means gRPC to port 4317 if the program was built with it, else HTTP.";
    otlp_flush_timeout: Duration = "3", Time(0, 60 * SECOND), "--otlp-flush-timeout" "SECONDS", Both,
        "Time that a worker has at its end, after the last request, to send the spans and metrics that it still holds.";
    trace_sample_ratio: f64 = "1", Ratio, "--trace-sample-ratio" "RATIO", Workers,
        or "OTEL_TRACES_SAMPLER_ARG" a_ratio,
        "Share of the requests without a sampled or unsampled parent that get spans; the others follow their parent.";
    service_name: String = "", Line, "--service-name" "NAME", Workers,
        or "OTEL_SERVICE_NAME" unless_empty,
        "Name of the service in spans and metrics.";
    service_namespace: String = "", Line, "--service-namespace" "NAME", Workers,
        "Namespace of the service in spans and metrics.";
    service_version: String = "", Line, "--service-version" "VERSION", Workers,
        "Version of the service in spans and metrics.";
    resource_detection: String = "gcp", OneOf(&["gcp"]), "--resource-detection" "NAME", Workers,
        "What to ask about the machine: gcp asks the metadata server on machines of Google Cloud, for at most a second; \
         empty asks nobody.";
    enable_backlog_metric: bool = "false", Switch, "--enable-backlog-metric" "", Master,
        "Report the connections that wait to be accepted as gunicorn.backlog, too. Unix sockets cannot tell, so they are not \
         counted.";
}

/// `PORT`: platforms that set it expect the service on every interface.
fn any_interface(port: &str) -> Result<Option<String>, String> {
    let port = port.trim();
    // Checked here, so that the message speaks of what the variable may hold and not of addresses.
    if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok() {
        return Ok(Some(format!("0.0.0.0:{port}")));
    }
    Err(Input::Untyped(port.to_owned()).refused("a port number from 0 to 65535"))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of Fallback::convert")]
fn unchanged(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}

/// OpenTelemetry: an empty variable is as good as none.
#[expect(clippy::unnecessary_wraps, reason = "the signature of Fallback::convert")]
fn unless_empty(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// OpenTelemetry: what is not understood is ignored, since other programs may. The worker says so.
#[expect(clippy::unnecessary_wraps, reason = "the signature of Fallback::convert")]
fn a_protocol(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.trim().to_ascii_lowercase()).filter(|text| matches!(text.as_str(), "grpc" | "http/protobuf")))
}

/// As above: the argument of another sampler may be no number.
#[expect(clippy::unnecessary_wraps, reason = "the signature of Fallback::convert")]
fn a_ratio(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.trim().to_owned()).filter(|text| Rule::<f64>::parse(&Ratio, &Input::Untyped(text.clone())).is_ok()))
}

impl Settings {
    /// Whether workers have a collector to send to, and so something to flush at their end.
    #[must_use]
    pub const fn exports_telemetry(&self) -> bool {
        self.otlp_endpoint.is_some() || self.otlp_traces_endpoint.is_some() || self.otlp_metrics_endpoint.is_some()
    }
}
