//! What the settings of TLS and HTTP/2 accept, and what they must be together.

use crate::input::Input;
use crate::rule::{Rule, quoted};
use crate::settings::Settings;

/// A version of HTTP, as gunicorn names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// HTTP/1.1 (and 1.0).
    H1,
    /// HTTP/2.
    H2,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
        }
    }

    /// The identification that ALPN negotiates (RFC 7301).
    #[must_use]
    pub const fn alpn(self) -> &'static [u8] {
        match self {
            Self::H1 => b"http/1.1",
            Self::H2 => b"h2",
        }
    }
}

/// Versions of HTTP, the preferred one first.
pub(crate) struct Protocols;

impl Rule<Vec<Protocol>> for Protocols {
    fn allowed(&self) -> String {
        "\"h1\", \"h2\" or both, the preferred one first".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<Vec<Protocol>, String> {
        let words: Vec<&str> = match input {
            Input::Untyped(text) | Input::Text(text) => text.split(',').collect(),
            Input::List(items) => {
                let words = items.iter().map(|item| item.text().ok_or_else(|| item.refused(&self.allowed())));
                words.collect::<Result<_, _>>()?
            }
            other => return Err(other.refused(&self.allowed())),
        };
        let mut protocols = Vec::new();
        for word in words.into_iter().map(str::trim) {
            let protocol = match word {
                "h1" => Protocol::H1,
                "h2" => Protocol::H2,
                "h3" => return Err(format!("\"h3\" is not supported; use {}", self.allowed())),
                _ => return Err(Input::Text(word.to_owned()).refused(&self.allowed())),
            };
            if protocols.contains(&protocol) {
                return Err(format!("\"{word}\" is listed twice; remove one"));
            }
            protocols.push(protocol);
        }
        Ok(protocols)
    }

    fn show(&self, value: &Vec<Protocol>) -> String {
        let names: Vec<&str> = value.iter().map(|protocol| protocol.name()).collect();
        quoted(&names.join(","))
    }
}

/// The path of a file, or nothing. That the file is there is seen when it is read.
pub(crate) struct FilePath;

impl Rule<String> for FilePath {
    fn allowed(&self) -> String {
        "the path of a file, or nothing".to_owned()
    }

    fn parse(&self, input: &Input) -> Result<String, String> {
        match input.text() {
            // PATH_MAX (limits.h).
            Some(text) if text.len() < 4096 && !text.contains(char::is_control) => Ok(text.to_owned()),
            _ => Err(input.refused(&self.allowed())),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

impl Settings {
    /// Whether the server speaks TLS on its addresses.
    #[must_use]
    pub const fn speaks_tls(&self) -> bool {
        !self.certfile.is_empty() || !self.keyfile.is_empty()
    }

    /// The file with the private key: as in gunicorn, that of the certificate where no other is named.
    #[must_use]
    pub fn key_path(&self) -> &str {
        if self.keyfile.is_empty() { &self.certfile } else { &self.keyfile }
    }
}

/// What is wrong with settings of TLS that are good one by one: the key to blame, and a text.
pub(crate) fn tls_together(settings: &Settings) -> Option<(&'static str, String)> {
    let Settings { certfile, keyfile, ca_certs, cert_reqs, .. } = settings;
    let text = |text: &str| text.to_owned();
    match (certfile.is_empty(), keyfile.is_empty(), ca_certs.is_empty(), cert_reqs) {
        (true, false, ..) => Some(("keyfile", text("a key alone is no use; set certfile to its certificate"))),
        (_, _, true, 1..) => {
            Some(("cert_reqs", text("without ca_certs no client can be verified; set it to a file of CA certificates")))
        }
        (true, true, _, 1..) => Some(("cert_reqs", text("only TLS has client certificates; set certfile"))),
        (true, true, false, _) => Some(("ca_certs", text("only TLS has client certificates; set certfile"))),
        // Nobody would be asked for a certificate, which is not what such a file is given for.
        (_, _, false, 0) => {
            Some(("ca_certs", text("it is used only with cert_reqs = 1 (optional) or 2 (required); set that, too")))
        }
        _ => None,
    }
}
