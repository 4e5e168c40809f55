//! What the settings of the access log accept. A format is understood here, once: a mistake in it is a mistake in the
//! configuration.

use std::path::PathBuf;

use rustcorn_sys::log::syslog::Plan;

use crate::input::Input;
use crate::problem::did_you_mean;
use crate::rule::{Rule, quoted};
use crate::settings::Settings;

/// Where the lines of requests go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// To standard output.
    StandardOutput,
    /// To the end of a file.
    File(PathBuf),
}

pub(crate) struct AccessFile;

const STANDARD_OUTPUT: &str = "-";

impl Rule<AccessLog> for AccessFile {
    fn allowed(&self) -> String {
        "the path of a file, - for standard output, or empty for no access log".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<AccessLog, String> {
        match input.text() {
            Some("") => Ok(AccessLog::Off),
            Some(STANDARD_OUTPUT) => Ok(AccessLog::StandardOutput),
            Some(path) if !path.contains(char::is_control) => Ok(AccessLog::File(path.into())),
            _ => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &AccessLog) -> String {
        match value {
            AccessLog::Off => quoted(""),
            AccessLog::StandardOutput => quoted(STANDARD_OUTPUT),
            AccessLog::File(path) => quoted(&path.display().to_string()),
        }
    }
}

/// gunicorn's own format.
pub const DEFAULT_ACCESS_FORMAT: &str = r#"%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s""#;

/// What a line says, as the setting has it and taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessFormat {
    text: String,
    pieces: Vec<Piece>,
}

/// A part of a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// The same in each line.
    Text(String),
    /// Of the request.
    Value {
        /// Which.
        atom: Atom,
        /// Characters that would end the field it stands in.
        ends: Ends,
    },
}

/// What the end of a field is, beyond what no value may hold in any place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ends {
    /// The character that follows in the format.
    pub stop: Option<u8>,
    /// A blank: the field is in no quotes or brackets.
    pub blank: bool,
}

/// A value of a request, one of gunicorn's atoms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Atom {
    /// `h`: the client's address.
    Client,
    /// `l`: nothing, as everywhere.
    Nobody,
    /// `u`: the user of basic authentication.
    User,
    /// `t`: when.
    Time,
    /// `r`: method, target and protocol.
    RequestLine,
    /// `m`
    Method,
    /// `U`: the path, decoded.
    Path,
    /// `q`: the query.
    Query,
    /// `H`
    Protocol,
    /// `s`
    Status,
    /// `b`, `B`: bytes of the response's body.
    Bytes,
    /// `T`: whole seconds.
    Seconds,
    /// `M`: whole milliseconds.
    Millis,
    /// `D`: microseconds.
    Micros,
    /// `L`: seconds with six decimals.
    Decimal,
    /// `p`: the worker.
    Pid,
    /// `f`: where the client says it comes from, its query's secrets replaced.
    Referer,
    /// `{name}i`, and `a`; the name in lower case.
    RequestHeader(String),
    /// `{name}o`, the same of the response.
    ResponseHeader(String),
    /// `{RAW_URI}e`
    Target,
    /// `{wsgi.url_scheme}e`
    Scheme,
}

const ATOMS: [(&str, Atom); 18] = [
    ("h", Atom::Client),
    ("l", Atom::Nobody),
    ("u", Atom::User),
    ("t", Atom::Time),
    ("r", Atom::RequestLine),
    ("s", Atom::Status),
    ("m", Atom::Method),
    ("U", Atom::Path),
    ("q", Atom::Query),
    ("H", Atom::Protocol),
    ("b", Atom::Bytes),
    ("B", Atom::Bytes),
    ("f", Atom::Referer),
    ("T", Atom::Seconds),
    ("M", Atom::Millis),
    ("D", Atom::Micros),
    ("L", Atom::Decimal),
    ("p", Atom::Pid),
];

/// Names of a WSGI environment for what requests have here, too; besides `HTTP_…`.
const ENVIRONMENT: [(&str, Atom); 8] = [
    ("REQUEST_METHOD", Atom::Method),
    ("PATH_INFO", Atom::Path),
    ("QUERY_STRING", Atom::Query),
    ("SERVER_PROTOCOL", Atom::Protocol),
    ("REMOTE_ADDR", Atom::Client),
    ("RAW_URI", Atom::Target),
    ("REQUEST_URI", Atom::Target),
    ("wsgi.url_scheme", Atom::Scheme),
];

