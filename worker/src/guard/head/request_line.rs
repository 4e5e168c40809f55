//! The request line.

use super::super::bytes::{TOKEN, line, run};
use super::super::rules::Rules;
use super::super::wide::Controls;
use super::super::{Reason, target};
use super::Head;

impl Head {
    /// The request line, whatever it is like. Whether it is all here.
    #[inline(never)]
    pub(super) fn begin(&mut self, bytes: &mut [u8], most: usize, rules: &Rules) -> Result<bool, Reason> {
        let Some(end) = line(bytes, 0, &mut Controls::new(0), most, Reason::LineTooLong)? else { return Ok(false) };
        self.request_line(&mut bytes[..end], rules)?;
        self.next = end + 2;
        Ok(true)
    }

    fn request_line(&mut self, bytes: &mut [u8], rules: &Rules) -> Result<(), Reason> {
        if bytes.is_empty() {
            return Err(Reason::BlankLine);
        }
        let method_end = run(bytes, TOKEN);
        if bytes.get(method_end) != Some(&b' ') || method_end == 0 {
            // "GET" alone has its fault elsewhere.
            return Err(if method_end == bytes.len() { Reason::RequestLine } else { Reason::Method });
        }
        if rules.casefold {
            bytes[..method_end].make_ascii_uppercase();
        }
        if !matches!(&bytes[..method_end], b"GET" | b"POST" | b"HEAD") && !rules.any_method {
            conventional(&bytes[..method_end])?;
        }
        let target_at = method_end + 1;
        let target_end = match bytes.strip_suffix(b" HTTP/1.1") {
            Some(before) => before.len(),
            None => self.other_version(bytes, method_end, rules)?,
        };
        if target_end <= target_at {
            return Err(Reason::RequestLine);
        }
        let (method, target) = (&bytes[..method_end], &bytes[target_at..target_end]);
        if target[0] == b'/' && method != b"CONNECT" {
            return target::path(target);
        }
        self.connect = method == b"CONNECT";
        let authority = target::other(method, target)?;
        self.authority = authority.map(|range| range.start + target_at..range.end + target_at);
        Ok(())
    }

    /// Of a version other than 1.1: makes it fit for hyper. Returns where the target ends.
    #[cold]
    fn other_version(&mut self, bytes: &mut [u8], method_end: usize, rules: &Rules) -> Result<usize, Reason> {
        let blank = bytes.iter().rposition(|byte| *byte == b' ').filter(|blank| *blank > method_end);
        let blank = blank.ok_or(Reason::RequestLine)?;
        self.version(&mut bytes[blank + 1..], rules)?;
        Ok(blank)
    }

    fn version(&mut self, bytes: &mut [u8], rules: &Rules) -> Result<(), Reason> {
        if bytes == b"HTTP/1.0" {
            self.old = true;
            return Ok(());
        }
        match bytes {
            [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
                // A later minor version is to be taken for the last one known (RFC 9110, 2.5).
                if *major != b'1' && !rules.any_version {
                    return Err(Reason::VersionUnknown);
                }
                (*major, *minor) = (b'1', b'1');
                Ok(())
            }
            _ => Err(Reason::Version),
        }
    }
}

/// Where the line ends that `bytes` begins with, if it is as nearly all are, in which no rule finds a fault.
#[inline]
pub(super) fn usual_request_line(bytes: &[u8]) -> Option<usize> {
    let target = match bytes {
        [b'G', b'E', b'T', b' ', b'/', ..] => 4,
        [b'P', b'O', b'S', b'T', b' ', b'/', ..] | [b'H', b'E', b'A', b'D', b' ', b'/', ..] => 5,
        _ => return None,
    };
    let end = target::usual(bytes, target)?;
    bytes[end..].starts_with(b" HTTP/1.1\r\n").then_some(end + b" HTTP/1.1".len())
}

/// A method as they are registered: gunicorn's rule.
#[inline]
pub(in super::super) fn conventional(method: &[u8]) -> Result<(), Reason> {
    let is_odd = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'#';
    if (3..=20).contains(&method.len()) && !method.iter().any(is_odd) { Ok(()) } else { Err(Reason::Method) }
}
