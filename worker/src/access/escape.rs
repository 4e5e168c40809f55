//! What a client sent, in a form that can forge nothing: only printable characters of ASCII go out as they are, and of those not the
//! ones that would end the field.

use rustcorn_config::Ends;

/// How a byte is written that must not go out raw. Both can be read back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Style {
    /// `\x0a`, as nginx does.
    Text,
    /// `\u000a`: the bytes are taken for Latin-1, as HTTP once did.
    Json,
}

/// The bytes that may go out raw, one bit for each of ASCII.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Plain(u128);

/// What a value that had to be cut ends in.
const MORE: &[u8] = b"...";

impl Plain {
    /// In a place where only quotes end a value.
    pub(super) const QUOTED: Self = {
        let printable = !0 << 32 & !(1 << 127);
        Self(printable & !(1 << b'"') & !(1 << b'\\'))
    };

    pub(super) fn within(ends: Ends) -> Self {
        let mut plain = Self::QUOTED.0;
        if let Some(stop) = ends.stop.filter(u8::is_ascii) {
            plain &= !(1 << stop);
        }
        if ends.blank {
            // Nor may it begin as fields in brackets do.
            plain &= !(1 << b' ' | 1 << b'[');
        }
        Self(plain)
    }

    #[inline]
    const fn has(self, byte: u8) -> bool {
        byte < 128 && self.0 >> byte & 1 == 1
    }
}

/// Writes a value, or as much of it as `longest` bytes hold.
pub(super) fn write(out: &mut Vec<u8>, value: &[u8], plain: Plain, style: Style, longest: usize) {
    if value.len() <= longest && value.iter().all(|byte| plain.has(*byte)) {
        return out.extend_from_slice(value); // as nearly all
    }
    let end = out.len().saturating_add(longest);
    for &byte in value {
        let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
        let (high, low) = (digit(byte >> 4), digit(byte & 15));
        let (text, escaped) = ([b'\\', b'x', high, low], [b'\\', b'u', b'0', b'0', high, low]);
        let piece = match style {
            _ if plain.has(byte) => std::slice::from_ref(&byte),
            Style::Text => &text[..],
            Style::Json => &escaped[..],
        };
        if out.len() + piece.len() > end {
            return out.extend_from_slice(MORE);
        }
        out.extend_from_slice(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &str, ends: Ends, style: Style, longest: usize) -> String {
        let mut out = Vec::new();
        write(&mut out, value.as_bytes(), Plain::within(ends), style, longest);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_could_end_a_field_or_a_line_is_escaped() {
        let quoted = Ends { stop: Some(b'"'), blank: false };
        let evil = "a b\"\\\n\r\t\x7f\u{1b}é|";
        assert_eq!(written(evil, quoted, Style::Text, 99), r"a b\x22\x5c\x0a\x0d\x09\x7f\x1b\xc3\xa9|");
        assert_eq!(written("[a b|c]", Ends { stop: Some(b'|'), blank: true }, Style::Text, 99), r"\x5ba\x20b\x7cc]");
        assert_eq!(written("\"\n~", quoted, Style::Json, 99), r"\u0022\u000a~");
    }

    #[test]
    fn a_cut_is_between_characters_and_shows() {
        assert_eq!(written("abcdef", Ends::default(), Style::Text, 6), "abcdef");
        assert_eq!(written("abcdefg", Ends::default(), Style::Text, 6), "abcdef...");
        assert_eq!(written("ab\n\n", Ends::default(), Style::Text, 6), r"ab\x0a...");
        assert_eq!(written("ab\n\n", Ends::default(), Style::Text, 5), "ab...");
    }
}
