//! A service that knows nothing of rustcorn but systemd's socket activation, as its users have them: `LISTEN_FDS`, TERM, and with
//! the argument `notify` also `NOTIFY_SOCKET`. The black-box tests run it as a foreign worker.

use std::convert::Infallible;
use std::env;
use std::process::{Command, ExitCode};
use std::sync::OnceLock;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustcorn_sys::fd::take_inherited;
use rustcorn_sys::notify::Notifier;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Tests write another digit into a copy of this file.
const VERSION: &str = "rustcorn-e2e-version-1";

/// With the argument `family`: a process of its own.
static CHILD: OnceLock<u32> = OnceLock::new();

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let argument = env::args().nth(1).unwrap_or_default();
    if argument == "die" {
        eprintln!("foreign: no database");
        return ExitCode::FAILURE;
    }
    if argument == "family" {
        #[expect(clippy::zombie_processes, reason = "it outlives this one")]
        let child = Command::new("sleep").arg("1000").spawn().expect("sleep(1) is everywhere");
        CHILD.set(child.id()).expect("one");
    }
    let mut term = signal(SignalKind::terminate()).expect("TERM can be handled");
    let listener = TcpListener::from_std(inherited()).expect("it does not block");
    let (stop, stopped) = watch::channel(false);
    if argument == "notify" {
        let manager = Notifier::from_env().expect("an address").expect("NOTIFY_SOCKET is set");
        manager.send("READY=1\nSTATUS=fine").expect("it is there");
    }
    loop {
        tokio::select! {
            _ = term.recv() => break,
            Ok((stream, _)) = listener.accept() => {
                tokio::spawn(serve(stream, stopped.clone()));
            }
        }
    }
    drop((listener, stopped));
    stop.send_replace(true);
    stop.closed().await;
    ExitCode::SUCCESS
}

/// Serves one connection. After TERM its next answer is the last; hyper's own way would close one on which a request may be under
/// way, so an idle one gets time for that: more than a client that asks without pause ever needs, however busy the machine.
async fn serve(stream: TcpStream, mut stopped: watch::Receiver<bool>) {
    let told = stopped.clone();
    let service = service_fn(move |request| answer(request, *told.borrow()));
    let mut connection = std::pin::pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let end = async {
        let _ = stopped.wait_for(|stopped| *stopped).await;
        pause(Duration::from_secs(10)).await;
    };
    tokio::select! {
        _ = connection.as_mut() => return,
        () = end => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await; // a client that left is no news
}

#[expect(clippy::disallowed_methods, reason = "time itself is what is wanted")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}

/// As in sd_listen_fds(3).
fn inherited() -> std::net::TcpListener {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<i32>().ok());
    assert_eq!(number("LISTEN_PID"), i32::try_from(std::process::id()).ok(), "they are for this process");
    let count = number("LISTEN_FDS").expect("there are sockets");
    let numbers: Vec<i32> = (3..3 + count).collect();
    let listener = take_inherited(&numbers).expect("they are open").remove(0);
    let listener = std::net::TcpListener::from(listener);
    listener.set_nonblocking(true).expect("a socket");
    listener
}

async fn answer(request: Request<Incoming>, last: bool) -> Result<Response<Full<Bytes>>, Infallible> {
    let text = match request.uri().path() {
        "/version" => VERSION.to_owned(),
        "/child" => CHILD.get().map(u32::to_string).unwrap_or_default(),
        "/pid" => std::process::id().to_string(),
        "/env" => env::vars().map(|(name, value)| format!("{name}={value}\n")).collect(),
        "/slow" => {
            pause(Duration::from_secs(1)).await;
            "done".to_owned()
        }
        _ => "Hello World!".to_owned(),
    };
    let mut response = Response::new(text.into());
    if last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}
