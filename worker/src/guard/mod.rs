//! The guard: reads the bytes of an HTTP/1 connection before hyper does, and decides how many of them hyper may have.
//!
//! hyper is lenient where another reader in front of the server may be lenient in another way (a bare LF, two lengths, a length
//! beside chunks), and two readings of one connection are how requests are smuggled. So the guard finds each head and the end
//! of each body by itself, by the letter of RFC 9112, and refuses what the letter does not cover. hyper never sees a byte of what
//! is refused, nor any after it.
//!
//! It is a pure state machine: bytes in, a decision out, the same one wherever the bytes happen to be split. In the good case
//! it allocates and copies nothing. What a setting permits although hyper does not (folded lines, odd versions) or drops
//! (names with underscores) is edited in place.
//!
//! One head at a time: a second one in the same bytes is left for the next call. So whoever asks [`Guard::marks`] when hyper
//! hands a request over gets those of just this request.

mod authority;
mod bytes;
mod chunked;
mod head;
mod judge;
mod refusal;
mod rules;
mod target;
mod wide;

pub(crate) use refusal::Reason;
pub(crate) use rules::Rules;

use bytes::trimmed;
use chunked::Chunks;
use head::{Head, Read, is};

/// What the head of a request says besides its framing, for a request whose peer is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Marks {
    /// A header of `secure_scheme_headers` says so.
    pub(crate) https: Option<bool>,
    /// There is an `X-Forwarded-For`.
    pub(crate) forwarded_for: bool,
}

impl Marks {
    /// What a believed peer says about the request.
    #[inline]
    pub(super) fn hear(&mut self, name: &[u8], value: &[u8], rules: &Rules) -> Result<(), Reason> {
        if name.len() == 15 && is(name, b"x-forwarded-for") {
            self.forwarded_for = true;
        }
        for scheme in &rules.schemes {
            if scheme.name.len() == name.len() && scheme.name.eq_ignore_ascii_case(name) {
                let https = trimmed(value) == &*scheme.https;
                if self.https.is_some_and(|before| before != https) {
                    return Err(Reason::SchemeConflict);
                }
                self.https = Some(https);
            }
        }
        Ok(())
    }
}

/// What a head says about the bytes after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Framing {
    Length(u64),
    Chunked,
}

#[derive(Debug)]
enum At {
    Head(Head),
    /// So many bytes of a body are still to come.
    Body(u64),
    Chunks(Chunks),
    /// The message was the last one that is surely HTTP: the application may take the connection over with its answer to it.
    Asked,
    /// No longer HTTP.
    Over,
    Refused,
}

/// The reader of one connection.
#[derive(Debug)]
pub(crate) struct Guard {
    at: At,
    /// The peer is in `forwarded_allow_ips`.
    trusted: bool,
    /// The message asks for an upgrade, or is a CONNECT.
    asks: bool,
    marks: Marks,
}

/// What became of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fed {
    /// How many there are now: less than before where lines were dropped.
    pub(crate) len: usize,
    /// The first so many are hyper's. The rest is to be fed again, with what comes after it.
    pub(crate) pass: usize,
    pub(crate) refused: Option<Refused>,
}

/// The message at the first byte that did not pass is refused, and with it all that follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub(crate) reason: Reason,
    /// hyper has the head already, or it is among the bytes that passed: the body is what is wrong.
    pub(crate) in_body: bool,
}

impl Guard {
    pub(crate) fn new(trusted: bool) -> Self {
        Self { at: At::Head(Head::default()), trusted, asks: false, marks: Marks::default() }
    }

    /// Of the head that passed last.
    pub(crate) const fn marks(&self) -> Marks {
        self.marks
    }

    /// Between two messages: nothing that was passed is incomplete.
    pub(crate) const fn between_messages(&self) -> bool {
        matches!(self.at, At::Head(_) | At::Asked)
    }

    /// In a body, so that the client is to send more.
    pub(crate) const fn in_body(&self) -> bool {
        matches!(self.at, At::Body(_) | At::Chunks(_))
    }

    /// Whether the application's answer decides if there is more HTTP: [`Self::decided`].
    pub(crate) const fn asked(&self) -> bool {
        matches!(self.at, At::Asked)
    }

    /// No longer HTTP: everything passes.
    pub(crate) const fn over(&self) -> bool {
        matches!(self.at, At::Over)
    }

    /// The application has answered the request that asked for an upgrade.
    pub(crate) fn decided(&mut self, upgraded: bool) {
        if self.asked() {
            self.at = if upgraded { At::Over } else { At::Head(Head::default()) };
        }
    }

    /// Reads on. `bytes` begins with those that did not pass last time, unchanged.
    #[inline]
    pub(crate) fn feed(&mut self, bytes: &mut [u8], rules: &Rules) -> Fed {
        let (mut len, mut pass) = (bytes.len(), 0);
        // Where the head begins that is among `bytes`.
        let mut head_at = None;
        let mut left = true;
        while left {
            let result = match &mut self.at {
                At::Head(_) if head_at.is_some() || pass == len => break,
                At::Head(head) => head.read(&mut bytes[pass..len], rules, self.trusted).map(|(read, rest)| {
                    len = pass + rest;
                    match read {
                        Read::Part => left = false,
                        Read::Whole { length, framing, asks, marks } => {
                            head_at = Some(pass);
                            pass += length;
                            (self.asks, self.marks) = (asks, marks);
                            self.at = match framing {
                                Framing::Length(0) => self.next(),
                                Framing::Length(length) => At::Body(length),
                                Framing::Chunked => At::Chunks(Chunks::default()),
                            };
                        }
                    }
                }),
                At::Body(missing) => {
                    let here = (len - pass) as u64;
                    if here >= *missing {
                        pass += usize::try_from(*missing).expect("no more than is here");
                        self.at = self.next();
                    } else {
                        *missing -= here;
                        pass = len;
                        left = false;
                    }
                    Ok(())
                }
                At::Chunks(chunks) => {
                    let read = chunks.read(&mut bytes[pass..len], rules);
                    read.map_err(|(reason, good)| {
                        pass += good;
                        reason
                    })
                    .map(|read| {
                        len = pass + read.len;
                        pass += read.pass;
                        left = read.ended;
                        if read.ended {
                            self.at = self.next();
                        }
                    })
                }
                At::Over => {
                    pass = len;
                    break;
                }
                At::Asked | At::Refused => break,
            };
            if let Err(reason) = result {
                // Of a body that is known to be bad when its head is read, the application need not hear at all.
                let in_body = head_at.is_none() && self.in_body();
                self.at = At::Refused;
                return Fed { len, pass: head_at.unwrap_or(pass), refused: Some(Refused { reason, in_body }) };
            }
        }
        Fed { len, pass, refused: None }
    }

    /// A message is over.
    fn next(&self) -> At {
        if self.asks { At::Asked } else { At::Head(Head::default()) }
    }
}

#[cfg(test)]
pub(crate) mod corpus;
#[cfg(test)]
mod differential_tests;
#[cfg(test)]
mod tests;
