//! The target of a request (RFC 9112, 3.2), in the form that its method wants.

use std::ops::Range;

use super::authority::{is_authority, is_host_and_port};
use super::bytes::{CLASS, PATH, QUERY};
use super::{Reason, wide};

/// A target that does not begin with a slash, or is that of CONNECT. Of one with an authority in it, where that is.
#[cold]
pub(super) fn other(method: &[u8], target: &[u8]) -> Result<Option<Range<usize>>, Reason> {
    if target.contains(&b' ') {
        return Err(Reason::RequestLine);
    }
    if method == b"CONNECT" {
        return if is_host_and_port(target) { Ok(Some(0..target.len())) } else { Err(Reason::ConnectTarget) };
    }
    if target == b"*" {
        return if method == b"OPTIONS" { Ok(None) } else { Err(Reason::Asterisk) };
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme)));
    let from = scheme.ok_or(Reason::Target)?.len();
    let end = target[from..].iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
    let end = end.map_or(target.len(), |end| from + end);
    if !is_authority(&target[from..end]) {
        return Err(Reason::TargetAuthority);
    }
    path(&target[end..])?;
    Ok(Some(from..end))
}

/// A path and perhaps a query, without a fragment.
#[inline]
pub(super) fn path(bytes: &[u8]) -> Result<(), Reason> {
    let mut class = PATH;
    for (at, byte) in bytes.iter().enumerate() {
        if CLASS[usize::from(*byte)] & class == 0 {
            match byte {
                b'?' if class == PATH => class = QUERY,
                _ => return odd(&bytes[at..], class),
            }
        }
    }
    Ok(())
}

/// Where the path and perhaps a query end that begin at `from`, of ASCII that need not be escaped. `None` where so little follows that
/// this cannot be told.
#[inline]
pub(super) fn usual(bytes: &[u8], from: usize) -> Option<usize> {
    let end = wide::end(bytes, from, wide::path)?;
    if bytes.get(end) == Some(&b'?') { wide::end(bytes, end + 1, wide::query) } else { Some(end) }
}

/// From the first byte on that ought to be escaped: whole characters beyond ASCII pass, as clients send them.
#[cold]
fn odd(bytes: &[u8], mut class: u8) -> Result<(), Reason> {
    for byte in bytes {
        match byte {
            b'#' => return Err(Reason::Fragment),
            b' ' => return Err(Reason::RequestLine),
            b'?' if class == PATH => class = QUERY,
            _ if !byte.is_ascii() || CLASS[usize::from(*byte)] & class != 0 => {}
            _ => return Err(Reason::Target),
        }
    }
    // What comes before `bytes` is ASCII.
    std::str::from_utf8(bytes).map(|_| ()).map_err(|_| Reason::Target)
}
