//! Reads the files that the settings name. Every complaint names the setting, its place and the file.

use std::fs;
use std::path::Path;

use rustcorn_config::{Loaded, Problem, Problems, Settings};
use rustcorn_sys::error::without_number;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use crate::server::{server_config, suites};
use crate::{Material, TicketSecret};

impl Material {
    /// Reads and checks what `loaded` names; `None` if it asks for no TLS. `tickets`: of the material before.
    ///
    /// # Errors
    /// All that is wrong, so far as one mistake does not hide another.
    pub fn load(loaded: &Loaded, tickets: Option<&TicketSecret>) -> Result<Option<Self>, Problems> {
        let settings = &loaded.settings;
        if !settings.speaks_tls() {
            return Ok(None);
        }
        let mut reader = Reader { loaded, problems: Vec::new() };
        let material = reader.material(settings, tickets);
        match material {
            Some(material) if reader.problems.is_empty() => Ok(Some(material)),
            _ => Err(Problems(reader.problems)),
        }
    }
}

struct Reader<'a> {
    loaded: &'a Loaded,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn material(&mut self, settings: &Settings, tickets: Option<&TicketSecret>) -> Option<Material> {
        if let Err(text) = suites(&settings.ciphers) {
            self.blame("ciphers", &text);
        }
        let key_is_from = if settings.keyfile.is_empty() { "certfile" } else { "keyfile" };
        let certificates = self.file("certfile", &settings.certfile);
        let key = self.file(key_is_from, settings.key_path());
        let ca = if settings.ca_certs.is_empty() {
            Some(String::new())
        } else {
            self.file("ca_certs", &settings.ca_certs).filter(|ca| self.roots(&settings.ca_certs, ca))
        };
        let (certificates, key) = (certificates?, key?);
        self.pair(settings, key_is_from, &certificates, &key);
        let tickets = match tickets {
            Some(tickets) => tickets.clone(),
            None => TicketSecret::new().or_else(|| self.note("certfile", "the system has no random numbers"))?,
        };
        let material = Material { certificates, key, ca: ca?, tickets };
        if self.problems.is_empty()
            && let Err(text) = server_config(settings, &material)
        {
            self.blame("certfile", &text); // nothing that we know of is left that could be wrong
        }
        Some(material)
    }

    fn blame(&mut self, key: &str, text: &str) {
        self.problems.push(Problem::new(self.loaded.origins.get(key), key, text));
    }

    fn note<T>(&mut self, key: &str, text: &str) -> Option<T> {
        self.blame(key, text);
        None
    }

    fn file(&mut self, key: &str, path: &str) -> Option<String> {
        match fs::read(Path::new(path)) {
            // PEM is ASCII; what stands around it may be anything.
            Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => self.note(key, &format!("cannot read {path}: {}", without_number(&error))),
        }
    }

    fn pair(&mut self, settings: &Settings, key_is_from: &str, certificates: &str, key: &str) {
        let (certfile, keyfile) = (&settings.certfile, settings.key_path());
        let chain = certificates_or(certificates.as_bytes(), certfile).map_err(|text| self.blame("certfile", &text));
        let key = private_key(key.as_bytes(), keyfile).map_err(|text| self.blame(key_is_from, &text));
        let (Ok(chain), Ok(key)) = (chain, key) else { return };
        match CertifiedKey::from_der(chain, key, &default_provider()) {
            Ok(_) => {}
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                self.blame(key_is_from, &format!("the key in {keyfile} is not that of the certificate in {certfile}"));
            }
            Err(Error::InvalidCertificate(why)) => {
                self.blame("certfile", &format!("the first certificate in {certfile} is not valid: {why:?}"));
            }
            Err(error) => self.blame(key_is_from, &format!("the key in {keyfile} cannot be used: {error}")),
        }
    }

    fn roots(&mut self, path: &str, ca: &str) -> bool {
        match certificates_or(ca.as_bytes(), path).and_then(|certificates| roots(certificates, path)) {
            Ok(_) => true,
            Err(text) => self.note::<()>("ca_certs", &text).is_some(),
        }
    }
}

/// All certificates of a PEM text, in their order.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}

fn certificates_or(pem: &[u8], path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    match certificates(pem) {
        Ok(found) if found.is_empty() => {
            Err(format!("there is no certificate in {path}; write it as PEM, from -----BEGIN CERTIFICATE----- on"))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(format!("cannot understand {path}: {error}")),
    }
}

/// The first private key of a PEM text.
pub(crate) fn private_key(pem: &[u8], path: &str) -> Result<PrivateKeyDer<'static>, String> {
    const ENCRYPTED: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED) => {
            Err(format!("the key in {path} is encrypted; write it without a passphrase (openssl pkey -in … -out …)"))
        }
        Err(pem::Error::NoItemsFound) => {
            Err(format!("there is no private key in {path}; write it as PEM, from -----BEGIN PRIVATE KEY----- on"))
        }
        Err(error) => Err(format!("cannot understand {path}: {error}")),
    }
}

/// What client certificates must lead to.
pub(crate) fn roots(certificates: Vec<CertificateDer<'static>>, path: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(certificates) {
        // None is left out without a word, as each one means clients who expect to be let in.
        roots.add(certificate).map_err(|error| format!("certificate {number} in {path} cannot be used: {error}"))?;
    }
    Ok(roots)
}
