//! The head of a request, line by line: each is looked at once, when all of it is here.

use std::ops::Range;

use super::authority::is_authority;
use super::bytes::{CLASS, TOKEN, UNDERSCORE, leading_blanks, line, run, trimmed};
use super::rules::{Rules, Verdict};
use super::{Framing, Marks, Reason, target};

/// A head on its way in. Places count from its first byte.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Where the next line begins.
    next: usize,
    /// Bytes of lines that were dropped.
    dropped: usize,
    /// Header lines, those that were dropped included.
    fields: usize,
    /// HTTP/1.0, which has fewer rules.
    old: bool,
    connect: bool,
    /// The authority in the target.
    authority: Option<Range<usize>>,
    host: Option<Range<usize>>,
    content_type: bool,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    marks: Marks,
}

/// How far a head is.
pub(super) enum Read {
    Part,
    Whole { length: usize, framing: Framing, asks: bool, marks: Marks },
}

/// A line that is all here.
enum Line {
    Part,
    /// Ends before its CRLF, which is at this place.
    Until(usize),
}

impl Head {
    /// Reads on. `bytes` begins with the head's first byte. Returns how many bytes there are when dropped lines are gone.
    #[inline]
    pub(super) fn read(&mut self, bytes: &mut [u8], rules: &Rules, trusted: bool) -> Result<(Read, usize), Reason> {
        if self.next == 0 {
            let most = rules.line.min(rules.head - 2);
            let Some(end) = line(bytes, 0, most, Reason::LineTooLong)? else { return Ok((Read::Part, bytes.len())) };
            self.request_line(&mut bytes[..end], rules)?;
            self.next = end + 2;
        }
        // Lines after one that was dropped move up one by one, and what comes after them at the end, once.
        let mut gap = 0;
        let read = loop {
            let from = self.next + gap;
            let Line::Until(end) = self.line(bytes, from, rules)? else { break Read::Part };
            let length = end - from;
            if gap > 0 {
                bytes.copy_within(from..end + 2, self.next);
            }
            let begin = self.next;
            self.next += length + 2;
            if length == 0 {
                let (framing, asks) = self.end(bytes, rules)?;
                break Read::Whole { length: self.next, framing, asks, marks: self.marks };
            }
            if self.header(&mut bytes[..begin + length], begin, rules, trusted)? == Verdict::Drop {
                gap += length + 2;
                self.next = begin;
            }
        };
        let len = bytes.len() - gap;
        if gap > 0 {
            bytes.copy_within(self.next + gap.., self.next);
            self.dropped += gap;
        }
        Ok((read, len))
    }

    /// The line that begins at `from`, with the lines joined to it that continue it.
    #[inline]
    fn line(&self, bytes: &mut [u8], from: usize, rules: &Rules) -> Result<Line, Reason> {
        // What is left of the head is a bound for its lines, too.
        let left = rules.head.checked_sub(from + self.dropped + 2).ok_or(Reason::HeadTooLarge)?;
        let (most, beyond) =
            if left < rules.field { (left, Reason::HeadTooLarge) } else { (rules.field, Reason::FieldTooLarge) };
        let Some(end) = line(bytes, from, most, beyond)? else { return Ok(Line::Part) };
        if rules.folding && end > from { folded(bytes, from, end, most, beyond) } else { Ok(Line::Until(end)) }
    }

    #[inline]
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