/// With these a line fits into what a pipe takes in one piece, however long the values are that have to be cut for it.
const LONGEST: usize = 1024;
const MOST: usize = 32;

impl AccessFormat {
    /// gunicorn's own.
    #[must_use]
    pub fn standard() -> Self {
        Self::read(DEFAULT_ACCESS_FORMAT).expect("a test reads it")
    }

    /// Its parts in their order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Takes a format apart. The error says where it is wrong, counted in characters from 1.
    ///
    /// # Errors
    /// What is wrong with it, for `access_log_format: …`.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("a format has at most {LONGEST} characters"));
        }
        if let Some(at) = text.chars().position(|c| c != '\t' && !(' '..='~').contains(&c)) {
            return Err(format!("the character at position {} is none of ASCII's printable ones", at + 1));
        }
        let (mut pieces, mut rest) = (Vec::new(), text);
        while let Some(at) = rest.find('%') {
            add_text(&mut pieces, &rest[..at]);
            let position = text.len() - rest.len() + at + 1;
            let after = &rest[at + 1..];
            if let Some(next) = after.strip_prefix('%') {
                add_text(&mut pieces, "%");
                rest = next;
                continue;
            }
            let inside = after.strip_prefix('(').and_then(|after| after.split_once(')'));
            let inside = inside.and_then(|(name, after)| Some((name, after.strip_prefix('s')?)));
            let Some((name, next)) = inside else {
                return Err(format!("at position {position}: after % comes (name)s, as in %(h)s, or %% for itself"));
            };
            let atom = Atom::named(name).map_err(|why| format!("at position {position}: %({name})s {why}"))?;
            pieces.push(Piece::Value { atom, ends: Ends::default() });
            rest = next;
        }
        add_text(&mut pieces, rest);
        if pieces.iter().filter(|piece| matches!(piece, Piece::Value { .. })).count() > MOST {
            return Err(format!("a format has at most {MOST} values"));
        }
        find_ends(&mut pieces);
        Ok(Self { text: text.to_owned(), pieces })
    }
}

fn add_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Finds out what the end of each value's field is.
fn find_ends(pieces: &mut [Piece]) {
    let text = |piece: Option<&Piece>| match piece {
        Some(Piece::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let mut quoted = false;
    for at in 0..pieces.len() {
        if let Piece::Text(text) = &pieces[at] {
            quoted ^= text.matches('"').count() % 2 == 1;
            continue;
        }
        let (before, after) = (at.checked_sub(1).map(|at| text(pieces.get(at))), text(pieces.get(at + 1)));
        let around = (before.and_then(|text| text.bytes().last()), after.bytes().next());
        let enclosed = matches!(
            around,
            (Some(b'\''), Some(b'\'')) | (Some(b'['), Some(b']')) | (Some(b'('), Some(b')')) | (Some(b'<'), Some(b'>'))
        );
        // A letter or digit is no end of anything, and would be found in every value.
        let stop = around.1.filter(u8::is_ascii_punctuation);
        if let Piece::Value { ends, .. } = &mut pieces[at] {
            *ends = Ends { stop, blank: !quoted && !enclosed };
        }
    }
}

impl Atom {
    fn named(name: &str) -> Result<Self, String> {
        if let Some((inner, kind)) = name.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            return match kind {
                "i" => header(inner).map(Self::RequestHeader),
                "o" => header(inner).map(Self::ResponseHeader),
                "e" => Self::in_environment(inner),
                _ => Err("is not known; after {name} comes i, o or e".to_owned()),
            };
        }
        if name == "a" {
            return Ok(Self::RequestHeader("user-agent".to_owned()));
        }
        let known = ATOMS.iter().find(|(known, _)| *known == name).map(|(_, atom)| atom.clone());
        known.ok_or_else(|| {
            // Their names are letters, of which the other case is the nearest.
            let other: String = name.chars().map(flipped).collect();
            let near = ATOMS.iter().map(|(known, _)| *known).find(|known| *known == other);
            let near = near.map_or_else(String::new, |near| format!("; did you mean %({near})s?"));
            format!(
                "is not known; there are h l u t r s m U q H b B f a T M D L p, {{name}}i, {{name}}o, {{name}}e{near}"
            )
        })
    }

    fn in_environment(name: &str) -> Result<Self, String> {
        // As in gunicorn, in either case.
        if let Some((_, atom)) = ENVIRONMENT.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Ok(atom.clone());
        }
        let upper = name.to_ascii_uppercase();
        match upper.as_str() {
            "CONTENT_TYPE" | "CONTENT_LENGTH" => header(&name.replace('_', "-")).map(Self::RequestHeader),
            "HTTP_REFERER" => Ok(Self::Referer),
            _ => match upper.strip_prefix("HTTP_") {
                Some(rest) => header(&rest.replace('_', "-")).map(Self::RequestHeader),
                None => {
                    let known = ENVIRONMENT.map(|(known, _)| known);
                    Err(format!(
                        "is not known; there are {}, CONTENT_TYPE, CONTENT_LENGTH and HTTP_*{}",
                        known.join(", "),
                        did_you_mean(name, known)
                    ))
                }
            },
        }
    }
}

