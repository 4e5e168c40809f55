//! Whatever the guard passes, hyper reads as the same requests with the same bodies: on the corpus, and on random mutations of it.
//! A difference between the two readers is what requests are smuggled through.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io::{self, Cursor};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use fastrand::Rng;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustcorn_config::Settings;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Guard, Rules, corpus};

/// What a reader made of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Message {
    Whole,
    /// Its body was not all there.
    Cut,
}

/// What the guard lets through of `bytes`, fed in pieces, and which messages it sees begin and end where the pieces are single bytes.
fn guards(rules: &Rules, bytes: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<u8>, Vec<Message>) {
    let (mut guard, mut stash, mut passed) = (Guard::new(false), Vec::new(), Vec::new());
    let (mut messages, mut rest) = (Vec::new(), bytes);
    loop {
        let between = guard.between_messages();
        let fed = guard.feed(&mut stash, rules);
        stash.truncate(fed.len);
        passed.extend(stash.drain(..fed.pass));
        if between && fed.pass > 0 {
            messages.push(Message::Cut);
        }
        if guard.between_messages()
            && let Some(last) = messages.last_mut()
        {
            *last = Message::Whole;
        }
        if guard.asked() {
            guard.decided(false);
        }
        let more_is_here = fed.pass > 0 && !stash.is_empty();
        if fed.refused.is_some() || (rest.is_empty() && !more_is_here) {
            return (passed, messages);
        }
        if !more_is_here {
            let (now, later) = rest.split_at(piece().clamp(1, rest.len()));
            stash.extend_from_slice(now);
            rest = later;
        }
    }
}

/// Bytes to read, and then the end; what is written is gone.
struct Wire(Cursor<Vec<u8>>);

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let rest = &self.0.get_ref()[usize::try_from(self.0.position()).expect("small")..];
        let some = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..some]);
        let position = self.0.position() + some as u64;
        self.0.set_position(position);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// How hyper reads them; and whether the last one ends the connection.
async fn hypers(bytes: Vec<u8>) -> Result<(Vec<Message>, bool), hyper::Error> {
    let seen = Rc::new(RefCell::new((Vec::new(), false)));
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let said = |word: &str| {
                let values = request.headers().get_all("connection").iter();
                values
                    .filter_map(|value| value.to_str().ok())
                    .any(|value| value.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
            };
            let old = request.version() == http::Version::HTTP_10;
            let closes = said("close") || (old && !said("keep-alive"));
            seen.borrow_mut().0.push(Message::Cut);
            seen.borrow_mut().1 = closes;
            if request.into_body().collect().await.is_ok() {
                *seen.borrow_mut().0.last_mut().expect("pushed above") = Message::Whole;
            }
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = http::StatusCode::NOT_FOUND; // 200 would be a tunnel for CONNECT
            Ok::<_, Infallible>(response)
        }
    });
    let wire = TokioIo::new(Wire(Cursor::new(bytes)));
    // The end of the bytes is not the end of the client here.
    let served = hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(wire, service).await;
    let (messages, closes) = seen.borrow().clone();
    match served {
        Err(error) if error.is_parse() => Err(error),
        _ => Ok((messages, closes)),
    }
}

/// Compares the two, and returns how many messages there are.
#[track_caller]
fn compare(rules: &Rules, bytes: &[u8], piece: impl FnMut() -> usize) -> usize {
    let shown = || bytes.escape_ascii().to_string();
    let (passed, guards_view) = guards(rules, bytes, || 1);
    let (in_pieces, _) = guards(rules, bytes, piece);
    // In larger pieces a bad body takes its head along.
    assert!(passed.starts_with(&in_pieces), "{} passes of {}", in_pieces.escape_ascii(), shown());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for passed in [passed, in_pieces] {
        let (hypers_view, closes) = match runtime.block_on(hypers(passed.clone())) {
            Ok(read) => read,
            Err(error) => panic!("hyper refuses ({error}) what passed: {}", shown()),
        };
        // What comes after a request that closes the connection, hyper does not read.
        let guards_view = guards(rules, &passed, || 1).1;
        let same = if closes { guards_view.starts_with(&hypers_view) } else { guards_view == hypers_view };
        assert!(same, "guard {guards_view:?}, hyper {hypers_view:?}: {}", shown());
    }
    guards_view.len()
}

fn cases() -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/data/http1.txt")).unwrap();
    let cases: Vec<Vec<u8>> = corpus::read(&text).into_iter().map(|case| case.bytes).collect();
    assert!(cases.len() >= 150);
    cases.into_iter().filter(|bytes| bytes.len() < 2000).collect()
}

/// Pieces that are likely to matter.
const BITS: [&[u8]; 40] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b":",
    b";",
    b",",
    b"=",
    b"\"",
    b"0",
    b"5",
    b"a",
    b"F",
    b"_",
    b"-",
    b"+",
    b"0x",
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length",
    b"Host: a\r\n",
    b"Host",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: x\r\n",
    b"Connection: close\r\n",
    b"/",
    b"*",
    b"http://a",
    b"\xc3\xbc",
    b"\xff",
    b"\x7f",
];

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(0..=bytes.len());
        let until = rng.usize(at..=bytes.len().min(at + 8));
        let bit = BITS[rng.usize(0..BITS.len())];
        match rng.u8(0..6) {
            0 => _ = bytes.splice(at..at, bit.iter().copied()),
            1 => _ = bytes.splice(at..until, bit.iter().copied()),
            2 => _ = bytes.drain(at..until),
            3 if at < bytes.len() => bytes[at] = rng.u8(..),
            4 => {
                let copy = bytes[at..until].to_vec();
                bytes.splice(until..until, copy);
            }
            _ => bytes.truncate(at.max(bytes.len() / 2)),
        }
    }
}

#[test]
fn on_the_corpus() {
    let rules = Rules::new(&Settings::defaults());
    let read: usize = cases().iter().map(|bytes| compare(&rules, bytes, || usize::MAX)).sum();
    assert!(read > 100, "{read}");
}

#[test]
fn on_mutations_of_it() {
    let rounds = if std::env::var_os("RUSTCORN_E2E_FULL").is_some() { 1_000_000 } else { 20_000 };
    let mut settings = Settings::defaults();
    let strict = Rules::new(&settings);
    settings.permit_obsolete_folding = true;
    settings.strip_header_spaces = true;
    settings.permit_unconventional_http_method = true;
    settings.permit_unconventional_http_version = true;
    settings.casefold_http_method = true;
    settings.header_map = rustcorn_config::HeaderMap::Dangerous;
    let lenient = Rules::new(&settings);
    let (cases, mut rng, mut read) = (cases(), Rng::with_seed(7), 0);
    for round in 0..rounds {
        let mut bytes = cases[rng.usize(0..cases.len())].clone();
        if rng.bool() {
            bytes.extend_from_slice(&cases[rng.usize(0..cases.len())]);
        }
        mutate(&mut rng, &mut bytes);
        let mut sizes = rng.fork();
        let rules = if round % 2 == 0 { &strict } else { &lenient };
        read += compare(rules, &bytes, || if round % 3 == 0 { usize::MAX } else { sizes.usize(1..40) });
    }
    assert!(read > rounds / 10, "{read} requests in {rounds} rounds: the mutations break too much to tell");
}
