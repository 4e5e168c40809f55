//! What the settings about requests accept.

use crate::input::Input;
use crate::problem::did_you_mean;
use crate::rule::{Rule, quoted};

/// What is done with a header whose name has an underscore. CGI's naming makes `X_Real_IP` and `X-Real-IP` one variable, so
/// an application may take one for the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HeaderMap {
    /// The application does not see it.
    #[default]
    Drop,
    /// The request is refused.
    Refuse,
    /// The application sees it.
    Dangerous,
}

/// Which headers of the PROXY protocol are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ProxyProtocol {
    /// None.
    #[default]
    Off,
    /// The text form.
    V1,
    /// The binary form.
    V2,
    /// Either.
    Auto,
}

/// One of a few words, each of which is a value.
pub(crate) struct Choice<T: 'static>(pub(crate) &'static [(&'static str, T)]);

/// For `header_map`.
pub(crate) const HEADER_MAP: Choice<HeaderMap> =
    Choice(&[("drop", HeaderMap::Drop), ("refuse", HeaderMap::Refuse), ("dangerous", HeaderMap::Dangerous)]);

/// For `proxy_protocol`.
pub(crate) const PROXY_PROTOCOL: Choice<ProxyProtocol> = Choice(&[
    ("off", ProxyProtocol::Off),
    ("v1", ProxyProtocol::V1),
    ("v2", ProxyProtocol::V2),
    ("auto", ProxyProtocol::Auto),
]);

impl<T: Copy + PartialEq> Rule<T> for Choice<T> {
    fn allowed(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| quoted(word)).collect();
        let (last, others) = words.split_last().expect("a choice has words");
        format!("{} or {last}", others.join(", "))
    }

    fn parse(&self, input: &Input) -> Result<T, String> {
        let text = input.text().unwrap_or_default();
        let found = self.0.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        found.ok_or_else(|| input.refused(&self.allowed()) + &did_you_mean(text, self.0.iter().map(|(word, _)| *word)))
    }

    fn show(&self, value: &T) -> String {
        quoted(self.0.iter().find(|(_, other)| other == value).map_or("", |(word, _)| word))
    }
}

/// Whether `byte` may be in the name of a header (RFC 9110, 5.6.2: a token).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// Names of headers; `*` for all.
pub(crate) struct Names;

impl Rule<Vec<String>> for Names {
    fn allowed(&self) -> String {
        "names of headers, such as \"SCRIPT_NAME,PATH_INFO\", \"*\" for all, or nothing".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Vec<String>, String> {
        let items = input.items().filter(|items| items.iter().all(|item| is_name(item)));
        let items = items.ok_or_else(|| input.refused(&self.allowed()))?;
        Ok(items.into_iter().map(str::to_owned).collect())
    }

    fn show(&self, value: &Vec<String>) -> String {
        quoted(&value.join(","))
    }
}

/// Headers and the value of each that means https.
pub(crate) struct SchemeHeaders;

impl Rule<Vec<(String, String)>> for SchemeHeaders {
    fn allowed(&self) -> String {
        "a table such as { \"X-FORWARDED-PROTO\" = \"https\" }, or text such as \"X-FORWARDED-PROTO=https\" with commas between"
            .to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Vec<(String, String)>, String> {
        let refused = || input.refused(&self.allowed());
        let pairs: Option<Vec<(&str, &str)>> = match input {
            Input::Table(entries) => entries.iter().map(|(name, value)| Some((name.as_str(), value.text()?))).collect(),
            Input::Untyped(_) => {
                let split = |item| str::split_once(item, '=').map(|(name, value)| (name.trim(), value.trim()));
                input.items().unwrap_or_default().into_iter().map(split).collect()
            }
            _ => None,
        };
        let pairs = pairs.ok_or_else(refused)?;
        let plain =
            |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if !pairs.iter().all(|(name, value)| is_name(name) && plain(value)) {
            return Err(refused());
        }
        let twice = pairs
            .iter()
            .enumerate()
            .find(|(at, (name, _))| pairs[..*at].iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(name)));
        if let Some((_, (name, _))) = twice {
            return Err(format!("{name} is listed twice; remove one"));
        }
        let mut pairs: Vec<_> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        pairs.sort(); // a table has no order
        Ok(pairs)
    }

    fn show(&self, value: &Vec<(String, String)>) -> String {
        let entries: Vec<String> =
            value.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))).collect();
        if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped(text: &str) -> Input {
        Input::Untyped(text.to_owned())
    }

    #[test]
    fn a_choice_is_one_of_its_words() {
        assert_eq!(HEADER_MAP.parse(&untyped("Refuse")), Ok(HeaderMap::Refuse));
        assert_eq!(HEADER_MAP.show(&HeaderMap::Dangerous), "\"dangerous\"");
        assert_eq!(
            HEADER_MAP.parse(&untyped("drp")).unwrap_err(),
            "drp is not allowed; use \"drop\", \"refuse\" or \"dangerous\"; did you mean \"drop\"?"
        );
        assert!(PROXY_PROTOCOL.parse(&untyped("")).is_err());
    }

    #[test]
    fn names_are_tokens() {
        assert_eq!(Names.parse(&untyped("SCRIPT_NAME, PATH_INFO")).unwrap(), ["SCRIPT_NAME", "PATH_INFO"]);
        assert_eq!(Names.parse(&untyped("")).unwrap(), [""; 0]);
        assert_eq!(Names.parse(&untyped("*")).unwrap(), ["*"]);
        assert!(Names.parse(&untyped("a b")).is_err());
    }

    #[test]
    fn scheme_headers_are_pairs() {
        let table = Input::Table(vec![("X-A".into(), Input::Text("on".into()))]);
        let pairs = SchemeHeaders.parse(&table).unwrap();
        assert_eq!(pairs, [("X-A".to_owned(), "on".to_owned())]);
        assert_eq!(SchemeHeaders.parse(&untyped("X-A = on")), Ok(pairs.clone()));
        assert_eq!(SchemeHeaders.show(&pairs), "{ \"X-A\" = \"on\" }");
        assert_eq!(SchemeHeaders.parse(&untyped("")), Ok(vec![]));
        for text in ["X-A", "X A=on", "X-A=", "X-A=on,x-a=off", "=on"] {
            assert!(SchemeHeaders.parse(&untyped(text)).is_err(), "{text}");
        }
    }
}
