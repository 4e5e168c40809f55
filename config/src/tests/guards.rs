//! The table of settings keeps its promises.

use std::collections::BTreeSet;
use std::path::Path;

use super::{HELLO, load};
use crate::input::Input;
use crate::{SETTINGS, Settings, settings_markdown};

#[test]
fn every_default_passes_its_own_parser() {
    for setting in SETTINGS {
        let mut settings = Settings::defaults();
        let parsed = (setting.set)(&mut settings, &Input::Untyped(setting.default.to_owned()));
        assert_eq!(parsed, Ok(()), "{}", setting.key);
    }
}

#[test]
fn no_two_settings_share_a_spelling() {
    let mut seen = BTreeSet::from(["-h".to_owned(), "-V".to_owned(), "--help".to_owned(), "--version".to_owned()]);
    seen.extend(["--check-config".to_owned(), "--print-config".to_owned()]);
    for setting in SETTINGS {
        let spellings = setting.spellings();
        let short = spellings.short.map(|short| format!("-{short}"));
        let long = spellings.aliases.iter().map(String::as_str).chain([spellings.long]).map(|flag| format!("--{flag}"));
        let fallback = setting.fallback.map(|fallback| fallback.variable.to_owned());
        for spelling in long.chain(short).chain(fallback).chain([setting.variable(), setting.key.to_owned()]) {
            assert!(seen.insert(spelling.clone()), "{spelling} is taken twice");
        }
    }
}

#[test]
fn every_key_is_a_flag_with_dashes_and_with_underscores() {
    crate::cli::command().debug_assert();
    for setting in SETTINGS {
        let spellings = setting.spellings();
        for flag in [setting.key.to_owned(), setting.key.replace('_', "-")] {
            assert!(spellings.long == flag || spellings.aliases.contains(&flag), "--{flag}");
        }
    }
}

#[test]
fn every_help_text_is_a_sentence() {
    for setting in SETTINGS {
        assert!(setting.help.ends_with('.') && !setting.help.contains("  "), "{}: {}", setting.key, setting.help);
    }
}

