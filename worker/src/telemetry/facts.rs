//! What spans and metrics both say about a request, as small numbers: texts are made of them only when they are needed.

use http::{Method, StatusCode, Version};

/// Methods that are named; any other is `_OTHER`, so that clients cannot make up series of metrics.
#[derive(Clone, Debug)]
pub(crate) struct Methods(Vec<&'static str>);

/// RFC 9110 and 5789, the frequent ones first, and QUERY.
const KNOWN: [&str; 10] = ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "QUERY"];
/// More than anybody names.
pub(crate) const MOST_METHODS: usize = 64;

/// Index of a method.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct MethodId(u8);

impl Methods {
    /// `named`: the full list, where there is one of the operator's.
    pub(crate) fn new(named: Option<&[String]>) -> Self {
        let named = named.map(|named| named.iter().take(MOST_METHODS - 1).map(|name| &*name.clone().leak()).collect());
        Self(named.unwrap_or_else(|| KNOWN.to_vec())) // leaked once in a process
    }

    pub(crate) fn id(&self, method: &Method) -> MethodId {
        let index = self.0.iter().position(|known| *known == method.as_str()).unwrap_or(self.0.len());
        MethodId(u8::try_from(index).expect("at most MOST_METHODS"))
    }

    pub(crate) fn other(&self) -> MethodId {
        MethodId(u8::try_from(self.0.len()).expect("at most MOST_METHODS"))
    }

    /// The attribute's text.
    pub(crate) fn name(&self, id: MethodId) -> &'static str {
        self.0.get(id.index()).copied().unwrap_or("_OTHER")
    }

    /// How a span's name begins.
    pub(crate) fn span_name(&self, id: MethodId) -> &'static str {
        self.0.get(id.index()).copied().unwrap_or("HTTP")
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = MethodId> {
        (0..=self.other().0).map(MethodId)
    }
}

impl MethodId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The protocol's version as its attribute has it.
pub(crate) const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// What went wrong besides what the status says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Trouble {
    None,
    /// The handler, or the body, panicked.
    Panic,
    /// The handler returned an error.
    Application,
    /// The body broke off.
    Body,
    /// The client was gone before it had all of the answer.
    Disconnect,
}

/// `error.type`: `None` where nothing is wrong.
pub(crate) fn error_type(status: Option<StatusCode>, trouble: Trouble) -> Option<opentelemetry::Value> {
    match (trouble, status) {
        (Trouble::Panic, _) => Some("panic".into()),
        (Trouble::Application, _) => Some("application_error".into()),
        (Trouble::Body, _) => Some("body_error".into()),
        (Trouble::Disconnect, _) => Some("client_disconnect".into()),
        (Trouble::None, Some(status)) if status.is_server_error() => Some(status.as_str().to_owned().into()),
        (Trouble::None, _) => None,
    }
}
