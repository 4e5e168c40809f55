//! Connections are kept, failures repeated while there is time, and the end is heard.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use super::*;
use crate::testing::PATIENCE;

/// Answers the nth request with the nth text, closes after an empty one; tells which connection each request came on.
fn server(answers: &'static [&'static str]) -> (SocketAddr, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut answers = answers.iter();
        for (number, stream) in listener.incoming().enumerate() {
            let (mut stream, mut seen) = (stream.unwrap(), Vec::new());
            let mut byte = [0];
            while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                seen.push(byte[0]);
                if seen.ends_with(b"body") {
                    seen.clear();
                    let Some(answer) = answers.next() else { return };
                    tell.send(number).unwrap();
                    stream.write_all(answer.as_bytes()).unwrap();
                    if answer.is_empty() {
                        break;
                    }
                }
            }
        }
    });
    (address, told)
}

fn client(address: SocketAddr, patience: Duration) -> (Client, Arc<Patience>) {
    let settings = format!("otlp_endpoint = 'http://{address}'");
    let endpoint = rustcorn_config::Settings::from_toml(&settings).unwrap().otlp_endpoint.unwrap();
    let protocol = super::super::options::Protocol::Http;
    let target =
        Target { endpoint, protocol, timeout: PATIENCE, patience, certificate: None, client_certificate: None };
    let shared = Arc::new(Patience::default());
    (Client::new(target, Arc::clone(&shared)).unwrap(), shared)
}

fn send(client: &Client) -> Result<Response<Bytes>, String> {
    let request = Request::post("http://a/v1/traces").header("x-a", "b").body(Bytes::from_static(b"body")).unwrap();
    client.0.send(&request)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n";
const LATER: &str = "HTTP/1.1 429 x\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n";
const BAD: &str = "HTTP/1.1 400 x\r\ncontent-length: 0\r\n\r\n";

#[test]
fn a_connection_is_kept_and_replaced_when_it_was_closed() {
    let (address, told) = server(&[OK, OK, "", OK]);
    let (client, _) = client(address, PATIENCE);
    (0..3).for_each(|_| assert_eq!(send(&client).unwrap().status(), 200));
    assert_eq!(told.iter().take(4).collect::<Vec<_>>(), [0, 0, 0, 1]);
}

#[test]
fn what_may_work_later_is_tried_again_and_nothing_else() {
    let (address, told) = server(&[BUSY, "", OK, BAD]);
    let (client, _) = client(address, PATIENCE);
    assert_eq!(send(&client).unwrap().status(), 200);
    assert_eq!(send(&client).unwrap_err(), "status 400");
    assert_eq!(told.iter().take(4).count(), 4);
}

#[test]
fn patience_ends() {
    let (address, told) = server(&[BUSY, LATER]);
    let (client, _) = client(address, Duration::ZERO);
    assert_eq!(send(&client).unwrap_err(), "status 503");
    assert_eq!(send(&client).unwrap_err(), "status 429");
    assert_eq!(told.iter().take(2).count(), 2);
}

#[test]
fn the_end_of_the_worker_cuts_a_wait_short() {
    let (address, told) = server(&[LATER]);
    let (client, patience) = client(address, PATIENCE * 1000);
    let sending = std::thread::spawn(move || send(&client));
    told.recv_timeout(PATIENCE).unwrap();
    patience.end_at(Instant::now());
    let began = Instant::now();
    assert_eq!(sending.join().unwrap().unwrap_err(), "status 429");
    assert!(began.elapsed() < PATIENCE);
}
