//! What an application says about a request.

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The route that a request matched, such as `/users/{id}`. It becomes part of the span's name, and the attribute `http.route`
/// of span and metrics. Say it while the request is handled, which costs nothing:
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// use rustcorn::Route;
///
/// Route::new("/users/{id}").set();
/// ```
/// or put it into the response's extensions, which wins, and is what a layer around a router can do:
///
/// ```
/// # use rustcorn_worker as rustcorn;
/// use rustcorn::Route;
///
/// let mut response = http::Response::new(());
/// response.extensions_mut().insert(Route::new("/users/{id}"));
/// ```
/// Never a path as it was asked for: each value is a series of metrics of its own.
#[derive(Clone)]
pub struct Route(Text);

#[derive(Clone)]
enum Text {
    Static(&'static str),
    Shared(Arc<str>),
}

thread_local! {
    /// By the request that is being polled.
    static SAID: Cell<Option<Route>> = const { Cell::new(None) };
}

impl Route {
    /// A route that is known when the program is built.
    #[must_use]
    pub const fn new(route: &'static str) -> Self {
        Self(Text::Static(route))
    }

    /// Says that the request which this thread is handling, in its service's `call` or in its future, is on this route.
    pub fn set(self) {
        SAID.set(Some(self));
    }

    /// What was said since the last time.
    pub(crate) fn said() -> Option<Self> {
        SAID.take()
    }

    /// The route's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Static(text) => text,
            Text::Shared(text) => text,
        }
    }

    pub(crate) fn value(&self) -> opentelemetry::Value {
        match &self.0 {
            Text::Static(text) => (*text).into(),
            Text::Shared(text) => Arc::clone(text).into(),
        }
    }
}

/// A route that is known when the program runs. A clone costs nothing: keep one.
impl From<String> for Route {
    fn from(route: String) -> Self {
        Self(Text::Shared(route.into()))
    }
}

/// As above.
impl From<Arc<str>> for Route {
    fn from(route: Arc<str>) -> Self {
        Self(Text::Shared(route))
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
