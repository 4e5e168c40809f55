//! `handler = "static"`: the files of a directory. tower-http knows what HTTP says about files (ranges, conditions, encodings,
//! types); what may be opened, and how few trips to a thread that takes, is in `files/beneath.rs`.

mod beneath;

use std::convert::Infallible;
use std::future::Future;
use std::path::{Component, Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use rustcorn_config::{App, Problem, Problems};
use rustcorn_sys::beneath::Root;
use rustcorn_sys::error::without_number;
use serde::Deserialize;
use tower_http::services::fs::{DefaultServeDirFallback, ServeDir, ServeFileSystemResponseBody as Body};
use tower_service::Service;

use crate::BoxError;
use beneath::Beneath;

/// Keys of `[app]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    /// The directory.
    root: PathBuf,
    /// The header `Cache-Control` of every file.
    #[serde(default)]
    cache_control: Option<Value>,
    /// The file to answer with where there is none: the page of an application that routes in the browser.
    #[serde(default)]
    fallback: Option<Inside>,
    /// Whether names that begin with a dot may be asked for, beside `.well-known`.
    #[serde(default)]
    dotfiles: bool,
    /// Whether `FILE.br`, `FILE.zst` and `FILE.gz` are looked for where a client understands them.
    #[serde(default = "yes")]
    precompressed: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Value(HeaderValue);

impl TryFrom<String> for Value {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let value = HeaderValue::try_from(text.trim()).ok().filter(|value| !value.is_empty());
        value
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not allowed; use the value of a header, such as \"max-age=3600\""))
    }
}

/// A path that leads down from the root, as a request names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
struct Inside {
    path: PathBuf,
    asked: PathAndQuery,
}

impl TryFrom<String> for Inside {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let refused =
            || format!("{text:?} is not allowed; use a file's path as seen from root, such as \"index.html\"");
        let path = PathBuf::from(&text);
        let plain = !text.is_empty() && path.components().all(|part| matches!(part, Component::Normal(_)));
        let asked = PathAndQuery::try_from(format!("/{}", text.replace('%', "%25").replace(' ', "%20")));
        let asked = asked.ok().filter(|asked| plain && asked.query().is_none()).ok_or_else(refused)?;
        Ok(Self { path, asked })
    }
}

impl Config {
    pub(super) fn read(app: &App) -> Result<Self, Problems> {
        app.read()
    }
}

/// Opens the directory; from then on the service shows what is in it, and nothing else.
pub(super) fn service(app: &App) -> Result<Files, BoxError> {
    let config = Config::read(app)?;
    let root = Root::open(&config.root).map_err(|error| cannot_open(app, "root", &config.root, &error))?;
    if let Some(Inside { path, .. }) = &config.fallback {
        let opened = root.file(path).and_then(|file| file.metadata());
        let metadata = opened.map_err(|error| cannot_open(app, "fallback", path, &error))?;
        if !metadata.is_file() {
            return Err(Problems::from(app.problem("fallback", &format!("{} is no file", path.display()))).into());
        }
    }
    let root = Arc::new(root);
    let serve = |neighbours| {
        let files = ServeDir::with_backend("", Beneath::new(Arc::clone(&root), config.dotfiles, neighbours))
            .ignore_multi_range_requests(true); // answered with the whole file, as RFC 9110, 14.2 allows
        match config.precompressed {
            true => files.precompressed_br().precompressed_zstd().precompressed_gzip(),
            false => files,
        }
    };
    Ok(Files {
        plain: serve(false),
        negotiating: serve(config.precompressed),
        cache_control: config.cache_control.map(|value| value.0),
        fallback: config.fallback,
    })
}

fn cannot_open(app: &App, key: &str, path: &Path, error: &std::io::Error) -> Problems {
    let why = without_number(error);
    let seen_from = if key == "root" { "the working directory" } else { "root" };
    let text = format!("cannot open {}: {why}; the path is seen from {seen_from}", path.display());
    let problem: Problem = app.problem(key, &text);
    problem.into()
}

type Inner = ServeDir<DefaultServeDirFallback, Beneath>;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// For clients that take files as they are.
    plain: Inner,
    /// For those that accept some encoding; it says the same, and looks for neighbours beforehand.
    negotiating: Inner,
    cache_control: Option<HeaderValue>,
    fallback: Option<Inside>,
}

impl Service<Request<crate::Body>> for Files {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<crate::Body>) -> Answer {
        let (mut head, _) = request.into_parts(); // a body would be none of ours
        // `//host/` is a path here and another host for the client of a redirect that repeats it.
        if head.uri.path().starts_with("//") {
            return Answer { looking: None, again: None, cache_control: None };
        }
        let negotiates = head.headers.contains_key(ACCEPT_ENCODING);
        let files = if negotiates { &mut self.negotiating } else { &mut self.plain };
        let again = self.fallback.as_ref().map(|fallback| {
            let mut again = head.clone();
            again.uri = Uri::from(fallback.asked.clone());
            (files.clone(), Request::from_parts(again, Nothing::new()))
        });
        // An absolute one would be repeated by a redirect, with whatever host the client wrote.
        head.uri = head.uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        let looking = Box::pin(files.call(Request::from_parts(head, Nothing::new())));
        Answer { looking: Some(looking), again, cache_control: self.cache_control.clone() }
    }
}

type Nothing = http_body_util::Empty<bytes::Bytes>;
type Looking = Pin<Box<<Inner as Service<Request<Nothing>>>::Future>>;

/// The answer; with a fallback, after a second look if the first one finds nothing.
pub(super) struct Answer {
    /// `None`: there is nothing to look for.
    looking: Option<Looking>,
    again: Option<(Inner, Request<Nothing>)>,
    cache_control: Option<HeaderValue>,
}

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let mut response = match &mut self.looking {
                Some(looking) => ready!(looking.as_mut().poll(cx))?,
                None => {
                    let mut response = Response::new(Body::default());
                    *response.status_mut() = StatusCode::NOT_FOUND;
                    response
                }
            };
            if response.status() == StatusCode::NOT_FOUND
                && let Some((mut files, request)) = self.again.take()
            {
                self.looking = Some(Box::pin(files.call(request)));
                continue;
            }
            let found = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
            if let Some(value) = self.cache_control.take().filter(|_| found) {
                response.headers_mut().insert(CACHE_CONTROL, value);
            }
            return Poll::Ready(Ok(response));
        }
    }
}