fn flipped(c: char) -> char {
    if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
}

fn header(name: &str) -> Result<String, String> {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(may_be) {
        return Err("names no header: it holds a character that none has, or nothing".to_owned());
    }
    Ok(name.to_ascii_lowercase())
}

pub(crate) struct LineFormat;

impl Rule<Option<AccessFormat>> for LineFormat {
    fn allowed(&self) -> String {
        "text with %(name)s where a value goes, or empty for the standard one".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Option<AccessFormat>, String> {
        match input.text() {
            Some("") => Ok(None),
            Some(text) => AccessFormat::read(text).map(Some),
            None => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &Option<AccessFormat>) -> String {
        quoted(value.as_ref().map_or("", |format| &format.text))
    }
}

impl Settings {
    /// How requests go to syslog; `None` if they do not.
    #[must_use]
    pub fn access_syslog_plan(&self) -> Option<Plan> {
        let plan = self.syslog_plan().filter(|_| !self.disable_redirect_access_to_syslog)?;
        Some(Plan { tag: format!("rustcorn.{}.access", self.syslog_prefix), ..plan })
    }

    /// Whether requests leave lines anywhere.
    #[must_use]
    pub fn logs_access(&self) -> bool {
        self.accesslog != AccessLog::Off || self.access_syslog_plan().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        AccessFormat::read(text).unwrap_err()
    }

    #[test]
    fn a_format_is_taken_apart() {
        let value = |atom, stop, blank| Piece::Value { atom, ends: Ends { stop, blank } };
        let format = AccessFormat::read(r#"%(h)s "%(r)s" 100%% [%({X-Id}o)s] %({HTTP_X_ID}e)s|%(p)s"#).unwrap();
        let expected = [
            value(Atom::Client, None, true),
            Piece::Text(" \"".to_owned()),
            value(Atom::RequestLine, Some(b'"'), false),
            Piece::Text("\" 100% [".to_owned()),
            value(Atom::ResponseHeader("x-id".to_owned()), Some(b']'), false),
            Piece::Text("] ".to_owned()),
            value(Atom::RequestHeader("x-id".to_owned()), Some(b'|'), true),
            Piece::Text("|".to_owned()),
            value(Atom::Pid, None, true),
        ];
        assert_eq!(format.pieces(), expected);
        assert_eq!(AccessFormat::standard().pieces().len(), 18);
        for (name, _) in ATOMS {
            assert!(AccessFormat::read(&format!("%({name})s")).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_format_is_said_with_its_place() {
        assert!(refusal("%(h)s %(S)s").starts_with("at position 7: %(S)s is not known; there are h l u"));
        assert!(refusal("%(h)s %(S)s").ends_with("; did you mean %(s)s?"));
        let unfinished = "at position 3: after % comes (name)s, as in %(h)s, or %% for itself";
        for text in ["1 %", "1 %h", "1 %(h", "1 %(h)", "1 %(h)d"] {
            assert_eq!(refusal(text), unfinished, "{text}");
        }
        assert!(refusal("%({}i)s").starts_with("at position 1: %({}i)s names no header"));
        assert!(refusal("%({a b}o)s").contains("names no header"));
        assert!(refusal("%({a}x)s").ends_with("after {name} comes i, o or e"));
        assert!(refusal("%({REMOTE_ADR}e)s").ends_with("did you mean \"REMOTE_ADDR\"?"));
        assert_eq!(refusal("é"), "the character at position 1 is none of ASCII's printable ones");
        assert_eq!(refusal("a\nb"), "the character at position 2 is none of ASCII's printable ones");
        assert_eq!(refusal(&"%(h)s".repeat(33)), "a format has at most 32 values");
        assert_eq!(refusal(&"x".repeat(1025)), "a format has at most 1024 characters");
    }
}