    /// The header line that begins at `from` and ends with `bytes`.
    #[inline]
    fn header(&mut self, bytes: &mut [u8], from: usize, rules: &Rules, trusted: bool) -> Result<Verdict, Reason> {
        self.fields += 1;
        if self.fields > rules.fields {
            return Err(Reason::TooManyFields);
        }
        let (name_end, has_underscore) = name(bytes, from, rules.spaces, self.fields == 1)?;
        let (name, value) = (&bytes[from..name_end], &bytes[name_end + 1..]);
        match name.len() {
            4 if is(name, b"host") => {
                if self.host.is_some() {
                    return Err(Reason::TwoHosts);
                }
                let begin = name_end + 1 + leading_blanks(value);
                let value = trimmed(value);
                // Empty is right where the target has no authority.
                if !value.is_empty() && !is_authority(value) {
                    return Err(Reason::Host);
                }
                self.host = Some(begin..begin + value.len());
            }
            6 if is(name, b"expect") && !is(trimmed(value), b"100-continue") => return Err(Reason::Expectation),
            7 if is(name, b"upgrade") => self.upgrade = true,
            12 if is(name, b"content-type") && self.content_type => return Err(Reason::TwoContentTypes),
            12 if is(name, b"content-type") => self.content_type = true,
            14 if is(name, b"content-length") => self.content_length(trimmed(value))?,
            17 if is(name, b"transfer-encoding") => self.transfer_encoding(trimmed(value))?,
            _ => {}
        }
        if trusted {
            self.marks.hear(name, value, rules)?;
        }
        if has_underscore { rules.underscore(name, trusted) } else { Ok(Verdict::Keep) }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Reason> {
        if self.length.is_some() {
            return Err(Reason::TwoLengths);
        }
        if self.chunked {
            return Err(Reason::LengthAndChunked);
        }
        self.length = Some(length(value)?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Reason> {
        if self.chunked {
            return Err(Reason::TwoTransferEncodings);
        }
        if self.length.is_some() {
            return Err(Reason::LengthAndChunked);
        }
        if self.old {
            return Err(Reason::ChunkedIn10);
        }
        if !is(value, b"chunked") {
            return Err(coding(value));
        }
        self.chunked = true;
        Ok(())
    }

    /// What only the whole head tells.
    #[inline]
    fn end(&self, bytes: &[u8], rules: &Rules) -> Result<(Framing, bool), Reason> {
        match &self.host {
            None if !self.old => return Err(Reason::NoHost),
            Some(host) => {
                if let Some(authority) = &self.authority
                    && !bytes[host.clone()].eq_ignore_ascii_case(&bytes[authority.clone()])
                {
                    return Err(Reason::HostDiffers);
                }
            }
            None => {}
        }
        let framing = if self.chunked { Framing::Chunked } else { Framing::Length(self.length.unwrap_or(0)) };
        if self.length.is_some_and(|length| length > rules.body) {
            return Err(Reason::BodyTooLarge);
        }
        if self.connect && framing != Framing::Length(0) {
            return Err(Reason::ConnectBody);
        }
        Ok((framing, self.connect || (self.upgrade && !self.old)))
    }
}

/// A line is whole when it is known that the next one does not continue it.
#[cold]
fn folded(bytes: &mut [u8], from: usize, mut end: usize, most: usize, beyond: Reason) -> Result<Line, Reason> {
    loop {
        match bytes.get(end + 2) {
            None => return Ok(Line::Part),
            Some(b' ' | b'\t') => {
                let left = most.saturating_sub(end + 2 - from);
                let Some(next) = line(bytes, end + 2, left, beyond)? else { return Ok(Line::Part) };
                bytes[end..end + 2].copy_from_slice(b"  ");
                end = next;
            }
            Some(_) => return Ok(Line::Until(end)),
        }
    }
}

/// The longest body that hyper takes; it uses the numbers above for other things.
const LONGEST: u64 = u64::MAX - 2;

/// The value of a Content-Length.
#[inline]
pub(super) fn length(value: &[u8]) -> Result<u64, Reason> {
    let digit = |sum: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    };
    let length = value.iter().try_fold(0, digit).filter(|length| !value.is_empty() && *length <= LONGEST);
    length.ok_or(Reason::Length)
}

/// Whether `bytes` is `lower` in any case. Of the same length, or it is not.
#[inline]
pub(super) fn is(bytes: &[u8], lower: &[u8]) -> bool {
    bytes.eq_ignore_ascii_case(lower)
}

/// Finds the end of the name of the line that begins at `from`, where its colon is or is put; and whether it has an underscore.
#[inline]
pub(super) fn name(bytes: &mut [u8], from: usize, spaces: bool, first: bool) -> Result<(usize, bool), Reason> {
    let (mut end, mut seen) = (from, 0);
    for byte in &bytes[from..] {
        let class = CLASS[usize::from(*byte)];
        if class & TOKEN == 0 {
            break;
        }
        seen |= class;
        end += 1;
    }
    if bytes.get(end) != Some(&b':') || end == from {
        odd_name(bytes, from, end, spaces, first)?;
    }
    Ok((end, seen & UNDERSCORE != 0))
}

/// A name that does not end with a colon. Where blanks before the colon are permitted, the colon is put in front of them.
#[cold]
fn odd_name(bytes: &mut [u8], from: usize, end: usize, spaces: bool, first: bool) -> Result<(), Reason> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    match bytes.get(end) {
        Some(blank) if is_blank(blank) && end == from => Err(if first { Reason::LeadingBlank } else { Reason::Folded }),
        Some(blank) if is_blank(blank) => {
            let colon = bytes[end..].iter().position(|byte| !is_blank(byte)).map(|blanks| end + blanks);
            let colon = colon.filter(|colon| bytes[*colon] == b':').ok_or(Reason::HeaderName)?;
            if !spaces {
                return Err(Reason::BlankBeforeColon);
            }
            bytes.swap(end, colon);
            Ok(())
        }
        None => Err(Reason::NoColon),
        Some(_) => Err(if bytes[from..].contains(&b':') { Reason::HeaderName } else { Reason::NoColon }),
    }
}

/// A method as they are registered: gunicorn's rule.
#[inline]
pub(super) fn conventional(method: &[u8]) -> Result<(), Reason> {
    let is_odd = |byte: &u8| byte.is_ascii_lowercase() || *byte == b'#';
    if (3..=20).contains(&method.len()) && !method.iter().any(is_odd) { Ok(()) } else { Err(Reason::Method) }
}

/// What is wrong with a Transfer-Encoding that is not `chunked` alone.
#[cold]
fn coding(value: &[u8]) -> Reason {
    let codings: Vec<&[u8]> = value.split(|byte| *byte == b',').map(trimmed).collect();
    let is_token = |coding: &&[u8]| !coding.is_empty() && run(coding, TOKEN) == coding.len();
    let chunked: Vec<bool> = codings.iter().map(|coding| is(coding, b"chunked")).collect();
    let chunked_before_last = chunked[..chunked.len() - 1].contains(&true);
    if codings.iter().all(is_token) && !chunked_before_last { Reason::UnknownCoding } else { Reason::TransferEncoding }
}
