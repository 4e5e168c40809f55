//! What rustls serves with.

use std::sync::Arc;

use rustcorn_config::Settings;
use rustls::crypto::ring::{ALL_CIPHER_SUITES, default_provider};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, SupportedCipherSuite};

use crate::Material;
use crate::read::{certificates, private_key, roots};

/// Builds a server's side of TLS.
///
/// # Errors
/// One sentence about what does not fit. Not expected of material that a master has read.
pub fn server_config(settings: &Settings, material: &Material) -> Result<ServerConfig, String> {
    let mut provider = default_provider();
    if let Some(chosen) = suites(&settings.ciphers)? {
        provider.cipher_suites = chosen;
    }
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if material.ca.is_empty() {
        builder.with_no_client_auth()
    } else {
        let path = &settings.ca_certs;
        let ca = certificates(material.ca.as_bytes()).map_err(|error| format!("cannot understand {path}: {error}"))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca, path)?), provider);
        let verifier = if settings.cert_reqs == 1 { verifier.allow_unauthenticated() } else { verifier };
        builder.with_client_cert_verifier(verifier.build().map_err(|error| format!("{path}: {error}"))?)
    };
    let chain = certificates(material.certificates.as_bytes());
    let chain = chain.map_err(|error| format!("cannot understand {}: {error}", settings.certfile))?;
    let key = private_key(material.key.as_bytes(), settings.key_path())?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| error.to_string())?;
    config.alpn_protocols = settings.http_protocols.iter().map(|protocol| protocol.alpn().to_vec()).collect();
    config.ticketer = material.tickets.ticketer(&material.ca, settings.cert_reqs);
    Ok(config)
}

/// The suites that `ciphers` names, with commas or colons between; `None` if it names none. The names are IANA's.
pub(crate) fn suites(ciphers: &str) -> Result<Option<Vec<SupportedCipherSuite>>, String> {
    if ciphers.is_empty() {
        return Ok(None);
    }
    let find = |wanted: &str| {
        let found = ALL_CIPHER_SUITES.iter().find(|suite| name(suite) == wanted).copied();
        found.ok_or_else(|| {
            let known: Vec<String> = ALL_CIPHER_SUITES.iter().map(name).collect();
            format!("there is no cipher suite {wanted:?}; there are {}", known.join(", "))
        })
    };
    ciphers.split([',', ':']).map(|word| find(word.trim())).collect::<Result<Vec<_>, _>>().map(Some)
}

/// IANA's name; rustls gives those of TLS 1.3 a prefix of their own.
fn name(suite: &SupportedCipherSuite) -> String {
    suite.suite().as_str().unwrap_or_default().replacen("TLS13_", "TLS_", 1)
}
