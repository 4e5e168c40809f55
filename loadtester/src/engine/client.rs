//! A user's connection, of either version of HTTP.

use crate::engine::answer::Answer;
use crate::engine::connect::Stream;
use crate::engine::failure::Failure;
use crate::engine::plan::Plan;
use crate::engine::thread::Local;
use crate::engine::values::Values;
use crate::engine::{http1, http2};
use crate::scenario::Version;

pub(crate) enum Client {
    Http1(http1::Connection),
    Http2(http2::Connection),
}

impl Client {
    pub(crate) async fn open(stream: Stream, version: Version) -> Result<Self, Failure> {
        Ok(match version {
            Version::Http1 => Self::Http1(http1::Connection::new(stream)),
            Version::Http2 => Self::Http2(http2::Connection::open(stream).await?),
        })
    }

    /// Whether another request can be sent.
    pub(crate) async fn ready(&mut self, local: &Local) -> bool {
        match self {
            Self::Http1(connection) => connection.ready(local).await,
            Self::Http2(connection) => connection.ready().await,
        }
    }

    /// Sends a task's request and reads the answer to its last byte.
    pub(crate) async fn exchange(
        &mut self,
        local: &Local,
        plan: &Plan,
        at: usize,
        values: &mut Values,
        buffer: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let planned = &plan.tasks[at];
        match self {
            Self::Http1(connection) => {
                let bytes = planned.bytes(values, buffer);
                connection.begin(planned.to_head, planned.keep_body);
                connection.exchange(local, bytes, |name, value| values.field(at, name, value)).await
            }
            Self::Http2(connection) => {
                connection.answer = Answer::default();
                let task = &local.scenario.tasks[at];
                let request = http2::request(task, &plan.hosts[task.class], values)?;
                connection.exchange(request, planned.keep_body, |name, value| values.field(at, name, value)).await
            }
        }
    }

    pub(crate) fn answer(&self) -> &Answer {
        match self {
            Self::Http1(connection) => &connection.decoder.answer,
            Self::Http2(connection) => &connection.answer,
        }
    }

    /// Waits for the server to close the connection.
    pub(crate) async fn closed(&mut self, local: &Local) {
        match self {
            Self::Http1(connection) => connection.closed(local).await,
            // The one who has no more to ask closes it.
            Self::Http2(_) => {}
        }
    }
}
