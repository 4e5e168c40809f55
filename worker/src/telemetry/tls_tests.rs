//! A collector behind TLS: reached if its certificate is trusted, and else not. The certificate is of these tests alone.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;
use crate::telemetry::options::Protocol;
use crate::telemetry::wire::Connection;
use crate::testing::PATIENCE;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/telemetry/testdata").join(name)
}

/// Answers each request with 200, on its port.
fn server() -> u16 {
    let certificate = CertificateDer::from_pem_file(file("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let (mut stream, mut byte) = (StreamOwned::new(connection, socket), [0]);
            while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                if byte == [b'!'] {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
                }
            }
        }
    });
    port
}

fn tls(certificate: Option<PathBuf>) -> Result<Option<Tls>, String> {
    let settings = rustcorn_config::Settings::from_toml("otlp_endpoint = 'https://localhost'").unwrap();
    let endpoint = settings.otlp_endpoint.unwrap();
    let time = Duration::ZERO;
    let protocol = Protocol::Http;
    Tls::for_target(&Target {
        endpoint,
        protocol,
        timeout: time,
        patience: time,
        certificate,
        client_certificate: None,
    })
}

#[test]
fn a_trusted_collector_is_spoken_to_and_the_connection_can_be_kept() {
    let tls = tls(Some(file("certificate.pem"))).unwrap().unwrap();
    let until = Instant::now() + PATIENCE;
    for host in ["127.0.0.1", "localhost"] {
        let mut connection = Connection::open(host, server(), Some(&tls), until).unwrap();
        for _ in 0..2 {
            let answer = connection.exchange(b"head", b"!", until).unwrap();
            assert_eq!((answer.status, answer.body.as_slice(), answer.keeps), (200, &b"hi"[..], true));
        }
    }
}

#[test]
fn a_stranger_is_not() {
    // Trusted, but not for this name; and not trusted at all where the system has certificates.
    let wrong_name = tls(Some(file("certificate.pem"))).unwrap();
    let until = Instant::now() + PATIENCE;
    for (tls, host) in [(wrong_name, "127.0.0.2"), (tls(None).ok().flatten(), "localhost")] {
        let Some(tls) = tls else { continue };
        let failed = Connection::open(host, server(), Some(&tls), until)
            .and_then(|mut connection| connection.exchange(b"head", b"!", until));
        assert!(failed.is_err(), "{host}");
    }
}

#[test]
fn files_that_hold_no_certificate_are_named() {
    for name in ["key.pem", "missing.pem"] {
        let why = tls(Some(file(name))).unwrap_err();
        assert!(why.contains(name), "{why}");
    }
}
