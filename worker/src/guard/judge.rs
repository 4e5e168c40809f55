//! Requests of HTTP/2, which has no bytes that two readers could read in two ways: their framing is that of frames, and what h2 makes
//! of a head is either a request or refused by it. What remains is what others rely on, and the limits: by the rules of HTTP/1.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use super::authority::{is_authority, is_host_and_port};
use super::bytes::trimmed;
use super::chunked::TRAILERS;
use super::head::{conventional, is, length};
use super::rules::{Rules, Verdict};
use super::{Marks, Reason, target};

/// What a request line has besides method and target.
const REST_OF_LINE: usize = "  HTTP/1.1".len();
/// What a header line has besides name and value, as most clients write it; and its end.
const COLON: usize = ": ".len();
const CRLF: usize = 2;

impl Rules {
    /// Judges a request of HTTP/2, and takes out of it what is to be dropped. `trusted`: the peer is in `forwarded_allow_ips`.
    pub(crate) fn judge<B>(&self, request: &mut Request<B>, trusted: bool) -> Result<Marks, Reason> {
        let line = self.request_line(request)?;
        self.sizes(request.headers(), line)?;
        let marks = self.headers(request.headers_mut(), trusted)?;
        host(request.uri(), request.headers())?;
        self.body_length(request)?;
        Ok(marks)
    }

    /// Returns how long the request line of HTTP/1 would be.
    fn request_line<B>(&self, request: &mut Request<B>) -> Result<usize, Reason> {
        let (method, uri) = (request.method(), request.uri());
        let target = match uri.path_and_query() {
            Some(path) => path.as_str(),
            None => uri.authority().map_or("", |authority| authority.as_str()),
        };
        let line = method.as_str().len() + target.len() + REST_OF_LINE;
        if line > self.line {
            return Err(Reason::LineTooLong);
        }
        if self.casefold && method.as_str().bytes().any(|byte| byte.is_ascii_lowercase()) {
            let upper = method.as_str().to_ascii_uppercase();
            *request.method_mut() = Method::from_bytes(upper.as_bytes()).map_err(|_| Reason::Method)?;
        }
        let (method, uri) = (request.method(), request.uri());
        if !self.any_method {
            conventional(method.as_str().as_bytes())?;
        }
        let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
        if method == Method::CONNECT {
            return if authority.is_some_and(is_host_and_port) { Ok(line) } else { Err(Reason::ConnectTarget) };
        }
        if !authority.is_none_or(is_authority) {
            return Err(Reason::TargetAuthority);
        }
        match uri.path_and_query().map(|path| path.as_str()) {
            Some("*") if method == Method::OPTIONS => {}
            Some("*") => return Err(Reason::Asterisk),
            Some(path) if path.starts_with('/') => target::path(path.as_bytes())?,
            _ => return Err(Reason::Target),
        }
        Ok(line)
    }

    /// `line`: what counts towards the head already.
    fn sizes(&self, headers: &HeaderMap, line: usize) -> Result<(), Reason> {
        if headers.len() > self.fields {
            return Err(Reason::TooManyFields);
        }
        let mut head = line + CRLF;
        for (name, value) in headers {
            let field = name.as_str().len() + COLON + value.len();
            if field > self.field {
                return Err(Reason::FieldTooLarge);
            }
            head += field + CRLF;
        }
        if head + CRLF > self.head { Err(Reason::HeadTooLarge) } else { Ok(()) }
    }

    /// Looks at each header, and drops some.
    fn headers(&self, headers: &mut HeaderMap, trusted: bool) -> Result<Marks, Reason> {
        let (mut marks, mut dropped) = (Marks::default(), Vec::new());
        for (name, value) in &*headers {
            if has_blank_around(value) {
                return Err(Reason::BlankAroundValue);
            }
            if *name == EXPECT && !is(trimmed(value.as_bytes()), b"100-continue") {
                return Err(Reason::Expectation);
            }
            if trusted {
                marks.hear(name.as_str().as_bytes(), value.as_bytes(), self)?;
            }
            if name.as_str().contains('_') && self.underscore(name.as_str().as_bytes(), trusted)? == Verdict::Drop {
                dropped.push(name.clone());
            }
        }
        dropped.into_iter().for_each(|name: HeaderName| drop(headers.remove(name)));
        if is_twice(headers, CONTENT_TYPE) { Err(Reason::TwoContentTypes) } else { Ok(marks) }
    }

    /// Looks at what a request says of its body, which h2 holds it to. One that says nothing is measured on its way.
    fn body_length<B>(&self, request: &Request<B>) -> Result<(), Reason> {
        let headers = request.headers();
        if is_twice(headers, CONTENT_LENGTH) {
            return Err(Reason::TwoLengths);
        }
        let told = headers.get(CONTENT_LENGTH).map(|value| length(value.as_bytes())).transpose()?;
        match told {
            Some(length) if length > self.body => Err(Reason::BodyTooLarge),
            _ => Ok(()),
        }
    }

    /// Judges what comes after a body, and takes out of it what is to be dropped. h2 has refused what is no name or no value.
    pub(crate) fn trailers(&self, trailers: &mut HeaderMap) -> Result<(), Reason> {
        let size: usize = trailers.iter().map(|(name, value)| name.as_str().len() + COLON + value.len() + CRLF).sum();
        if trailers.len() > self.fields || size > TRAILERS {
            return Err(Reason::TrailersTooLarge);
        }
        if trailers.values().any(has_blank_around) {
            return Err(Reason::BlankAroundValue);
        }
        let mut dropped = Vec::new();
        for name in trailers.keys() {
            if self.trailer(name.as_str().as_bytes(), name.as_str().contains('_'))? == Verdict::Drop {
                dropped.push(name.clone());
            }
        }
        dropped.into_iter().for_each(|name: HeaderName| drop(trailers.remove(name)));
        Ok(())
    }
}

fn has_blank_around(value: &HeaderValue) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last())
}

fn is_twice(headers: &HeaderMap, name: HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// A request is for one host, wherever it says so (RFC 9113, 8.3.1).
fn host(uri: &Uri, headers: &HeaderMap) -> Result<(), Reason> {
    if is_twice(headers, HOST) {
        return Err(Reason::TwoHosts);
    }
    let host = headers.get(HOST).map(|value| trimmed(value.as_bytes()));
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    match (host, authority) {
        (None, None) => Err(Reason::NoHost),
        (None, Some(_)) => Ok(()),
        (Some(host), None) if is_authority(host) => Ok(()),
        (Some(host), Some(authority)) if host.eq_ignore_ascii_case(authority) => Ok(()),
        (Some(host), _) if !is_authority(host) => Err(Reason::Host),
        (Some(_), _) => Err(Reason::HostDiffers),
    }
}

#[cfg(test)]
mod tests;
