//! What one user carries from request to request: variables, cookies, the trace of the request in hand.

use std::borrow::Cow;
use std::sync::Arc;

use crate::scenario::{SaveFrom, Scenario, Task, VariableSource};

pub(crate) struct Values {
    scenario: Arc<Scenario>,
    /// Number of the user, from 1.
    number: u32,
    /// Requests so far, the one in hand included.
    pub(crate) requests: u64,
    /// By position in the scenario's variables; used for those that are saved.
    saved: Vec<Vec<u8>>,
    pub(crate) cookies: Vec<(String, Vec<u8>)>,
    pub(crate) trace: Option<Trace>,
}

impl Values {
    pub(crate) fn new(scenario: Arc<Scenario>, number: u32) -> Self {
        let saved = vec![Vec::new(); scenario.variables.len()];
        Self { scenario, number, requests: 0, saved, cookies: Vec::new(), trace: None }
    }

    /// The value of a variable, by position.
    pub(crate) fn get(&self, variable: usize) -> Cow<'_, [u8]> {
        match &self.scenario.variables[variable].source {
            VariableSource::User => Cow::Owned(self.number.to_string().into_bytes()),
            VariableSource::Request => Cow::Owned(self.requests.to_string().into_bytes()),
            VariableSource::Random => Cow::Owned(fastrand::u32(..).to_string().into_bytes()),
            VariableSource::Values(list) => Cow::Borrowed(list[(self.number as usize - 1) % list.len()].as_bytes()),
            VariableSource::Saved => Cow::Borrowed(&self.saved[variable]),
        }
    }

    /// The value of a `Cookie` field.
    pub(crate) fn cookie(&self) -> Vec<u8> {
        let pairs: Vec<Vec<u8>> =
            self.cookies.iter().map(|(name, value)| [name.as_bytes(), b"=", value].concat()).collect();
        pairs.join(&b"; "[..])
    }

    /// Takes a field of an answer: cookies, and what is to be saved.
    pub(crate) fn field(&mut self, task: usize, name: &str, value: &[u8]) {
        if name.len() == 10 && self.scenario.client.cookies && name.eq_ignore_ascii_case("set-cookie") {
            self.set_cookie(value);
        }
        let scenario = Arc::clone(&self.scenario);
        for save in &scenario.tasks[task].save {
            if matches!(&save.from, SaveFrom::Header(wanted) if wanted.as_str().eq_ignore_ascii_case(name)) {
                self.saved[save.variable] = value.to_vec();
            }
        }
    }

    /// The first pair is the cookie; `Max-Age=0` or less takes it away (RFC 6265 5.2.2). A user talks to one host, so domain
    /// and path are not looked at.
    fn set_cookie(&mut self, value: &[u8]) {
        let mut parts = value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let Some(pair) = parts.next() else { return };
        let Some(equals) = pair.iter().position(|&byte| byte == b'=').filter(|at| *at > 0) else { return };
        let name = String::from_utf8_lossy(&pair[..equals]).trim().to_owned();
        let over = parts.any(|part| {
            let text = String::from_utf8_lossy(part).to_ascii_lowercase();
            text.strip_prefix("max-age=").is_some_and(|age| age.trim().parse::<i64>().is_ok_and(|age| age <= 0))
        });
        self.cookies.retain(|(other, _)| *other != name);
        if !over {
            self.cookies.push((name, pair[equals + 1..].trim_ascii().to_vec()));
        }
    }

    /// Saves what is wanted of a body. The name of the first variable that has no value there.
    pub(crate) fn body(&mut self, task: &Task, body: &[u8]) -> Option<String> {
        let wanted = || task.save.iter().filter(|save| matches!(save.from, SaveFrom::Json(_)));
        wanted().next()?;
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let mut missing = None;
        for save in wanted() {
            let SaveFrom::Json(pointer) = &save.from else { continue };
            match json.pointer(pointer) {
                Some(serde_json::Value::String(text)) => self.saved[save.variable] = text.clone().into_bytes(),
                Some(value) if !value.is_null() => self.saved[save.variable] = value.to_string().into_bytes(),
                _ => missing = missing.or_else(|| Some(self.scenario.variables[save.variable].name.clone())),
            }
        }
        missing
    }
}

/// An id to be found again in a tracing system (W3C Trace Context).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    pub(crate) id: u128,
    span: u64,
    pub(crate) sampled: bool,
}

impl Trace {
    /// A new one; neither id may be zero.
    pub(crate) fn new(ratio: f64) -> Self {
        let id = fastrand::u128(1..);
        Self { id, span: fastrand::u64(1..), sampled: fastrand::f64() < ratio }
    }

    /// `00-TRACE-SPAN-FLAGS`.
    pub(crate) fn header(self) -> [u8; 55] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        for (at, byte) in text[3..35].iter_mut().rev().enumerate() {
            *byte = DIGITS[(self.id >> (4 * at) & 15) as usize];
        }
        for (at, byte) in text[36..52].iter_mut().rev().enumerate() {
            *byte = DIGITS[(self.span >> (4 * at) & 15) as usize];
        }
        text[54] = if self.sampled { b'1' } else { b'0' };
        text
    }
}

#[cfg(test)]
mod tests;
