//! The access log: a line for each request, whoever answered it.
//!
//! What a format asks for is written down when a request begins, and the line completed when it ends, into a buffer that a thread
//! writes out in batches. A request costs one allocation, a lock that is free but for the moment of a batch, and no system call. While
//! the log is off it costs the look whether it is.

mod asked;
mod clock;
mod escape;
mod program;
mod queue;
mod target;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::{HeaderMap, Request, StatusCode};
use opentelemetry::trace::TraceContextExt;
use rustcorn_config::{AccessFormat, Settings};
use rustcorn_sys::Monotonic;
use rustcorn_sys::log::Format;
use rustcorn_sys::log::syslog::Sender;

pub(crate) use program::Line;
pub(crate) use target::{Target, target};

use asked::Asked;
use escape::Style;
use program::{CLIENT_LEFT, Outcome, Program};
use queue::Queue;
use writer::{Losses, Writer};

use crate::log;
use crate::registry::Connection;
use crate::shared::Shared;
use crate::telemetry::Observed;

/// More of a line that is no request is of no use.
const NO_REQUEST: usize = 2048;

/// This worker's.
pub(crate) struct AccessLog {
    program: Program,
    wants_response: bool,
    queue: Queue,
    /// Requests that end without an answer are the server's doing from now on.
    cuts: AtomicBool,
}

impl AccessLog {
    /// As the settings want it.
    fn of(settings: &Settings, slot: usize, generation: u32, to_file: bool) -> Self {
        // As with other lines, what goes to syslog alone is text.
        let json = settings.log_format == Format::Json && to_file;
        let style = if json { Style::Json } else { Style::Text };
        let program = match &settings.access_log_format {
            Some(format) => Program::new(format, style),
            None if json => {
                let pid = std::process::id();
                let process = format!(r#""pid":{pid},"role":"worker","slot":{slot},"generation":{generation},"#);
                Program::json(&process, log::project().map(str::to_owned))
            }
            None => Program::new(&AccessFormat::standard(), style),
        };
        Self { wants_response: program.wants_response(), program, queue: Queue::new(), cuts: AtomicBool::new(false) }
    }

    /// From now on requests leave lines.
    pub(crate) fn start(
        settings: &Settings,
        slot: usize,
        generation: u32,
        target: Option<Target>,
        shared: &Arc<Shared>,
    ) -> io::Result<()> {
        shared.log_access_with(Self::of(settings, slot, generation, target.is_some()));
        let syslog = settings.access_syslog_plan().map(Sender::open);
        let writer = Writer { target, syslog, shared: Arc::clone(shared), losses: Losses::default() };
        let run = move || {
            let shared = Arc::clone(&writer.shared);
            if let Some(access) = shared.access() {
                writer.run(&access.queue);
            }
        };
        let thread = std::thread::Builder::new().name("access log".to_owned()).stack_size(128 * 1024).spawn(run);
        thread.map(drop).inspect_err(|_| shared.access().iter().for_each(|access| access.queue.close()))
    }

    /// A request is here.
    #[inline(never)]
    pub(crate) fn begin<B>(&self, request: &Request<B>, connection: &Connection, observed: Option<&Observed>) -> Line {
        let context = observed.and_then(Observed::context).filter(|context| context.has_active_span());
        let span = context.map(TraceContextExt::span);
        let span = span.as_ref().map(|span| span.span_context());
        self.program.begin(&Asked::of(request, connection, span))
    }

    /// It has an answer.
    pub(crate) fn answered(&self, line: &mut Line, headers: &HeaderMap) {
        if self.wants_response {
            self.program.answered(line, headers);
        }
    }

    /// It is over. `status`: `None` if it was not answered.
    #[inline(never)]
    pub(crate) fn end(
        &self,
        line: &Line,
        status: Option<StatusCode>,
        bytes: u64,
        began: Monotonic,
        now: Monotonic,
        shared: &Shared,
    ) {
        let left = || (!self.cuts.load(Relaxed)).then(|| StatusCode::from_u16(CLIENT_LEFT).expect("three digits"));
        let outcome = Outcome { status: status.or_else(left), bytes, took: now.since(began) };
        let added = self.queue.add(now, |clock, lines| self.program.finish(line, &outcome, clock, lines));
        if !added {
            shared.writer.access_lines_lost(1);
        }
    }

    /// Something was refused before it was a request. `head`: what there is of it.
    #[cold]
    pub(crate) fn refused(
        &self,
        head: &[u8],
        status: StatusCode,
        bytes: u64,
        began: Monotonic,
        connection: &Connection,
    ) {
        let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = &line[..line.len().min(NO_REQUEST)];
        let line = self.program.begin(&Asked::refused(line.strip_suffix(b"\r").unwrap_or(line), connection));
        self.end(&line, Some(status), bytes, began, Monotonic::now(), &connection.shared);
    }

    /// The server ends what is still under way.
    pub(crate) fn cut(&self) {
        self.cuts.store(true, Relaxed);
    }

    /// Has everything written. Returns soon, also if that cannot be done.
    pub(crate) fn finish(&self) {
        self.queue.finish();
    }
}

/// Has the access log written at the end of its life, however that comes.
pub(crate) struct Flushed(pub(crate) Arc<Shared>);

impl Drop for Flushed {
    fn drop(&mut self) {
        self.0.access().iter().for_each(|access| access.finish());
    }
}
