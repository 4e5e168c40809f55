//! Text with `{{variables}}` in it.

use crate::problem::did_you_mean;

/// A value that differs from user to user, or from request to request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// As between the braces.
    pub name: String,
    /// Where its value comes from.
    pub source: VariableSource,
}

/// Where the value of a variable comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VariableSource {
    /// `user`: number of the user, from 1.
    User,
    /// `request`: number of the request among those of the user, from 1.
    Request,
    /// `random`: a number below 2^32, new at each place.
    Random,
    /// One of the list for each user, in turn; from the first one again when the list is at its end.
    Values(Vec<String>),
    /// Taken from an answer; empty until then.
    Saved,
}

/// Variables that always exist.
pub(crate) fn built_in() -> Vec<Variable> {
    let variable = |name: &str, source| Variable { name: name.to_owned(), source };
    vec![
        variable("user", VariableSource::User),
        variable("request", VariableSource::Request),
        variable("random", VariableSource::Random),
    ]
}

/// Text with variables in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Bytes(Vec<u8>),
    /// Position in the scenario's variables, and where the value is to stand.
    Variable(usize, Place),
}

/// Where a value stands, which decides what must not be in it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// What is not allowed in a path or query is percent-encoded.
    Path,
    /// Control characters are left out.
    Header,
    /// Anything goes.
    Body,
}

impl Template {
    /// Without variables, whatever braces are in it.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::bytes(text.as_bytes().to_vec())
    }

    /// As [`Template::text`].
    #[must_use]
    pub fn bytes(bytes: Vec<u8>) -> Self {
        Self { parts: vec![Part::Bytes(bytes)] }
    }

    /// Reads `/users/{{user}}`. Braces around anything but a name stay as they are: JSON has them too.
    pub(crate) fn parse(text: &str, variables: &[Variable], place: Place) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        let mut plain = String::new();
        while let Some((before, after)) = rest.split_once("{{") {
            plain.push_str(before);
            match after.split_once("}}").map(|(name, behind)| (name.trim(), behind)) {
                Some((name, behind)) if is_name(name) => {
                    let Some(at) = variables.iter().position(|variable| variable.name == name) else {
                        let known = variables.iter().map(|variable| variable.name.as_str());
                        return Err(format!(
                            "there is no variable {name:?}{}; variables are set in [variables] or by save",
                            did_you_mean(name, known)
                        ));
                    };
                    if !plain.is_empty() {
                        parts.push(Part::Bytes(std::mem::take(&mut plain).into_bytes()));
                    }
                    parts.push(Part::Variable(at, place));
                    rest = behind;
                }
                _ => {
                    plain.push_str("{{");
                    rest = after;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Bytes(plain.into_bytes()));
        }
        Ok(Self { parts })
    }

    /// The text, if it is the same for everybody.
    #[must_use]
    pub fn fixed(&self) -> Option<&[u8]> {
        match &*self.parts {
            [Part::Bytes(bytes)] => Some(bytes),
            _ => None,
        }
    }

    /// Makes the other one its end.
    pub(crate) fn append(&mut self, other: &Self) {
        for part in &other.parts {
            match (self.parts.last_mut(), part) {
                (Some(Part::Bytes(last)), Part::Bytes(bytes)) => last.extend_from_slice(bytes),
                _ => self.parts.push(part.clone()),
            }
        }
    }

    /// Writes the text, asking for the value of each variable.
    pub(crate) fn render<V: AsRef<[u8]>>(&self, out: &mut Vec<u8>, mut value: impl FnMut(usize) -> V) {
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => out.extend_from_slice(bytes),
                Part::Variable(at, place) => place.write(out, value(*at).as_ref()),
            }
        }
    }
}

impl Place {
    fn write(self, out: &mut Vec<u8>, value: &[u8]) {
        match self {
            Self::Body => out.extend_from_slice(value),
            Self::Header => out.extend(value.iter().filter(|byte| !byte.is_ascii_control())),
            Self::Path => {
                for &byte in value {
                    // The characters of a path and a query (RFC 3986); an encoded value stays as it is.
                    if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte) {
                        out.push(byte);
                    } else {
                        out.extend_from_slice(format!("%{byte:02X}").as_bytes());
                    }
                }
            }
        }
    }
}

/// What may stand between the braces.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests;
