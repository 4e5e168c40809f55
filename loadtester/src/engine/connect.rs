//! Connections: names, TCP and TLS.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::engine::failure::Failure;
use crate::problem::Problem;
use crate::problem::without_number;
use crate::scenario::{Host, Scenario, Version};
use crate::stats::ErrorKind;

/// A name one of whose addresses was not reached is looked up again, but not more often than this.
const LOOK_UP_AGAIN: Duration = Duration::from_secs(1);

/// Opens the connections of one thread.
pub(crate) struct Connector {
    tls: RefCell<Option<Arc<ClientConfig>>>,
    names: RefCell<HashMap<(String, u16), Known>>,
    /// Connections take addresses in turn.
    turn: Cell<usize>,
}

/// What is known of a name.
struct Known {
    /// Those of its addresses that have not failed since; never empty.
    addresses: Vec<SocketAddr>,
    looked_up: Instant,
    failed: bool,
}

impl Connector {
    pub(crate) fn new(tls: Option<Arc<ClientConfig>>, index: usize) -> Self {
        Self { tls: RefCell::new(tls), names: RefCell::default(), turn: Cell::new(index) }
    }

    pub(crate) fn set_tls(&self, tls: Arc<ClientConfig>) {
        *self.tls.borrow_mut() = Some(tls);
    }

    pub(crate) async fn open(&self, host: &Host) -> Result<Stream, Failure> {
        let tcp = self.tcp(host).await?;
        tcp.set_nodelay(true).map_err(|error| Failure::connect(&error, &host.authority))?;
        if !host.tls {
            return Ok(Stream::Tcp(tcp));
        }
        let failed = |why: String| Failure::new(ErrorKind::Tls, format!("TLS with {}: {why}", host.authority));
        let config = self.tls.borrow().clone().ok_or_else(|| failed("it is not set up".to_owned()))?;
        let name = ServerName::try_from(host.name.clone()).map_err(|error| failed(error.to_string()))?;
        let stream = TlsConnector::from(Arc::clone(&config)).connect(name, tcp).await;
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => failed("the server closed the connection in the handshake".to_owned()),
            _ if strange(&error) => {
                failed(format!("{}; trust it with cacert, or anybody with insecure", without_number(&error)))
            }
            _ => failed(without_number(&error)),
        })?;
        let wanted = config.alpn_protocols.first().map(Vec::as_slice);
        if wanted == Some(b"h2") && stream.get_ref().1.alpn_protocol() != wanted {
            return Err(failed("the server does not offer HTTP/2 (ALPN h2); use http = \"1.1\"".to_owned()));
        }
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// To the address whose turn it is; if that is not reached, to another one of the same name: `localhost` has two on most
    /// machines, and most servers listen on one of them.
    async fn tcp(&self, host: &Host) -> Result<TcpStream, Failure> {
        let mut failure: Option<Failure> = None;
        for address in self.addresses(host).await? {
            match TcpStream::connect(address).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => {
                    self.forget(host, address);
                    // A refusal says most: somebody was reached.
                    if failure.as_ref().is_none_or(|before| before.kind != ErrorKind::Refused) {
                        failure = Some(Failure::connect(&error, &host.authority));
                    }
                }
            }
        }
        Err(failure.expect("a name has at least one address, or it is a failure before"))
    }

    /// All addresses of a host, the one whose turn it is first.
    async fn addresses(&self, host: &Host) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(ip) = host.name.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, host.port)]);
        }
        let stale = |known: &Known| known.failed && known.looked_up.elapsed() >= LOOK_UP_AGAIN;
        let known = |known: &Known| (!stale(known)).then(|| self.in_turn(&known.addresses));
        let known = self.names.borrow().get(&(host.name.clone(), host.port)).and_then(known);
        if let Some(addresses) = known {
            return Ok(addresses);
        }
        let dns = |why: String| Failure::new(ErrorKind::Dns, format!("cannot find {}: {why}", host.name));
        let found: Vec<SocketAddr> = tokio::net::lookup_host((&*host.name, host.port))
            .await
            .map_err(|error| dns(without_number(&error)))?
            .collect();
        if found.is_empty() {
            return Err(dns("it has no address".to_owned()));
        }
        let addresses = self.in_turn(&found);
        self.know(host, found);
        Ok(addresses)
    }

    fn know(&self, host: &Host, addresses: Vec<SocketAddr>) {
        let known = Known { addresses, looked_up: Instant::now(), failed: false };
        self.names.borrow_mut().insert((host.name.clone(), host.port), known);
    }

    /// Leaves an address out until the name is looked up again; at once if it was the last one.
    fn forget(&self, host: &Host, address: SocketAddr) {
        let key = (host.name.clone(), host.port);
        let mut names = self.names.borrow_mut();
        let Some(known) = names.get_mut(&key) else { return };
        known.addresses.retain(|other| *other != address);
        known.failed = true;
        if known.addresses.is_empty() {
            names.remove(&key);
        }
    }

    fn in_turn(&self, list: &[SocketAddr]) -> Vec<SocketAddr> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let (before, from) = list.split_at(turn % list.len());
        [from, before].concat()
    }
}

/// Whether the server is there, and only its certificate is not to be trusted.
fn strange(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// What requests are written to.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The configuration, if the scenario has a host that needs it.
pub(crate) fn tls(scenario: &Scenario) -> Result<Option<Arc<ClientConfig>>, Problem> {
    scenario.uses_tls().then(|| client_config(scenario)).transpose()
}

/// Which certificates to trust, and which protocol to offer.
pub(crate) fn client_config(scenario: &Scenario) -> Result<Arc<ClientConfig>, Problem> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| Problem::general(format!("cannot set up TLS: {error}")))?;
    let mut config = if scenario.client.insecure {
        let verifier = Arc::new(TrustAnybody(provider));
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    } else {
        let roots = match &scenario.client.cacert {
            Some(path) => roots_of(path)?,
            None => system_roots()?,
        };
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = match scenario.client.http {
        Version::Http1 => vec![b"http/1.1".to_vec()],
        Version::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

fn roots_of(path: &Path) -> Result<RootCertStore, Problem> {
    let wrong = |why: String| Problem::general(format!("cannot use the certificates of {}: {why}", path.display()));
    let list: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let list = list.map_err(|error| wrong(error.to_string()))?;
    if list.is_empty() {
        return Err(wrong("there are none in it; name a PEM file".to_owned()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in list {
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // One that cannot be read is no reason to trust none of the others.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map_or_else(String::new, |error| format!(" ({error})"));
        return Err(Problem::general(format!(
            "the system has no certificates to trust{why}; install ca-certificates, or use --cacert or --insecure"
        )));
    }
    Ok(roots)
}

/// For `insecure`: the connection is encrypted with whoever answers.
#[derive(Debug)]
struct TrustAnybody(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAnybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
