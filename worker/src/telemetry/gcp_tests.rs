//! The gate, the mapping, and a server that is somebody else's.

use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

const NONE: Env<'static> = Env(&|_| None);

#[test]
fn only_googles_machines_are_asked() {
    assert_eq!(server(&NONE, "Standard PC (Q35 + ICH9, 2009)"), None);
    assert_eq!(server(&NONE, ""), None);
    assert_eq!(server(&NONE, "Google Compute Engine\n"), Some((ADDRESS.to_owned(), 80)));
    let given = Env(&|name| (name == "GCE_METADATA_HOST").then(|| "fake:81".to_owned()));
    assert_eq!(server(&given, ""), Some(("fake".to_owned(), 81)));
}

fn mapped(known: &[(&str, &str)], in_cluster: bool) -> Vec<(String, String)> {
    let mut get = |key: &str| known.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
    let all = attributes(&mut get, "my-project".to_owned(), in_cluster);
    all.into_iter().skip(1).map(|attribute| (attribute.key.to_string(), attribute.value.to_string())).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_cluster_and_a_machine() {
    let cluster = [
        ("instance/attributes/cluster-location", "europe-west1"),
        ("instance/attributes/cluster-name", "main"),
        ("instance/id", "12"),
        ("instance/zone", "projects/1/zones/europe-west1-b"),
    ];
    assert_eq!(
        mapped(&cluster, true),
        pairs(&[
            ("cloud.account.id", "my-project"),
            ("cloud.platform", "gcp_kubernetes_engine"),
            ("k8s.cluster.name", "main"),
            ("cloud.region", "europe-west1"),
            ("host.id", "12"),
        ])
    );
    assert_eq!(
        mapped(&cluster, false),
        pairs(&[
            ("cloud.account.id", "my-project"),
            ("cloud.platform", "gcp_compute_engine"),
            ("cloud.region", "europe-west1"),
            ("cloud.availability_zone", "europe-west1-b"),
            ("host.id", "12"),
        ])
    );
}

/// What is detected where the metadata server adds `header` to its answers.
fn detected(header: &'static str) -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut seen, mut byte) = (stream.unwrap(), Vec::new(), [0]);
            while stream.read(&mut byte).is_ok_and(|read| read == 1) {
                seen.push(byte[0]);
                if seen.ends_with(b"\r\n\r\n") {
                    seen.clear();
                    let answer = format!("HTTP/1.1 200 OK\r\n{header}content-length: 3\r\n\r\na-b");
                    stream.write_all(answer.as_bytes()).unwrap();
                }
            }
        }
    });
    detect(&Env(&|name| (name == "GCE_METADATA_HOST").then(|| host.clone()))).len()
}

#[test]
fn only_a_server_that_says_it_is_googles_is_believed() {
    assert_eq!(detected("Metadata-Flavor: Google\r\n"), 6);
    assert_eq!(detected(""), 0);
}

#[test]
fn a_silent_server_costs_a_second_at_most() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let began = Instant::now();
    assert_eq!(detect(&Env(&|name| (name == "GCE_METADATA_HOST").then(|| host.clone()))), []);
    assert!(began.elapsed() < LIMIT * 10, "a limit there is; the exact one would test the machine");
}
