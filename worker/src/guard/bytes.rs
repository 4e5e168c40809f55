//! Which bytes may stand where, and finding the end of a line.

use super::Reason;
use super::wide::Controls;

/// In a token (RFC 9110, 5.6.2), underscore included.
pub(super) const TOKEN: u8 = 1;
/// The underscore.
pub(super) const UNDERSCORE: u8 = 2;
/// Unescaped in a path, as browsers and the `http` crate have it.
pub(super) const PATH: u8 = 4;
/// Unescaped in a query, likewise.
pub(super) const QUERY: u8 = 8;
/// In a host name (RFC 3986, 3.2.2: reg-name without percent signs).
pub(super) const HOST: u8 = 16;

/// What each byte is good for.
pub(super) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        let is_token = b.is_ascii_alphanumeric()
            || matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        let is_path = b.is_ascii_graphic() && !matches!(b, b'#' | b'<' | b'>' | b'?' | b'`');
        let is_query = b.is_ascii_graphic() && !matches!(b, b'"' | b'#' | b'<' | b'>');
        let is_host = b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=');
        table[byte] = if is_token { TOKEN } else { 0 }
            | if b == b'_' { UNDERSCORE } else { 0 }
            | if is_path { PATH } else { 0 }
            | if is_query { QUERY } else { 0 }
            | if is_host { HOST } else { 0 };
        byte += 1;
    }
    table
}

/// How many bytes of `bytes` from its beginning are of `class`.
#[inline]
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    let mut length = 0;
    for byte in bytes {
        if CLASS[usize::from(*byte)] & class == 0 {
            break;
        }
        length += 1;
    }
    length
}

/// The line from `from` on: the index of the CR of its CRLF, or `None` if it is not here yet. Never longer than `most`, without its
/// end: beyond that it is `too_long`, whether or not its end is here. `controls` has looked no further than at what came before.
#[inline]
pub(super) fn line(
    bytes: &[u8],
    from: usize,
    controls: &mut Controls,
    most: usize,
    too_long: Reason,
) -> Result<Option<usize>, Reason> {
    let at = controls.next(bytes, from);
    if at - from > most {
        return Err(too_long);
    }
    match &bytes[at..] {
        [b'\r', b'\n', ..] => Ok(Some(at)),
        [] | [b'\r'] => Ok(None),
        other => Err(odd_end(other)),
    }
}

#[cold]
fn odd_end(bytes: &[u8]) -> Reason {
    match bytes[0] {
        b'\r' => Reason::BareCr,
        b'\n' => Reason::BareLf,
        _ => Reason::ControlCharacter,
    }
}

/// How many blanks and tabs `bytes` begins with.
#[inline]
pub(super) fn leading_blanks(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(bytes.len())
}

/// Without blanks and tabs at both ends.
#[inline]
pub(super) fn trimmed(bytes: &[u8]) -> &[u8] {
    let bytes = &bytes[leading_blanks(bytes)..];
    let end = bytes.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
    &bytes[..end]
}
