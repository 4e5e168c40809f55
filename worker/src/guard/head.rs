//! The head of a request, line by line: each is looked at once, when all of it is here.

mod request_line;

use std::ops::Range;

pub(super) use request_line::conventional;

use request_line::usual_request_line;

use super::authority::{self, is_authority};
use super::bytes::{CLASS, TOKEN, UNDERSCORE, leading_blanks, line, run, trimmed};
use super::rules::{Rules, Verdict};
use super::wide::{self, Controls};
use super::{Framing, Marks, Reason};

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
    ///
    /// A head as nearly all are costs one pass, sixteen bytes at a time. What that is not sure of is left to the other one, line by
    /// line.
    #[inline]
    pub(super) fn read(&mut self, bytes: &mut [u8], rules: &Rules, trusted: bool) -> Result<(Read, usize), Reason> {
        if self.next == 0 {
            let most = rules.line.min(rules.head - 2);
            match usual_request_line(bytes).filter(|end| *end <= most) {
                Some(end) => self.next = end + 2,
                None if self.begin(bytes, most, rules)? => {}
                None => return Ok((Read::Part, bytes.len())),
            }
        }
        if self.usual_headers(bytes, rules, trusted)? {
            return Ok((self.end(bytes, rules)?, bytes.len()));
        }
        self.headers(bytes, rules, trusted)
    }

    /// Reads headers as long as they are such as most: with words for names, ended by CRLF, within the limits. Whether the head's end
    /// was reached that way.
    #[inline]
    fn usual_headers(&mut self, bytes: &[u8], rules: &Rules, trusted: bool) -> Result<bool, Reason> {
        let names = if trusted { &rules.named_by_believed } else { &rules.named };
        let most = rules.head.saturating_sub(self.dropped + 2);
        let mut controls = Controls::new(self.next);
        let (mut from, mut fields) = (self.next, self.fields);
        let last = if rules.folding { 0 } else { rules.fields };
        let ended = loop {
            if bytes.get(from..).is_some_and(|rest| rest.starts_with(b"\r\n")) && from <= most {
                from += 2;
                break true;
            }
            let Some(colon) = wide::end(bytes, from, wide::words) else { break false };
            let end = controls.next(bytes, from);
            let is_usual = bytes.get(colon) == Some(&b':')
                && colon > from
                && bytes.get(end..).is_some_and(|rest| rest.starts_with(b"\r\n"))
                && end <= most
                && end - from <= rules.field
                && fields < last;
            if !is_usual {
                break false;
            }
            if names.may_have(&bytes[from..colon]) {
                self.field(&bytes[..end], from, colon, rules, trusted)?;
            }
            from = end + 2;
            fields += 1;
        };
        (self.next, self.fields) = (from, fields);
        Ok(ended)
    }

    /// The headers that are left, whatever they are like.
    #[inline(never)]
    fn headers(&mut self, bytes: &mut [u8], rules: &Rules, trusted: bool) -> Result<(Read, usize), Reason> {
        // Lines after one that was dropped move up one by one, and what comes after them at the end, once.
        let mut gap = 0;
        let mut controls = Controls::new(self.next);
        let read = loop {
            let from = self.next + gap;
            let Line::Until(end) = self.line(bytes, from, &mut controls, rules)? else { break Read::Part };
            let length = end - from;
            if gap > 0 {
                bytes.copy_within(from..end + 2, self.next);
            }
            let begin = self.next;
            self.next += length + 2;
            if length == 0 {
                break self.end(bytes, rules)?;
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
    fn line(&self, bytes: &mut [u8], from: usize, controls: &mut Controls, rules: &Rules) -> Result<Line, Reason> {
        // What is left of the head is a bound for its lines, too.
        let left = rules.head.checked_sub(from + self.dropped + 2).ok_or(Reason::HeadTooLarge)?;
        let (most, beyond) =
            if left < rules.field { (left, Reason::HeadTooLarge) } else { (rules.field, Reason::FieldTooLarge) };
        let Some(end) = line(bytes, from, controls, most, beyond)? else { return Ok(Line::Part) };
        if rules.folding && end > from {
            folded(bytes, controls, from, end, (most, beyond))
        } else {
            Ok(Line::Until(end))
        }
    }

    /// The header line that begins at `from` and ends with `bytes`.
    fn header(&mut self, bytes: &mut [u8], from: usize, rules: &Rules, trusted: bool) -> Result<Verdict, Reason> {
        self.fields += 1;
        if self.fields > rules.fields {
            return Err(Reason::TooManyFields);
        }
        let (colon, has_underscore) = name(bytes, from, rules.spaces, self.fields == 1)?;
        self.field(bytes, from, colon, rules, trusted)?;
        if has_underscore { rules.underscore(&bytes[from..colon], trusted) } else { Ok(Verdict::Keep) }
    }

    /// What there are rules about: the header that begins at `from`, has its colon at `colon`, and ends with `bytes`.
    #[inline(never)]
    fn field(&mut self, bytes: &[u8], from: usize, colon: usize, rules: &Rules, trusted: bool) -> Result<(), Reason> {
        let (name, value) = (&bytes[from..colon], &bytes[colon + 1..]);
        match (name.len(), name[0] | 0x20) {
            (4, b'h') if is_named(name, b"host") => {
                if self.host.is_some() {
                    return Err(Reason::TwoHosts);
                }
                let begin = colon + 1 + usize::from(value.first() == Some(&b' '));
                let is_usual = authority::is_usual(bytes, begin);
                self.host = Some(if is_usual { begin..bytes.len() } else { odd_host(bytes, colon + 1)? });
            }
            (6, b'e') if is_named(name, b"expect") && !is(trimmed(value), b"100-continue") => {
                return Err(Reason::Expectation);
            }
            (7, b'u') if is_named(name, b"upgrade") => self.upgrade = true,
            (12, b'c') if is_named(name, b"content-type") && self.content_type => return Err(Reason::TwoContentTypes),
            (12, b'c') if is_named(name, b"content-type") => self.content_type = true,
            (14, b'c') if is_named(name, b"content-length") => self.content_length(trimmed(value))?,
            (17, b't') if is_named(name, b"transfer-encoding") => self.transfer_encoding(trimmed(value))?,
            _ => {}
        }
        if trusted {
            self.marks.hear(name, value, rules)?;
        }
        Ok(())
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
    fn end(&self, bytes: &[u8], rules: &Rules) -> Result<Read, Reason> {
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
        let asks = self.connect || (self.upgrade && !self.old);
        Ok(Read::Whole { length: self.next, framing, asks, marks: self.marks })
    }
}

/// Where the host is in the value that `bytes` ends with, from `from` on, if it is none as most are.
#[cold]
fn odd_host(bytes: &[u8], from: usize) -> Result<Range<usize>, Reason> {
    let value = &bytes[from..];
    let (begin, host) = (from + leading_blanks(value), trimmed(value));
    // Empty is right where the target has no authority.
    if host.is_empty() || is_authority(host) { Ok(begin..begin + host.len()) } else { Err(Reason::Host) }
}

/// A line is whole when it is known that the next one does not continue it.
#[cold]
fn folded(
    bytes: &mut [u8],
    controls: &mut Controls,
    from: usize,
    mut end: usize,
    (most, beyond): (usize, Reason),
) -> Result<Line, Reason> {
    loop {
        match bytes.get(end + 2) {
            None => return Ok(Line::Part),
            Some(b' ' | b'\t') => {
                let left = most.saturating_sub(end + 2 - from);
                let Some(next) = line(bytes, end + 2, controls, left, beyond)? else { return Ok(Line::Part) };
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

/// Whether `name` is `lower` in any case. Of the same length, or it is not.
#[inline(always)]
pub(super) fn is_named<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    name.first_chunk::<N>().is_some_and(|name| name.map(|byte| byte.to_ascii_lowercase()) == *lower)
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

/// What is wrong with a Transfer-Encoding that is not `chunked` alone.
#[cold]
fn coding(value: &[u8]) -> Reason {
    let codings: Vec<&[u8]> = value.split(|byte| *byte == b',').map(trimmed).collect();
    let is_token = |coding: &&[u8]| !coding.is_empty() && run(coding, TOKEN) == coding.len();
    let chunked: Vec<bool> = codings.iter().map(|coding| is(coding, b"chunked")).collect();
    let chunked_before_last = chunked[..chunked.len() - 1].contains(&true);
    if codings.iter().all(is_token) && !chunked_before_last { Reason::UnknownCoding } else { Reason::TransferEncoding }
}
