//! Which path answers what. Whoever can connect may look, and looking is all there is: GET and HEAD, and no secrets.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, VARY};
use http::header::{REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use rustcorn_scoreboard::{Snapshot, View};
use rustcorn_sys::Monotonic;

use crate::handoff::Words;
use crate::health::{self, Health};
use crate::history::History;
use crate::metrics;
use crate::status::Status;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// The page loads what this server has and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const PATHS: [(&str, &str); 4] = [
    ("livez", "whether the master's loop turns"),
    ("readyz", "whether to send requests here"),
    ("metrics", "for Prometheus"),
    ("status", "for people; as JSON for everybody else"),
];

type Answer = Response<Full<Bytes>>;

/// All that is shown.
pub(crate) struct Site {
    view: View,
    words: Words,
    /// Shown where the master stands still in the middle of a change, so that no counter goes back then either.
    last: RefCell<Rc<Snapshot>>,
    history: RefCell<History>,
}

impl Site {
    /// `None`: the master stands still in the middle of a change, so there is nothing to show yet.
    pub(crate) fn new(view: View, words: Words) -> Option<Self> {
        let last = Rc::new(view.snapshot()?);
        let history = RefCell::new(History::new(Monotonic::now(), &last.totals));
        Some(Self { view, words, last: RefCell::new(last), history })
    }

    /// Takes a point of the history.
    pub(crate) fn sample(&self) {
        self.history.borrow_mut().sample(Monotonic::now(), &self.snapshot());
    }

    fn snapshot(&self) -> Rc<Snapshot> {
        if let Some(fresh) = self.view.snapshot() {
            *self.last.borrow_mut() = Rc::new(fresh);
        }
        Rc::clone(&self.last.borrow())
    }

    /// Answers; the server leaves the body out for HEAD.
    pub(crate) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Answer {
        if *method != Method::GET && *method != Method::HEAD {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let now = Monotonic::now();
        match path {
            "/livez" => health(health::live(&self.view.master(), now)),
            "/readyz" => health(health::ready(&self.snapshot(), self.words.min_ready)),
            "/metrics" => answer(StatusCode::OK, metrics::FORMAT, metrics::text(&self.snapshot(), now)),
            "/status" if wants_html(headers) => page(include_str!("page/status.html")),
            "/status" => self.status(now),
            "/status.css" => answer(StatusCode::OK, "text/css; charset=utf-8", include_str!("page/status.css")),
            "/status.js" => answer(StatusCode::OK, "text/javascript; charset=utf-8", include_str!("page/status.js")),
            "/" if wants_html(headers) => page(&index()),
            "/" => plain(StatusCode::OK, &links()),
            _ => plain(StatusCode::NOT_FOUND, &format!("not here\n{}", links())),
        }
    }

    fn status(&self, now: Monotonic) -> Answer {
        let Words { name, min_ready, .. } = &self.words;
        let status = Status::of(name, *min_ready, &self.snapshot(), &self.view, &self.history.borrow(), now);
        match serde_json::to_string(&status) {
            Ok(json) => varied(answer(StatusCode::OK, "application/json", json + "\n")),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }
}

/// Browsers name it; curl, Prometheus and probes do not.
fn wants_html(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().any(|accept| accept.to_str().is_ok_and(|accept| accept.contains("text/html")))
}

fn health(health: Health) -> Answer {
    match health {
        Ok(text) => plain(StatusCode::OK, &(text + "\n")),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, &(reason + "\n")),
    }
}

fn links() -> String {
    PATHS.iter().map(|(path, what)| format!("/{path}  {what}\n")).collect()
}

fn index() -> String {
    let links: String =
        PATHS.iter().map(|(path, what)| format!("<li><a href=\"{path}\">/{path}</a> {what}</li>")).collect();
    include_str!("page/index.html").replace("{links}", &links)
}

fn page(html: &str) -> Answer {
    varied(answer(StatusCode::OK, HTML, html.to_owned()))
}

/// The path has another form for those who ask otherwise.
fn varied(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    answer
}

fn plain(status: StatusCode, text: &str) -> Answer {
    answer(status, TEXT, text.to_owned())
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    const HEADERS: [(HeaderName, &str); 4] = [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    answer
}

#[cfg(test)]
mod tests;
