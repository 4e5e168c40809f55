//! `peers`: every server that is here, in one run, on connections that stay open and with one for each request.
//!
//! As `keepalive` and `close`, and beside them the system calls of a request. What cannot be measured is named with the reason.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::load::warm_up;
use crate::options::cargo_build;
use crate::server::{CPU, Contender, Kind, has_no_access_log};
use crate::suites::{Bench, throughput};
use crate::syscalls;
use crate::table::{Table, figure, none};

/// gunicorn's worker classes, and the application for each.
const GUNICORN: [(&str, &str); 3] =
    [("sync", "app:wsgi"), ("gthread", "app:wsgi"), ("uvicorn_worker.UvicornWorker", "app:asgi")];

pub(super) fn run(bench: &Bench<'_>) -> Result<()> {
    let mut contenders = rustcorns(bench)?;
    contenders.push(bench.bare_hyper());
    contenders.push(axum()?);
    contenders.extend(bench.nginx());
    contenders.extend(bench.nginx().map(|nginx| Contender {
        name: format!("{}, access log", nginx.name),
        kind: Kind::Nginx { access_log: true },
    }));
    match python() {
        Ok(python) => contenders.extend(GUNICORN.map(|(class, app)| Contender {
            name: format!("gunicorn {}", class.split('.').next_back().unwrap_or(class)),
            kind: Kind::Gunicorn { python: python.clone(), class, app },
        })),
        Err(error) => println!("gunicorn is not in the tables: {error}.\n"),
    }
    for (close, title) in [(false, "connections that stay open"), (true, "a connection for each request")] {
        println!("\n### {title}\n");
        throughput::rounds(bench, &contenders, close)?;
    }
    println!("\n### system calls\n");
    system_calls(&contenders)
}

/// Each build of rustcorn with none, one and both of statsd and access log.
fn rustcorns(bench: &Bench<'_>) -> Result<Vec<Contender>> {
    let plain: Vec<Contender> = bench.rustcorn().chain(bench.rustcorn_with_statsd()?).collect();
    let mut all = plain.clone();
    for Contender { name, kind } in plain {
        let Kind::Rustcorn { binary, statsd, otlp, .. } = kind else { continue };
        match has_no_access_log(&binary)? {
            None => all.push(Contender {
                name: format!("{name}, access log"),
                kind: Kind::Rustcorn { binary, statsd, otlp, access_log: true },
            }),
            Some(why) => println!("{name} is not in the tables with an access log: {why}\n"),
        }
    }
    Ok(all)
}

fn axum() -> Result<Contender> {
    cargo_build(&["-p", "rustcorn-bench-axum"])?; // by itself, with its own features
    let this = std::env::current_exe()?;
    let binary = this.parent().ok_or("this program has no directory")?.join("axum-service");
    Ok(Contender { name: "axum::serve".to_owned(), kind: Kind::AxumServe { binary } })
}

/// Of the environment in target/, which is made if it is not there.
fn python() -> Result<PathBuf> {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/plain/setup");
    let output = Command::new(&setup).output().map_err(|error| format!("cannot run {}: {error}", setup.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?.trim().into());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} failed: {}", setup.display(), text.lines().next_back().unwrap_or_default()).into())
}

fn system_calls(contenders: &[Contender]) -> Result<()> {
    if !syscalls::can_count() {
        println!("Not counted: that needs strace on PATH, and the permission to trace.");
        return Ok(());
    }
    let mut table = Table::new(["server", "calls/request, open connections", "calls/request, one for each"]);
    for contender in contenders {
        let counted = |close| -> Result<String> {
            let server = contender.start(1, Some(CPU))?;
            warm_up(server.port())?;
            Ok(syscalls::per_request(&server, close)?.map_or_else(none, |calls| figure(calls, 2)))
        };
        table.row([contender.name.clone(), counted(false)?, counted(true)?]);
    }
    println!("{table}\nBy strace, all processes and threads of the server, while wrk loads it.");
    Ok(())
}
