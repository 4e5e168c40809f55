//! A request as `httpRequest`, Google's description of one in a log entry (`LogEntry.HttpRequest`).

use std::net::IpAddr;
use std::time::Duration;

use http::header::{HOST, HeaderName, USER_AGENT};
use http::{Method, Request, StatusCode, Version};
use rustcorn_sys::log::{Field, Map, Value};

use crate::client::Client;
use crate::registry::Peer;
use crate::telemetry::redacted;

/// More of an address than fits into a line is of no use.
const URL: usize = 2048;
const AGENT: usize = 512;

/// What a line about a request says of it, kept while the application has the request itself. One allocation.
pub(crate) struct Seen {
    method: Method,
    version: Version,
    /// Who sent it, where that is known.
    client: Option<IpAddr>,
    /// The address and then the user agent, which begins here.
    agent: usize,
    text: Box<str>,
}

impl Seen {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let (uri, headers) = (request.uri(), request.headers());
        let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let host = uri.authority().map_or_else(|| header(HOST), |authority| authority.as_str());
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let (host, path) = (within(host, URL), within(path, URL));
        let agent = within(header(USER_AGENT), AGENT);
        let client = request.extensions().get::<Client>();
        let scheme = match client {
            _ if host.is_empty() => "",
            Some(client) if client.is_secure() => "https://",
            _ => "http://",
        };
        let parts = [scheme, host, path, agent];
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        text.extend(parts);
        let agent = text.len() - agent.len();
        let client = client.and_then(Client::address);
        Self {
            method: request.method().clone(),
            version: request.version(),
            client,
            agent,
            text: text.into_boxed_str(),
        }
    }

    /// `httpRequest`. `took` where the request is over.
    pub(crate) fn field(&self, peer: Option<&Peer>, status: Option<StatusCode>, took: Duration) -> Field {
        let (url, agent) = self.text.split_at(self.agent);
        let mut all = about(peer, status);
        if let Some(client) = self.client {
            all.insert("remoteIp".to_owned(), client.to_string().into());
        }
        let mut add = |name: &str, value: String| all.insert(name.to_owned(), value.into());
        add("requestMethod", self.method.to_string());
        add(
            "requestUrl",
            match url.split_once('?') {
                Some((path, query)) => format!("{path}?{}", redacted(query, usize::MAX)),
                None => url.to_owned(),
            },
        );
        add("protocol", format!("{:?}", self.version));
        add("latency", format!("{:.6}s", took.as_secs_f64()));
        if !agent.is_empty() {
            add("userAgent", agent.to_owned());
        }
        ("httpRequest".into(), all.into())
    }
}

/// `httpRequest` where nothing is known but who sent it, and what the answer was.
pub(crate) fn sender(peer: Option<&Peer>, status: Option<StatusCode>) -> Option<Field> {
    let all = about(peer, status);
    (!all.is_empty()).then(|| ("httpRequest".into(), all.into()))
}

fn about(peer: Option<&Peer>, status: Option<StatusCode>) -> Map<String, Value> {
    let peer = peer.map(|peer| ("remoteIp".to_owned(), Value::from(&*peer.address())));
    let status = status.map(|status| ("status".to_owned(), Value::from(status.as_u16())));
    peer.into_iter().chain(status).collect()
}

fn within(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}
