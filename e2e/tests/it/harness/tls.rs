//! Certificates, and clients that believe them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::client::{Conn, Failure, Stream};
use super::{PATIENCE, Setup};

/// Who signs certificates.
pub(crate) struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The last year in which a certificate is valid: of one that is.
const VALID: i32 = 2999;

impl Ca {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("the system has random numbers");
        Self(CertifiedIssuer::self_signed(params, key).expect("nothing in it is odd"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self) -> Pair {
        self.issue_until(VALID)
    }

    pub(crate) fn issue_until(&self, year: i32) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("the system has random numbers");
        let certificate = params.signed_by(&key, &self.0).expect("nothing in it is odd");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A client that believes this CA, with a certificate of its own or without. It offers `protocols` (ALPN).
    pub(crate) fn client(&self, own: Option<&Pair>, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("it is a CA");
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder =
            builder.with_safe_default_protocol_versions().expect("ring has all").with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(Pair { certificate, key }) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("they fit")
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl Setup {
    /// Speaks TLS with this pair, in files of its folder.
    pub(crate) fn tls(self, pair: &Pair) -> Self {
        self.dir.write("cert.pem", &pair.certificate);
        self.dir.write("key.pem", &pair.key);
        self.set("certfile = \"cert.pem\"\nkeyfile = \"key.pem\"")
    }
}

/// A session on a blocking socket. Its end without close_notify is a failure, as the end of TCP alone may be an attacker's.
pub(crate) struct Session(StreamOwned<ClientConnection, TcpStream>);

impl Session {
    /// Connects and shakes hands.
    pub(crate) fn open(address: SocketAddr, config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        Self::open_after(address, b"", config)
    }

    /// As [`Self::open`], with `before` sent before TLS.
    pub(crate) fn open_after(address: SocketAddr, before: &[u8], config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.write_all(before)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(Arc::clone(config), name).map_err(|error| broken(&error))?;
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(honest)?;
        }
        Ok(Self(stream))
    }

    /// What was agreed on to speak.
    pub(crate) fn protocol(&self) -> Option<&str> {
        self.0.conn.alpn_protocol().and_then(|protocol| std::str::from_utf8(protocol).ok())
    }

    /// Whether the handshake was short for the session's being known.
    pub(crate) fn is_resumed(&self) -> bool {
        self.0.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The certificate that the server has shown.
    pub(crate) fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.0.conn.peer_certificates().and_then(|chain| chain.first())
    }

    pub(crate) fn into_stream(self) -> Box<dyn Stream> {
        Box::new(self)
    }

    pub(crate) fn into_conn(self) -> Conn {
        Conn::over(Box::new(self))
    }
}

fn broken(error: &rustls::Error) -> Failure {
    Failure::Malformed(error.to_string())
}

/// TCP's end in the middle of TLS is no end in order.
fn honest(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { io::ErrorKind::ConnectionAborted.into() } else { error }
}

impl Read for Session {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(honest)
    }
}

impl Write for Session {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