#[test]
fn the_page_of_settings_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md");
    if std::env::var_os("RUSTCORN_BLESS").is_some() {
        std::fs::write(&path, settings_markdown()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(page == settings_markdown(), "docs/settings.md is old; run RUSTCORN_BLESS=1 cargo test -p rustcorn-config");
}

#[test]
fn what_print_config_prints_loads_to_the_same() {
    for file in [HELLO, LONG] {
        let loaded =
            load(file, &[("RUSTCORN_WORKERS", "3"), ("RUSTCORN_CMD_ARGS", "--keep-alive 500ms")], "--threads 2");
        let again = load(&loaded.print_config(), &[], "");
        assert_eq!((&again.settings, &again.app), (&loaded.settings, &loaded.app));
    }
}

#[test]
fn every_value_of_a_profile_passes_its_parser() {
    for profile in crate::profile::PROFILES {
        for (key, value) in profile.values {
            let setting = crate::Setting::find(key).unwrap_or_else(|| panic!("{key}"));
            let parsed = (setting.set)(&mut Settings::defaults(), &Input::Untyped((*value).to_owned()));
            assert_eq!(parsed, Ok(()), "{key}");
        }
    }
}

#[test]
fn the_handoff_loses_nothing() {
    for file in
        [HELLO, LONG, "app = { command = [\"./a\", \"b c\"], text = '''\"\"\"\\''' }\r\nkeepalive = 0.123456789\r\n"]
    {
        let settings = load(file, &[], "").settings;
        let again = Settings::from_toml(&settings.to_toml()).unwrap();
        assert_eq!(again, settings);
        assert_eq!(again.to_toml(), settings.to_toml());
        assert_eq!(again.app.line("command"), settings.app.line("command"));
    }
}

#[test]
fn the_handoff_of_another_version_is_read() {
    let text = "workers = 3\nkept_for_later = true\n";
    let settings = Settings::from_toml(text).unwrap();
    assert_eq!(settings, Settings { workers: 3, ..Settings::defaults() });
}

#[test]
fn a_spoilt_handoff_is_one_line() {
    let message = |text| Settings::from_toml(text).unwrap_err();
    assert_eq!(message("workers = 0"), "workers: 0 is not allowed; use a number from 1 to 1024 or \"auto\"");
    assert_eq!(message("workers"), "key with no value, expected `=`");
}

/// Every setting away from its default.
pub(super) const LONG: &str = r##"
bind = ["0.0.0.0:80", "[::1]:0", "unix:/run/a,b.sock"]
backlog = 0x100
workers = 7
threads = 4
worker_connections = 10
timeout = "1h"
graceful_timeout = 1.5
drain_delay = "1.25s"
boot_timeout = 120
keepalive = 0
header_timeout = "10ms"
body_timeout = "20s"
body_min_rate = 0
write_timeout = "1m"
request_timeout = 30
max_body_size = "10MiB"
limit_request_line = 0
limit_request_fields = 200
limit_request_field_size = 1024
limit_request_head = 8192
permit_obsolete_folding = true
strip_header_spaces = true
permit_unconventional_http_method = true
permit_unconventional_http_version = true
casefold_http_method = true
header_map = "refuse"
forwarder_headers = ["REMOTE_USER"]
forwarded_allow_ips = ["10.0.0.0/8", "::1"]
proxy_protocol = "auto"
proxy_allow_ips = "*"
max_connection_age = "1h"
certfile = "tls/cert.pem"
keyfile = "tls/key.pem"
ca_certs = "/etc/clients \u00fc.pem"
cert_reqs = 2
tls_handshake_timeout = 3
http_protocols = ["h1", "h2"]
http2_cleartext = "prior-knowledge"
http2_max_concurrent_streams = 7
http2_initial_window_size = 0x10000
http2_max_frame_size = 16777215
http2_max_header_list_size = 1
max_surge = 2
restart_backoff = 0.000000001
loglevel = "Debug"
log_format = "JSON"
accesslog = "logs/access.log"
access_log_format = '%(h)s "%({X-Id}i)s" 100%%'
errorlog = "logs/error.log"
capture_output = true
syslog = true
syslog_addr = "unix:///dev/log#stream"
syslog_prefix = "shop"
syslog_facility = "Local0"
disable_redirect_access_to_syslog = true
statsd_host = "unix://run/statsd.sock"
statsd_prefix = "rustcorn_app"
dogstatsd_tags = "env:test,zone:a"
statsd_interval = 10
otlp_endpoint = "https://[::1]:4318/base/"
otlp_traces_endpoint = "HTTP://collector/v1/traces"
otlp_metrics_endpoint = "http://10.0.0.1:4318/v1/metrics"
otlp_protocol = "grpc"
otlp_flush_timeout = 0.25
trace_sample_ratio = 1e-3
service_name = "a name \u00fc"
service_namespace = "shop"
service_version = "1.2.3+4"
resource_detection = ""
enable_backlog_metric = true
admin_bind = "[::1]:9000"
min_ready_workers = 3
profile = "gke"
socket_mode = 0o660
reuse_port = true
chdir = "/srv/app"
pidfile = "run/a.pid"
daemon = true
proc_name = "a name"
user = 1000
group = "www-data"
initgroups = true
umask = "0027"
control_socket = "/run/rustcorn/ctl.sock"
control_socket_mode = "0640"

[env]
A = "x = y, \"z\""
PORT = 8080
DEBUG = true

[secure_scheme_headers]
X-Scheme = "https"

[app]
command = ["./my-service", "--flag=a b"]
percent = 0.1
names = ["a", "b"]
[app.deeper]
when = 1979-05-27
[[app.list]]
x = 1
"##;
