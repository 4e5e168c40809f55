//! TLS and HTTP/2, against hyper.

use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustcorn_loadtester::scenario::Version;
use rustcorn_loadtester::stats::ErrorKind;
use rustcorn_loadtester::{Interval, Scenario};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::run_to_the_end;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/data").join(name)
}

fn acceptor(alpn: &[&[u8]]) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(data("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(data("key.pem")).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Answers with the method, the path and the body; counts.
fn server(tls: Option<TlsAcceptor>) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, count) = (tls.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let count = Arc::clone(&count);
                        async move {
                            count.fetch_add(1, SeqCst);
                            let head = format!("{} {} ", request.method(), request.uri().path());
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from(
                                [head.as_bytes(), &body].concat(),
                            ))))
                        }
                    });
                    // Clients may go whenever they want.
                    let http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    match tls {
                        None => drop(http2.serve_connection(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                                drop(http2.serve_connection(TokioIo::new(stream), service).await);
                            } else {
                                let http1 = hyper::server::conn::http1::Builder::new();
                                drop(http1.serve_connection(TokioIo::new(stream), service).await);
                            }
                        }
                    }
                });
            }
        });
    });
    (port, count)
}

fn send(url: &str, change: impl FnOnce(&mut Scenario)) -> Interval {
    let mut scenario = Scenario::from_url(url).unwrap();
    (scenario.load.users, scenario.load.requests) = (3, Some(30));
    scenario.client.cacert = Some(data("certificate.pem"));
    change(&mut scenario);
    run_to_the_end(scenario)
}

fn all_well(interval: &Interval, count: &AtomicU64) {
    assert!(interval.failures.is_empty(), "{:?}", interval.failures);
    assert_eq!((interval.requests(), count.load(SeqCst)), (30, 30));
    // One for each user; quick ones may spend all requests before another one has come.
    assert!((1..=3).contains(&interval.connections.opened), "{}", interval.connections.opened);
}

#[test]
fn https_with_both_versions() {
    for version in [Version::Http1, Version::Http2] {
        let (port, count) = server(Some(acceptor(&[b"h2", b"http/1.1"])));
        let interval = send(&format!("https://localhost:{port}/a"), |scenario| scenario.client.http = version);
        all_well(&interval, &count);
        assert_eq!(interval.tasks[0].bytes, 30 * "GET /a ".len() as u64, "{version:?}");
    }
}

#[test]
fn http2_without_tls_sends_what_the_scenario_says() {
    let (port, count) = server(None);
    let text = format!(
        "host = \"http://127.0.0.1:{port}/base\"\nhttp = \"2\"\nusers = 3\nrequests = 30\ntraceparent = 1\n\
         [[task]]\nmethod = \"POST\"\npath = \"/b/{{{{user}}}}\"\nbody = \"body\"\n"
    );
    let interval = run_to_the_end(Scenario::from_text("t", &text).unwrap());
    all_well(&interval, &count);
    assert_eq!(interval.tasks[0].bytes, 30 * "POST /base/b/1 body".len() as u64);
    assert!(!interval.slowest.is_empty());
}

#[test]
fn a_stranger_is_not_trusted_unless_so_asked() {
    let (port, count) = server(Some(acceptor(&[])));
    // The certificate is for the name and the address, not for this one.
    let stranger = |insecure| {
        send(&format!("https://127.0.0.2:{port}/"), |scenario| {
            (scenario.client.insecure, scenario.load.users) = (insecure, 3);
        })
    };
    let refused = stranger(false);
    assert_eq!(refused.failures.len(), 1, "{:?}", refused.failures);
    assert_eq!((refused.failures[0].kind, refused.failures[0].occurrences), (ErrorKind::Tls, 30));
    let message = &refused.failures[0].message;
    assert!(message.contains("certificate") && message.ends_with("or anybody with insecure"), "{message}");
    assert_eq!(count.load(SeqCst), 0);
    all_well(&stranger(true), &count);
}

#[test]
fn a_server_without_http2_is_not_talked_to_in_it() {
    let (port, _) = server(Some(acceptor(&[b"http/1.1"])));
    let interval = send(&format!("https://localhost:{port}/"), |scenario| scenario.client.http = Version::Http2);
    assert!(interval.failures.iter().all(|failure| failure.kind == ErrorKind::Tls), "{:?}", interval.failures);
}
