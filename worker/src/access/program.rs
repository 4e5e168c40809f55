//! A format as a small program: what is the same in each line is text at once, what a request knows is written when it begins, the
//! rest when it is over. Only what the format asks for is looked at.

use std::io::Write;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, StatusCode};
use opentelemetry::trace::SpanContext;
use rustcorn_config::{AccessFormat, Atom, Ends, Piece};
use rustcorn_sys::log::PIPE_BUF;

use super::asked::{Asked, Sink, Source};
use super::clock::Clock;
use super::escape::{self, Plain, Style};

/// The longest line with its end: what a pipe takes in one piece.
const LINE: usize = PIPE_BUF;
/// To so many bytes values are cut where a line would be longer: to the first with which it fits.
const CUTS: [usize; 4] = [usize::MAX, 1024, 256, 32];
/// What the values that are known at the end take at most, each.
const RESERVE: usize = 40;
/// What is answered to clients that left before there was an answer, in nginx's words.
pub(super) const CLIENT_LEFT: u16 = 499;

enum Step {
    Text(Vec<u8>),
    Value(Source, Plain),
    /// `"name":"value",` of a JSON object, left out where there is no value.
    Member(&'static str, Source),
    /// The trace, as members of an object.
    Trace,
    /// The number of a [`Late`].
    Later(u8),
}

/// A value that is known when a request is over.
enum Late {
    Time,
    Status,
    Bytes,
    Seconds,
    Millis,
    Micros,
    Decimal,
    Header(HeaderName, Plain),
    Severity,
    Rfc3339,
    StatusMember,
}

/// How a request ended.
pub(crate) struct Outcome {
    /// `None`: it has no answer, since the server leaves.
    pub(super) status: Option<StatusCode>,
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// A line that waits for its request's end: segments of text, each with its length in front, and between two of them the number of
/// what goes there.
#[derive(Debug)]
pub(crate) struct Line(Vec<u8>);

pub(super) struct Program {
    steps: Vec<Step>,
    late: Vec<Late>,
    style: Style,
    /// Google Cloud's project, where traces are told.
    project: Option<String>,
}

impl Program {
    /// Of a format of the operator's.
    pub(super) fn new(format: &AccessFormat, style: Style) -> Self {
        let mut program = Self { steps: Vec::new(), late: Vec::new(), style, project: None };
        for piece in format.pieces() {
            match piece {
                Piece::Text(text) => program.text(text),
                Piece::Value { atom, ends } => program.atom(atom, *ends),
            }
        }
        program
    }

