//! What can be served, in the forms that the documentation has: each is inferred without a word about types, and answers.

use std::cell::RefCell;
use std::convert::Infallible;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Context, Poll};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full};
use rustcorn::{Body, BoxError, Server, serve_test};
use serde::Deserialize;
use tower::ServiceExt;

#[derive(Deserialize)]
struct Config {
    greeting: String,
}

const CONFIGURATION: &str = "[app]\ngreeting = \"Hello\"\n";

/// Serves it in this process, where it answers `Hello`; and has the compiler see it as a program would write it.
macro_rules! served {
    ($make:expr) => {{
        let _main: fn() -> ExitCode = || rustcorn::run($make);
        let _with_hooks: fn() -> ExitCode = || Server::new($make).worker_init(|_| Ok(())).run();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = serve_test(CONFIGURATION, $make).await.unwrap();
            assert_eq!(server.get("/").await.unwrap().body(), "Hello");
            assert!(server.stop().await.is_clean());
        });
    }};
}

#[test]
fn a_router() {
    served!(|ctx| async move {
        let config: Config = ctx.config()?;
        Ok(Router::new().route("/", get(|| async { config.greeting })))
    });
}

#[test]
fn a_router_for_several_threads() {
    let _main: fn() -> ExitCode =
        || rustcorn::run_threaded(|_| async { Ok(Router::new().route("/", get(|| async { "Hello" }))) });
    let _with_hooks: fn() -> ExitCode = || {
        Server::new(|_| async { Ok(Router::new().route("/", get(|| async { "Hello" }))) })
            .worker_exit(|exit| async move { drop(exit) })
            .run_threaded()
    };
}

async fn hello(request: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    let whole = request.into_body().collect().await;
    Ok(Response::new(Full::from(if whole.is_ok() { "Hello" } else { "a broken request" })))
}

#[test]
fn a_function() {
    served!(|_| async { Ok(tower::service_fn(hello)) });
}

#[test]
fn a_closure_over_state_that_is_not_send() {
    served!(|ctx| async move {
        let config: Config = ctx.config()?;
        let words = Rc::new(RefCell::new(vec![config.greeting]));
        Ok(tower::service_fn(move |_: Request<Body>| {
            let words = Rc::clone(&words);
            async move {
                let word = words.borrow_mut().pop().ok_or("no words left")?;
                Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(word)))
            }
        }))
    });
}

/// A body whose type nobody knows, and which is not `Send`.
struct Word(Rc<str>, bool);

impl HttpBody for Word {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let said = std::mem::replace(&mut self.1, true);
        Poll::Ready((!said).then(|| Ok(Frame::data(Bytes::copy_from_slice(self.0.as_bytes())))))
    }
}

#[test]
fn a_body_of_any_type() {
    served!(|_| async {
        Ok(tower::service_fn(|_: Request<Body>| async {
            Ok::<_, Infallible>(Response::new(Word(Rc::from("Hello"), false)))
        }))
    });
}

#[test]
fn a_service_in_layers() {
    served!(|_| async {
        let service = tower::service_fn(hello).map_request(|request: Request<Body>| request);
        Ok(service.map_response(|response| response.map(|body| body.map_frame(|frame| frame).boxed_unsync())))
    });
}
