//! The server under test: which one it is, how it is set up, and what can be asked of either.

mod line;
mod server;
mod setup;

pub(crate) use Who::{Gunicorn, Rustcorn};
pub(crate) use line::Line;
pub(crate) use server::{Server, processes_in};
pub(crate) use setup::Setup;

/// One of the two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    Rustcorn,
    Gunicorn,
}

/// Which of the two is under test.
pub(crate) fn who() -> Who {
    match std::env::var("SERVER_UNDER_TEST").as_deref() {
        Err(_) | Ok("" | "rustcorn") => Rustcorn,
        Ok("gunicorn") => Gunicorn,
        Ok(other) => panic!("SERVER_UNDER_TEST={other}: it is rustcorn or gunicorn"),
    }
}

/// Here the two are meant to differ: the caller asserts what each of them does. `id` is a line of `docs/differences.md`, which says
/// why (the module `list` checks that).
pub(crate) fn differs(id: &str) -> Who {
    assert!(!id.is_empty());
    who()
}

/// gunicorn's settings that this version of rustcorn does not have yet. Scenarios that need one run against gunicorn only; the module
/// `list` fails as soon as there is such a setting.
#[rustfmt::skip]
pub(crate) const PENDING: &[&str] = &[
    // Process identity.
    "pidfile", "chdir", "umask", "raw_env", "user", "group", "initgroups", "daemon", "proc_name", "reuse_port",
    // Log files and syslog.
    "errorlog", "capture_output", "syslog", "syslog_addr", "syslog_prefix", "syslog_facility",
    // The access log.
    "accesslog", "access_log_format", "disable_redirect_access_to_syslog",
    // The control socket.
    "control_socket", "control_socket_mode",
    // The policy for requests.
    "limit_request_line", "limit_request_fields", "limit_request_field_size", "permit_obsolete_folding", "strip_header_spaces",
    "permit_unconventional_http_method", "permit_unconventional_http_version", "casefold_http_method", "header_map",
    "forwarder_headers", "forwarded_allow_ips", "secure_scheme_headers", "proxy_protocol", "proxy_allow_ips",
    // TLS and HTTP/2.
    "certfile", "keyfile", "ca_certs", "cert_reqs", "ciphers", "http_protocols", "http2_cleartext",
    "http2_max_concurrent_streams", "http2_initial_window_size", "http2_max_frame_size", "http2_max_header_list_size",
];

/// Whether to leave a scenario out, because the server under test does not have the setting yet.
pub(crate) fn pending(setting: &str) -> bool {
    let pending = who() == Rustcorn && PENDING.contains(&setting);
    if pending {
        println!("NOT TESTED: rustcorn has no setting {setting} yet");
    }
    pending
}
