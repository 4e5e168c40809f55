//! A value before it is understood, whichever layer it came from.

use toml::de::DeValue;

/// What a layer holds for a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// From an environment variable or a flag, where everything is text and the setting decides what it means.
    Untyped(String),
    /// A TOML string.
    Text(String),
    /// A TOML integer or float: its decimal digits, exactly as many as were written.
    Number(String),
    /// A TOML integer written in octal (`0o22`): its digits, then as a decimal number.
    Octal(String, String),
    /// A TOML boolean.
    Boolean(bool),
    /// A TOML array, or a flag given several times.
    List(Vec<Self>),
    /// A TOML table.
    Table(Vec<(String, Self)>),
    /// Any other TOML value, worded for a message. No setting takes one.
    Other(String),
}

impl Input {
    pub(crate) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) => {
                let decimal = i128::from_str_radix(integer.as_str(), integer.radix())
                    .map_or_else(|_| integer.to_string(), |number| number.to_string());
                match integer.radix() {
                    8 => Self::Octal(integer.as_str().to_owned(), decimal),
                    _ => Self::Number(decimal),
                }
            }
            DeValue::Float(float) => Self::Number(float.as_str().to_owned()),
            DeValue::Boolean(boolean) => Self::Boolean(*boolean),
            DeValue::Datetime(datetime) => Self::Other(datetime.to_string()),
            DeValue::Array(items) => Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect()),
            DeValue::Table(table) => Self::Table(
                table
                    .iter()
                    .map(|(key, value)| (key.get_ref().to_string(), Self::from_toml(value.get_ref())))
                    .collect(),
            ),
        }
    }

    /// The value as text, if it may be read so.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) | Self::Text(text) => Some(text.trim()),
            _ => None,
        }
    }

    /// The value as a list of texts: a list, or text with commas between.
    pub(crate) fn items(&self) -> Option<Vec<&str>> {
        match self {
            Self::List(items) => items.iter().map(Self::items).collect::<Option<Vec<_>>>().map(|items| items.concat()),
            other => other.text().map(|text| text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
        }
    }

    /// The value as the digits of a number, if it may be read so.
    pub(crate) fn number(&self) -> Option<&str> {
        match self {
            Self::Untyped(text) => Some(text.trim()),
            Self::Number(digits) | Self::Octal(_, digits) => Some(digits),
            _ => None,
        }
    }

    /// The value as a message quotes it: short, on one line.
    pub(crate) fn shown(&self) -> String {
        const LONGEST: usize = 100;
        let text = match self {
            Self::Untyped(text)
                if !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()) =>
            {
                text.clone()
            }
            Self::Untyped(text) | Self::Text(text) => format!("{text:?}"),
            Self::Number(text) | Self::Other(text) => text.clone(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::Octal(digits, _) => format!("0o{digits}"),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        };
        match text.char_indices().nth(LONGEST) {
            Some((cut, _)) => format!("{}…", &text[..cut]),
            None => text,
        }
    }

    /// `0 is not allowed; use a number from 1 to 1024`.
    pub(crate) fn refused(&self, allowed: &str) -> String {
        format!("{} is not allowed; use {allowed}", self.shown())
    }
}
