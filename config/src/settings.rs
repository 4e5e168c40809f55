//! The table of settings: each declared once. Everything else about a setting is derived from its row.

use std::time::Duration;

use rustcorn_sys::log::Level;

use crate::address::{Address, StatsdHost};
use crate::app::App;
use crate::input::Input;
use crate::rule::{Addresses, LogLevel, MaybeAddress, Rule, Statsd, Switch, Time, Whole, Words, Workers};
use crate::setting::{Apply, Fallback, Setting};

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
    bind: Vec<Address> = "127.0.0.1:8000", Addresses, "-b --bind" "ADDRESS", Workers,
        or "PORT" any_interface,
        "Addresses to listen on. Port 8000 where none is named, port 0 for one that the kernel chooses, no host for \
         every IPv4 interface. Given several times, or with commas, for several addresses.";
    backlog: u32 = "2048", Whole(1, 65_535), "--backlog" "N", Both,
        "Connections that may wait to be accepted, per address. The kernel lowers it to net.core.somaxconn without a word.";
    workers: usize = "auto", Workers(Whole(1, 1024)), "-w --workers" "N", Master,
        or "WEB_CONCURRENCY" unchanged,
        "Worker processes to keep alive; auto means one per CPU that the affinity mask and the cgroup allow.";
    threads: usize = "1", Whole(1, 1024), "--threads" "N", Workers,
        "Threads that serve requests, per worker.";
    worker_connections: usize = "1000", Whole(1, 1_000_000), "--worker-connections" "N", Workers,
        "Connections that one worker holds at the same time; more wait in the backlog or go to another worker.";
    timeout: Duration = "30", Time(0, 24 * HOUR), "-t --timeout" "SECONDS", Both,
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
    max_surge: usize = "1", Whole(1, 1024), "--max-surge" "N", Master,
        "Workers beyond the wanted number that may run while old ones are replaced.";
    restart_backoff: Duration = "0.1", Time(0, 30 * SECOND), "--restart-backoff" "SECONDS", Master,
        "Wait before a worker that keeps dying is started again; doubles with each death up to 30 seconds, 0 turns it off.";
    admin_bind: Option<Address> = "", MaybeAddress, "--admin-bind" "ADDRESS", Master,
        "Address of the admin process, which answers /livez, /readyz, /metrics and /status; one of the forms of bind, empty \
         for no such process. Anyone who can connect may look, so keep it off the internet.";
    min_ready_workers: usize = "1", Whole(1, 1024), "--min-ready-workers" "N", Master,
        "Ready workers below which /readyz says that the server is not ready; at most as many as workers.";
    loglevel: Level = "info", LogLevel, "--log-level" "LEVEL", Both,
        "Least severity that is logged.";
    statsd_host: Option<StatsdHost> = "", Statsd, "--statsd-host" "ADDRESS", Master,
        "Where to send statsd metrics, as datagrams; port 8125 where none is named, empty for nowhere.";
    statsd_prefix: String = "", Words { forbidden: ":|@#," }, "--statsd-prefix" "PREFIX", Master,
        "Put in front of the name of every metric, with a dot between.";
    dogstatsd_tags: String = "", Words { forbidden: "|#" }, "--dogstatsd-tags" "TAGS", Master,
        "Tags for every metric, as DogStatsD has them: name:value pairs with commas between.";
    statsd_interval: Duration = "1", Time(10, HOUR), "--statsd-interval" "SECONDS", Master,
        "Time between two reports of metrics.";
    enable_backlog_metric: bool = "false", Switch, "--enable-backlog-metric" "", Master,
        "Report the connections that wait to be accepted as gunicorn.backlog, too. Unix sockets cannot tell, so they are not \
         counted.";
}

/// `PORT`: platforms that set it expect the service on every interface.
fn any_interface(port: &str) -> Result<String, String> {
    let port = port.trim();
    // Checked here, so that the message speaks of what the variable may hold and not of addresses.
    if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok() {
        return Ok(format!("0.0.0.0:{port}"));
    }
    Err(Input::Untyped(port.to_owned()).refused("a port number from 0 to 65535"))
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of Fallback::convert")]
fn unchanged(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}
