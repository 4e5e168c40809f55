//! WebSocket and server-sent events: connections that last, and so have to be told when their worker leaves.
//!
//! Without that they would be cut at `graceful_timeout`. A client that is told connects again, and meets a worker that stays.
//!
//! ```console
//! $ curl -N http://127.0.0.1:8000/events
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::{Either, select};
use futures_util::stream::{Stream, unfold};
use rustcorn::Context;

/// Time between two events.
const PERIOD: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    rustcorn::run(|ctx| async move {
        Ok(Router::new().route("/events", get(events)).route("/echo", get(echo)).with_state(ctx))
    })
}

async fn events(State(ctx): State<Context>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let draining: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(ctx.draining());
    Sse::new(unfold(Some((0_u64, draining)), |state| async move {
        let (number, mut draining) = state?; // the last event has been sent
        match tokio::time::timeout(PERIOD, &mut draining).await {
            Err(_) => Some((Ok(Event::default().data(number.to_string())), Some((number + 1, draining)))),
            // `retry` asks the client to come back at once: there is another worker.
            Ok(()) => Some((Ok(Event::default().event("end").retry(Duration::ZERO).data("")), None)),
        }
    }))
}

async fn echo(State(ctx): State<Context>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| converse(ctx, socket)).into_response()
}

async fn converse(ctx: Context, mut socket: WebSocket) {
    let mut draining = std::pin::pin!(ctx.draining());
    loop {
        let message = match select(draining.as_mut(), std::pin::pin!(socket.recv())).await {
            Either::Left(_) => break,
            Either::Right((message, _)) => message,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                if socket.send(Message::Text(text)).await.is_err() {
                    return; // the client has left
                }
            }
            Some(Ok(_)) => {} // pings are answered by axum
            None | Some(Err(_)) => return,
        }
    }
    let farewell = CloseFrame { code: close_code::AWAY, reason: "come back".into() };
    if socket.send(Message::Close(Some(farewell))).await.is_ok() {
        // Until the client has answered it, or a moment has passed: it may have gone without a word.
        let _ = tokio::time::timeout(PERIOD, async { while let Some(Ok(_)) = socket.recv().await {} }).await;
    }
}
