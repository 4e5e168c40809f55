//! The one place where a worker waits.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use tokio::signal::unix::Signal;
use tokio::time::sleep_until;

use super::load::Load;
use crate::locust::connection::Connection;
use crate::locust::notice::Loss;

/// What a worker waits for.
pub(super) enum Event {
    /// The dial ended.
    Dialled(Result<Connection, Loss>),
    /// A message of the master, or no connection any more.
    Message(Result<Vec<u8>, Loss>),
    /// The engine has stopped.
    Ended,
    /// A signal to end.
    Signal,
    /// The session's deadline.
    Due,
}

/// The way to the master.
pub(super) enum Link {
    Down,
    Dialling(Pin<Box<dyn Future<Output = Result<Connection, Loss>>>>),
    Up(Connection),
}

impl Link {
    async fn next(&mut self) -> Event {
        match self {
            Self::Down => pending().await,
            Self::Dialling(dial) => Event::Dialled(dial.await),
            Self::Up(connection) => Event::Message(connection.receive().await),
        }
    }
}

/// The next event. Giving up the rest in the middle loses nothing: it is taken up again by the next call.
pub(super) async fn next(due: Option<Instant>, link: &mut Link, load: &mut Load, signals: &mut [Signal]) -> Event {
    let due = async {
        match due {
            Some(at) => sleep_until(at.into()).await,
            None => pending().await,
        }
    };
    let (mut due, mut link, mut ended) = (pin!(due), pin!(link.next()), pin!(load.ended()));
    poll_fn(|cx| {
        if signals.iter_mut().any(|signal| matches!(signal.poll_recv(cx), Poll::Ready(Some(())))) {
            return Poll::Ready(Event::Signal);
        }
        if let Poll::Ready(event) = link.as_mut().poll(cx) {
            return Poll::Ready(event);
        }
        if ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Ended);
        }
        due.as_mut().poll(cx).map(|()| Event::Due)
    })
    .await
}
