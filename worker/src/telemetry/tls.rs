//! TLS to a collector, by rustls and the system's certificates. Without the feature `otlp-tls` there is none of it.

use std::io;
use std::net::TcpStream;

use super::options::Target;

#[cfg(feature = "otlp-tls")]
pub(crate) use with::{Secure, Tls};
#[cfg(not(feature = "otlp-tls"))]
pub(crate) use without::{Secure, Tls};

impl Tls {
    /// What the target needs, if it needs it.
    ///
    /// # Errors
    /// A sentence about a certificate that cannot be read.
    pub(crate) fn for_target(target: &Target) -> Result<Option<Self>, String> {
        if target.endpoint.tls { Self::new(target).map(Some) } else { Ok(None) }
    }
}

#[cfg(feature = "otlp-tls")]
mod with {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::{Target, TcpStream, io};

    /// Where the systems that we know keep their certificates.
    const BUNDLES: [&str; 5] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];

    /// Whom to trust, and who we are.
    #[derive(Clone, Debug)]
    pub(crate) struct Tls(Arc<ClientConfig>);

    /// An encrypted connection.
    pub(crate) struct Secure(Box<StreamOwned<ClientConnection, TcpStream>>);

    impl Tls {
        pub(super) fn new(target: &Target) -> Result<Self, String> {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .with_root_certificates(roots(target.certificate.as_deref())?);
            let mut config = match &target.client_certificate {
                None => config.with_no_client_auth(),
                Some((certificate, key)) => {
                    let pem = |error| format!("cannot read {}: {error}", key.display());
                    let key = PrivateKeyDer::from_pem_file(key).map_err(pem)?;
                    config.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| error.to_string())?
                }
            };
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            Ok(Self(Arc::new(config)))
        }

        pub(crate) fn over(&self, socket: TcpStream, host: &str) -> io::Result<Secure> {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
            Ok(Secure(Box::new(StreamOwned::new(connection, socket))))
        }
    }

    impl Secure {
        pub(crate) fn socket(&self) -> &TcpStream {
            &self.0.sock
        }
    }

    impl io::Read for Secure {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            self.0.read(bytes)
        }
    }

    impl io::Write for Secure {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    fn roots(given: Option<&Path>) -> Result<RootCertStore, String> {
        let file = given.map(Path::to_owned).or_else(|| std::env::var_os("SSL_CERT_FILE").map(PathBuf::from));
        let file = file.or_else(|| BUNDLES.iter().map(PathBuf::from).find(|bundle| bundle.exists()));
        let file = file.ok_or(
            "there are no certificates to trust; install the system's (ca-certificates), or set \
             OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file",
        )?;
        let mut roots = RootCertStore::empty();
        // One certificate of a system's bundle that we do not understand is no reason to refuse the others.
        let (good, _) = roots.add_parsable_certificates(certificates(&file)?);
        if good == 0 { Err(format!("{}: no certificate in it", file.display())) } else { Ok(roots) }
    }

    fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
        let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
        read.map_err(|error| format!("cannot read {}: {error}", file.display()))
    }
}

#[cfg(not(feature = "otlp-tls"))]
mod without {
    use super::{Target, TcpStream, io};

    #[derive(Clone, Debug)]
    pub(crate) enum Tls {}

    pub(crate) enum Secure {}

    impl Tls {
        pub(super) fn new(target: &Target) -> Result<Self, String> {
            Err(format!("{}: this program was built without the feature otlp-tls; use http://", target.endpoint))
        }

        pub(crate) fn over(&self, _socket: TcpStream, _host: &str) -> io::Result<Secure> {
            match *self {}
        }
    }

    impl Secure {
        pub(crate) fn socket(&self) -> &TcpStream {
            match *self {}
        }
    }

    impl io::Read for Secure {
        fn read(&mut self, _bytes: &mut [u8]) -> io::Result<usize> {
            match *self {}
        }
    }

    impl io::Write for Secure {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            match *self {}
        }

        fn flush(&mut self) -> io::Result<()> {
            match *self {}
        }
    }
}

#[cfg(test)]
#[cfg(feature = "otlp-tls")]
#[path = "tls_tests.rs"]
mod tests;
