//! Which bytes may stand where, and finding the end of a line.

use super::Reason;

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

/// Index of the first control character but TAB.
#[inline]
fn first_control(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    const LOW: u64 = !HIGH;
    let (eights, rest) = bytes.as_chunks();
    for (index, eight) in eights.iter().enumerate() {
        // Eight bytes at once: each one's high bit tells, and no sum carries into the next byte.
        let word = u64::from_le_bytes(*eight);
        let low = word & LOW;
        let from_blank = (low + ONES * 0x60) | word;
        let is_del = (low + ONES) & !word;
        let tab = word ^ (ONES * 0x09);
        let not_tab = ((tab & LOW) + LOW) | tab;
        let found = ((!from_blank & not_tab) | is_del) & HIGH;
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    rest.iter().position(is_control).map(|index| eights.len() * 8 + index)
}

/// The line from `from` on: the index of the CR of its CRLF, or `None` if it is not here yet. Never longer than `most`, without its
/// end: beyond that it is `too_long`, whether or not its end is here.
#[inline]
pub(super) fn line(bytes: &[u8], from: usize, most: usize, too_long: Reason) -> Result<Option<usize>, Reason> {
    let bytes = &bytes[from..];
    let Some(at) = first_control(bytes) else {
        return if bytes.len() > most { Err(too_long) } else { Ok(None) };
    };
    if at > most {
        return Err(too_long);
    }
    match &bytes[at..] {
        [b'\r', b'\n', ..] => Ok(Some(from + at)),
        [b'\r'] => Ok(None),
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