    /// One object a line, as Google Cloud Logging reads it.
    pub(super) fn json(process: &str, project: Option<String>) -> Self {
        let mut program = Self { steps: Vec::new(), late: Vec::new(), style: Style::Json, project };
        program.text(r#"{"severity":""#);
        program.later(Late::Severity);
        program.text(r#"","time":""#);
        program.later(Late::Rfc3339);
        program.text(&format!(r#"",{process}"httpRequest":{{"#));
        let members = [
            ("requestMethod", Source::Method),
            ("requestUrl", Source::Url),
            ("userAgent", Source::Header(http::header::USER_AGENT)),
            ("remoteIp", Source::Client),
            ("referer", Source::Referer),
            ("protocol", Source::Protocol),
        ];
        program.steps.extend(members.map(|(name, source)| Step::Member(name, source)));
        program.later(Late::StatusMember);
        program.text(r#""responseSize":""#);
        program.later(Late::Bytes);
        program.text(r#"","latency":""#);
        program.later(Late::Decimal);
        program.text(r#"s"}"#);
        program.steps.push(Step::Trace);
        program.text("}");
        program
    }

    fn text(&mut self, text: &str) {
        match self.steps.last_mut() {
            Some(Step::Text(before)) => before.extend_from_slice(text.as_bytes()),
            _ => self.steps.push(Step::Text(text.as_bytes().to_vec())),
        }
    }

    fn later(&mut self, late: Late) {
        self.steps.push(Step::Later(u8::try_from(self.late.len()).expect("a format has few values")));
        self.late.push(late);
    }

    fn atom(&mut self, atom: &Atom, ends: Ends) {
        let plain = Plain::within(ends);
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).expect("checked with the format");
        let mut value = |source| self.steps.push(Step::Value(source, plain));
        match atom {
            Atom::Client => value(Source::Client),
            Atom::User => value(Source::User),
            Atom::RequestLine => value(Source::RequestLine),
            Atom::Method => value(Source::Method),
            Atom::Target => value(Source::Target),
            Atom::Path => value(Source::Path),
            Atom::Query => value(Source::Query),
            Atom::Protocol => value(Source::Protocol),
            Atom::Scheme => value(Source::Scheme),
            Atom::Referer => value(Source::Referer),
            Atom::RequestHeader(header) if header == "referer" => value(Source::Referer),
            Atom::RequestHeader(header) => value(Source::Header(name(header))),
            Atom::Nobody => self.text("-"),
            Atom::Pid => self.text(&format!("<{}>", std::process::id())),
            Atom::Time => self.later(Late::Time),
            Atom::Status => self.later(Late::Status),
            Atom::Bytes => self.later(Late::Bytes),
            Atom::Seconds => self.later(Late::Seconds),
            Atom::Millis => self.later(Late::Millis),
            Atom::Micros => self.later(Late::Micros),
            Atom::Decimal => self.later(Late::Decimal),
            Atom::ResponseHeader(header) => self.later(Late::Header(name(header), plain)),
        }
    }

    /// Whether the response has to be looked at ([`Self::answered`]).
    pub(super) fn wants_response(&self) -> bool {
        self.late.iter().any(|late| matches!(late, Late::Header(..)))
    }

    /// Writes what is known when a request begins. One allocation, but for a line that is too long.
    pub(super) fn begin(&self, asked: &Asked<'_>) -> Line {
        let mut line = Vec::with_capacity(256);
        for longest in CUTS {
            line.clear();
            self.begin_with(asked, longest, &mut line);
            if line.len() + self.late.len() * RESERVE < LINE {
                break;
            }
        }
        Line(line)
    }

    fn begin_with(&self, asked: &Asked<'_>, longest: usize, line: &mut Vec<u8>) {
        let mut segment = open(line);
        for step in &self.steps {
            match step {
                Step::Text(text) => line.extend_from_slice(text),
                Step::Value(source, plain) => {
                    if !asked.write(source, &mut Sink { out: line, plain: *plain, style: self.style, longest }) {
                        line.push(b'-');
                    }
                }
                Step::Member(name, source) => {
                    let before = line.len();
                    write!(line, "\"{name}\":\"").expect("memory takes all");
                    let mut sink = Sink { out: line, plain: Plain::QUOTED, style: self.style, longest };
                    if asked.write(source, &mut sink) {
                        line.extend_from_slice(b"\",");
                    } else {
                        line.truncate(before);
                    }
                }
                Step::Trace => {
                    if let Some(span) = asked.span.filter(|span| span.is_valid()) {
                        self.trace(span, line);
                    }
                }
                Step::Later(number) => {
                    close(line, segment);
                    line.push(*number);
                    segment = open(line);
                }
            }
        }
        close(line, segment);
    }

    fn trace(&self, span: &SpanContext, line: &mut Vec<u8>) {
        line.extend_from_slice(br#","logging.googleapis.com/trace":""#);
        if let Some(project) = &self.project {
            line.extend_from_slice(b"projects/");
            escape::write(line, project.as_bytes(), Plain::QUOTED, self.style, usize::MAX);
            line.extend_from_slice(b"/traces/");
        }
        let (trace, id, sampled) = (span.trace_id(), span.span_id(), span.is_sampled());
        write!(
            line,
            r#"{trace}","logging.googleapis.com/spanId":"{id}","logging.googleapis.com/trace_sampled":{sampled}"#
        )
        .expect("memory takes all");
    }

    /// Puts in what the response's head says.
    pub(super) fn answered(&self, line: &mut Line, headers: &HeaderMap) {
        let mut new = Vec::with_capacity(line.0.len() + 128);
        let mut segment = open(&mut new);
        let mut room = LINE.saturating_sub(line.0.len() + self.late.len() * RESERVE);
        for (text, number) in segments(&line.0) {
            new.extend_from_slice(text);
            let Some(number) = number else { break };
            if let Some(Late::Header(name, plain)) = self.late.get(usize::from(number)) {
                let value =
                    headers.get_all(name).iter().next_back().map(http::HeaderValue::as_bytes).unwrap_or_default();
                let before = new.len();
                match value {
                    [] => new.push(b'-'),
                    _ => escape::write(&mut new, value, *plain, self.style, room.max(RESERVE - 8)),
                }
                room = room.saturating_sub(new.len() - before);
            } else {
                close(&mut new, segment);
                new.push(number);
                segment = open(&mut new);
            }
        }
        close(&mut new, segment);
        line.0 = new;
    }

    /// Writes the whole line.
    pub(super) fn finish(&self, line: &Line, outcome: &Outcome, clock: &Clock, out: &mut Vec<u8>) {
        for (text, number) in segments(&line.0) {
            out.extend_from_slice(text);
            if let Some(late) = number.and_then(|number| self.late.get(usize::from(number))) {
                late.write(outcome, clock, out);
            }
        }
        out.push(b'\n');
    }
}

impl Late {
    fn write(&self, outcome: &Outcome, clock: &Clock, out: &mut Vec<u8>) {
        let Outcome { status, bytes, took } = outcome;
        let code = status.as_ref().map(StatusCode::as_str);
        let written = match self {
            Self::Time => out.write_all(clock.common().as_bytes()),
            Self::Rfc3339 => clock.write_rfc3339(out),
            Self::Status => out.write_all(code.unwrap_or("-").as_bytes()),
            Self::StatusMember => code.map_or(Ok(()), |code| write!(out, "\"status\":{code},")),
            Self::Bytes => write!(out, "{bytes}"),
            Self::Seconds => write!(out, "{}", took.as_secs()),
            Self::Millis => write!(out, "{}", took.as_millis()),
            Self::Micros => write!(out, "{}", took.as_micros()),
            Self::Decimal => write!(out, "{}.{:06}", took.as_secs(), took.subsec_micros()),
            Self::Severity => out.write_all(severity(*status).as_bytes()),
            Self::Header(..) => out.write_all(b"-"), // there was no response
        };
        written.expect("memory takes all");
    }
}

fn severity(status: Option<StatusCode>) -> &'static str {
    match status.map(|status| status.as_u16()) {
        Some(..400) => "INFO",
        Some(500..) => "ERROR",
        _ => "WARNING",
    }
}

fn open(line: &mut Vec<u8>) -> usize {
    line.extend([0; 2]);
    line.len()
}

fn close(line: &mut [u8], segment: usize) {
    let length = (line.len() - segment) as u16; // one that is too long for it does not stay
    line[segment - 2..segment].copy_from_slice(&length.to_ne_bytes());
}

/// The segments with what follows each; nothing follows the last.
fn segments(mut line: &[u8]) -> impl Iterator<Item = (&[u8], Option<u8>)> {
    std::iter::from_fn(move || {
        let (length, rest) = line.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(u16::from_ne_bytes(*length).into())?;
        let (number, rest) = rest.split_first().map_or((None, rest), |(number, rest)| (Some(*number), rest));
        line = rest;
        Some((text, number))
    })
}

#[cfg(test)]
#[path = "program_tests.rs"]
mod tests;
