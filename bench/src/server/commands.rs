//! What the servers are told: command lines and configurations.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::{Files, HELLO, Otlp};
use crate::Result;

/// A file in this directory gets a line for each request.
pub(super) fn log_requests(command: &mut Command, dir: &Path) {
    command.arg("--access-logfile").arg(dir.join("access.log"));
}

/// Why this build of rustcorn writes no access log, in its own words; `None` if it does.
pub(crate) fn has_no_access_log(binary: &Path) -> Result<Option<String>> {
    let files = Files::new()?;
    let mut command = rustcorn(binary, None, None, HELLO, 1, &files)?;
    log_requests(&mut command, files.path());
    let output = command.arg("--check-config").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let why = || text.lines().next().unwrap_or("it does not say why").to_owned();
    Ok((!output.status.success()).then(why))
}

pub(super) fn rustcorn(
    binary: &Path,
    statsd: Option<SocketAddr>,
    otlp: Option<Otlp>,
    app: &str,
    workers: usize,
    files: &Files,
) -> Result<Command> {
    let statsd = statsd.map_or_else(String::new, |to| format!("statsd_host = \"{to}\"\n"));
    let otlp = otlp.map_or_else(String::new, |Otlp { to, ratio }| {
        format!("otlp_endpoint = \"http://{to}\"\ntrace_sample_ratio = {ratio}\n")
    });
    let text = format!(
        "bind = [\"127.0.0.1:0\"]\nworkers = {workers}\nworker_connections = 4096\nrestart_backoff = 0\n{statsd}{otlp}\n[app]\n{app}"
    );
    let mut command = Command::new(binary);
    command.arg(files.write("app.toml", &text)?);
    plain(&mut command);
    Ok(command)
}

pub(super) fn gunicorn(python: &Path, class: &str, app: &str, workers: usize) -> Command {
    let mut command = Command::new(python);
    plain(&mut command);
    command
        .args(["-m", "gunicorn", "--bind=127.0.0.1:0", app])
        .args([format!("--workers={workers}"), format!("--worker-class={class}")])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/plain"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    if class == "gthread" {
        command.arg("--threads=8");
    }
    command
}

pub(super) fn flask(python: &Path, worker: &str, statsd: SocketAddr, otlp: Otlp, workers: usize) -> Command {
    let mut command = Command::new(python);
    plain(&mut command);
    command
        .args([
            "-m",
            "gunicorn",
            "--bind=127.0.0.1:0",
            &format!("--workers={workers}"),
            &format!("--worker-class={worker}"),
        ])
        .args([format!("--statsd-host={statsd}"), "app:app".to_owned()])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/flask")) // where its configuration is found
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", otlp.to))
        .env("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .env("OTEL_TRACES_SAMPLER_ARG", otlp.ratio);
    command
}

/// The settings of whoever runs this are not those to measure.
pub(super) fn plain(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let prefixes = ["RUSTCORN_", "OTEL_", "GUNICORN_"];
        if prefixes.iter().any(|prefix| text.starts_with(prefix))
            || ["PORT", "WEB_CONCURRENCY", "CHAOS_TARGET_PERCENT"].contains(&&*text)
        {
            command.env_remove(&name);
        }
    }
}

/// The least that answers as the others do; no access log, and keep-alive connections without end.
pub(super) fn nginx_config(location: &str, workers: usize, port: u16, dir: &Path) -> String {
    let dir = dir.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {dir}/{kind};\n"))
        .collect();
    format!(
        "daemon off;
worker_processes {workers};
pid {dir}/nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
{temp}    access_log off;
    server_tokens off;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{ {location} }}
    }}
}}
"
    )
}
