//! What a request says of itself, for a line of the access log.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, HeaderName, REFERER};
use http::{HeaderMap, Method, Request, Uri, Version};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use opentelemetry::trace::SpanContext;

use super::escape::{self, Plain, Style};
use crate::client::Client;
use crate::registry::{Connection, Peer};
use crate::telemetry::{redacted, reveals};

/// A request, or what there is of one that was refused before it was one.
pub(super) struct Asked<'a> {
    client: Option<IpAddr>,
    /// Whose text is there already.
    peer: Option<&'a Peer>,
    secure: bool,
    head: Head<'a>,
    pub(super) span: Option<&'a SpanContext>,
}

#[derive(Clone, Copy)]
enum Head<'a> {
    Whole(&'a Method, &'a Uri, Version, &'a HeaderMap),
    /// Its first line, as far as it came.
    Refused(&'a [u8]),
}

/// A value that is known when a request begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Client,
    User,
    RequestLine,
    Method,
    Target,
    Path,
    Query,
    Protocol,
    Scheme,
    Referer,
    Header(HeaderName),
    /// All of the address, as Google's `requestUrl`.
    Url,
}

/// Where a value goes, and in which form.
pub(super) struct Sink<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) plain: Plain,
    pub(super) style: Style,
    pub(super) longest: usize,
}

impl Sink<'_> {
    /// Whether there was anything to write.
    fn put(&mut self, value: &[u8]) -> bool {
        escape::write(self.out, value, self.plain, self.style, self.longest);
        !value.is_empty()
    }

    /// Our own characters.
    fn put_raw(&mut self, value: &str) {
        self.out.extend_from_slice(value.as_bytes());
    }
}

impl<'a> Asked<'a> {
    pub(super) fn of<B>(request: &'a Request<B>, connection: &'a Connection, span: Option<&'a SpanContext>) -> Self {
        let client = request.extensions().get::<Client>();
        let head = Head::Whole(request.method(), request.uri(), request.version(), request.headers());
        Self {
            client: client.and_then(Client::address),
            peer: connection.client(),
            secure: client.is_some_and(Client::is_secure),
            head,
            span,
        }
    }

    pub(super) fn refused(line: &'a [u8], connection: &'a Connection) -> Self {
        let peer = connection.client();
        let client = peer.map(|peer| peer.socket_address().ip().to_canonical());
        Self { client, peer, secure: connection.tls.get().is_some(), head: Head::Refused(line), span: None }
    }

    /// Writes a value. False where there is none, or an empty one.
    pub(super) fn write(&self, source: &Source, sink: &mut Sink<'_>) -> bool {
        if *source == Source::Client {
            return self.client(sink);
        }
        let (method, uri, version, headers) = match self.head {
            Head::Whole(method, uri, version, headers) => (method, uri, version, headers),
            Head::Refused(line) => return *source == Source::RequestLine && sink.put(line),
        };
        let header = |name: &HeaderName| headers.get_all(name).iter().next_back().map(http::HeaderValue::as_bytes);
        match source {
            Source::Client => false, // above
            Source::User => header(&AUTHORIZATION).and_then(user).is_some_and(|user| sink.put(&user)),
            Source::RequestLine => {
                sink.put(method.as_str().as_bytes());
                sink.put_raw(" ");
                target(uri, version, sink);
                sink.put_raw(" ");
                sink.put_raw(protocol(version));
                true
            }
            Source::Method => sink.put(method.as_str().as_bytes()),
            Source::Target => target(uri, version, sink),
            Source::Path => sink.put(&decoded(uri.path())),
            Source::Query => uri.query().is_some_and(|query| sink.put(shown(query).as_bytes())),
            Source::Protocol => sink.put(protocol(version).as_bytes()),
            Source::Scheme => sink.put(if self.secure { b"https" } else { b"http" }),
            Source::Referer => header(&REFERER).is_some_and(|referer| sink.put(&without_secrets(referer))),
            Source::Header(name) => header(name).is_some_and(|value| sink.put(value)),
            Source::Url => {
                let host = uri.authority().map(|authority| authority.as_str().as_bytes());
                if let Some(host) = host.or_else(|| headers.get(HOST).map(http::HeaderValue::as_bytes)) {
                    sink.put_raw(if self.secure { "https://" } else { "http://" });
                    sink.put(host);
                }
                path_and_query(uri, sink)
            }
        }
    }

