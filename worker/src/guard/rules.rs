//! What the settings say about requests, ready to be looked up.

use rustcorn_config::{HeaderMap, Settings};

use super::Reason;

/// The largest head there can be: the bound of `limit_request_head`.
const MOST_LINE: usize = 65_534;
const MOST_FIELDS: usize = 16_384;

/// The rules of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Longest request line, without its end.
    pub(super) line: usize,
    pub(super) fields: usize,
    /// Longest header line, without its end.
    pub(super) field: usize,
    pub(super) head: usize,
    pub(super) body: u64,
    pub(super) folding: bool,
    pub(super) spaces: bool,
    pub(super) any_method: bool,
    pub(super) any_version: bool,
    pub(super) casefold: bool,
    pub(super) underscores: HeaderMap,
    /// Names with an underscore that pass; `*` is all.
    forwarders: Vec<String>,
    pub(super) schemes: Vec<Scheme>,
    /// Headers that there are rules about, and those by which a believed peer says something with them.
    pub(super) named: Names,
    pub(super) named_by_believed: Names,
}

/// A header that says which scheme the client used.
#[derive(Clone, Debug)]
pub(super) struct Scheme {
    pub(super) name: Box<[u8]>,
    /// The value that means https.
    pub(super) https: Box<[u8]>,
}

impl Rules {
    pub(crate) fn new(settings: &Settings) -> Self {
        let or_most = |limit: usize, most: usize| if limit == 0 { most } else { limit };
        let schemes = settings.secure_scheme_headers.iter().map(|(name, _)| name.as_str());
        Self {
            named: Names::of(RULED),
            named_by_believed: Names::of(RULED.into_iter().chain(["x-forwarded-for"]).chain(schemes)),
            line: or_most(settings.limit_request_line, MOST_LINE),
            fields: or_most(settings.limit_request_fields, MOST_FIELDS),
            field: or_most(settings.limit_request_field_size, MOST_LINE).saturating_sub(2),
            head: settings.limit_request_head,
            body: if settings.max_body_size == 0 { u64::MAX } else { settings.max_body_size },
            folding: settings.permit_obsolete_folding,
            spaces: settings.strip_header_spaces,
            any_method: settings.permit_unconventional_http_method,
            any_version: settings.permit_unconventional_http_version,
            casefold: settings.casefold_http_method,
            underscores: settings.header_map,
            forwarders: settings.forwarder_headers.clone(),
            schemes: settings
                .secure_scheme_headers
                .iter()
                .map(|(name, value)| Scheme { name: name.as_bytes().into(), https: value.as_bytes().into() })
                .collect(),
        }
    }

    /// The most headers that hyper may see.
    pub(crate) const fn fields(&self) -> usize {
        self.fields
    }

    /// The largest head that hyper may see.
    pub(crate) const fn head(&self) -> usize {
        self.head
    }

    /// The most bytes of a body.
    pub(crate) const fn body(&self) -> u64 {
        self.body
    }

    /// What becomes of a header with an underscore in its name.
    #[cold]
    pub(super) fn underscore(&self, name: &[u8], trusted: bool) -> Result<Verdict, Reason> {
        let passes = |allowed: &String| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(name);
        match self.underscores {
            _ if trusted && self.forwarders.iter().any(passes) => Ok(Verdict::Keep),
            HeaderMap::Dangerous => Ok(Verdict::Keep),
            HeaderMap::Drop => Ok(Verdict::Drop),
            HeaderMap::Refuse => Err(Reason::Underscore),
        }
    }
}

/// The headers that [`super::head`] has rules for.
const RULED: [&str; 6] = ["host", "expect", "upgrade", "content-type", "content-length", "transfer-encoding"];

/// A set of header names that can be asked in a few instructions whether a name may be in it: by length and first letter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Names {
    /// The topmost bit is for all that are longer.
    lengths: u64,
    letters: u32,
}

impl Names {
    fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().map(|name| Self::just(name.as_bytes())).fold(Self::default(), |all, one| Self {
            lengths: all.lengths | one.lengths,
            letters: all.letters | one.letters,
        })
    }

    #[inline(always)]
    const fn just(name: &[u8]) -> Self {
        let length = if name.len() < 63 { name.len() } else { 63 };
        let letter = if let [first, ..] = name { 1 << (*first & 31) } else { u32::MAX };
        Self { lengths: 1 << length, letters: letter }
    }

    /// `false` is certain, whatever the case of its letters.
    #[inline(always)]
    pub(super) const fn may_have(&self, name: &[u8]) -> bool {
        let one = Self::just(name);
        self.lengths & one.lengths != 0 && self.letters & one.letters != 0
    }
}

/// What becomes of a header line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Keep,
    Drop,
}