    fn client(&self, sink: &mut Sink<'_>) -> bool {
        let Some(client) = self.client else { return false };
        match self.peer {
            Some(peer) if peer.socket_address().ip().to_canonical() == client => sink.put_raw(&peer.address()),
            _ => write!(sink.out, "{client}").expect("memory takes all"),
        }
        true
    }
}

/// As it came, but for the values of secrets.
fn target(uri: &Uri, version: Version, sink: &mut Sink<'_>) -> bool {
    // HTTP/2 has no such form: scheme and authority are fields of their own, which its clients always send.
    if version != Version::HTTP_2 || uri.path_and_query().is_none() {
        if let Some(scheme) = uri.scheme_str() {
            sink.put(scheme.as_bytes());
            sink.put_raw("://");
        }
        if let Some(authority) = uri.authority() {
            sink.put(authority.as_str().as_bytes());
        }
    }
    path_and_query(uri, sink);
    true
}

fn path_and_query(uri: &Uri, sink: &mut Sink<'_>) -> bool {
    let whole = uri.path_and_query().map_or("", |both| both.as_str());
    match uri.query() {
        Some(query) if reveals(query) => {
            sink.put(uri.path().as_bytes());
            sink.put(b"?");
            sink.put(shown(query).as_bytes())
        }
        _ => sink.put(whole.as_bytes()),
    }
}

/// A query less the values of secrets.
fn shown(query: &str) -> Cow<'_, str> {
    if reveals(query) { redacted(query, usize::MAX).into() } else { query.into() }
}

fn without_secrets(address: &[u8]) -> Cow<'_, [u8]> {
    let split = str::from_utf8(address).ok().and_then(|address| address.split_once('?'));
    match split {
        Some((path, query)) if reveals(query) => format!("{path}?{}", redacted(query, usize::MAX)).into_bytes().into(),
        _ => address.into(),
    }
}

/// The user of basic authentication.
fn user(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut both = BASE64_STANDARD.decode(rest.trim_ascii()).ok()?;
    let end = both.iter().position(|byte| *byte == b':').unwrap_or(both.len());
    both.truncate(end);
    Some(both)
}

/// Percent-encoding undone, whatever the bytes are then.
fn decoded(path: &str) -> Cow<'_, [u8]> {
    if !path.contains('%') {
        return path.as_bytes().into();
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(path.len()), path.as_bytes());
    while let [first, after @ ..] = rest {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes.into()
}

const fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1", // there are no others here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_read_as_gunicorn_reads_them() {
        let read = |value: &str| user(value.as_bytes()).map(|user| String::from_utf8_lossy(&user).into_owned());
        assert_eq!(read("Basic YWRtaW46c2VjcmV0"), Some("admin".to_owned()));
        assert_eq!(read("bAsIc  YWRtaW4="), Some("admin".to_owned()), "no colon, no password");
        for none in ["Basic", "Basic !", "Bearer YWRtaW46c2VjcmV0", "é"] {
            assert_eq!(read(none), None, "{none}");
        }
    }

    #[test]
    fn paths_are_decoded_to_bytes() {
        assert_eq!(&*decoded("/a%20b%0A%ff%zz%4"), b"/a b\n\xff%zz%4");
    }

    #[test]
    fn secrets_of_addresses_are_hidden() {
        assert_eq!(&*without_secrets(b"https://a/b?sig=1&x=2"), b"https://a/b?sig=REDACTED&x=2");
        assert_eq!(&*without_secrets(b"https://a/b?x=2"), b"https://a/b?x=2");
        assert_eq!(&*without_secrets(b"\xff?sig=1"), b"\xff?sig=1");
    }
}
