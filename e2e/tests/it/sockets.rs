//! Addresses of all kinds.

use std::os::unix::net::UnixListener;

use crate::harness::{Conn, PATIENCE, Setup, Sig, get};

#[test]
fn a_unix_socket_is_served_and_removed_in_the_end() {
    let mut server = Setup::testapp().set("bind = \"unix:server.sock\"").start();
    let path = server.dir().join("server.sock");
    assert!(server.log.find(0, "Listening at: unix:server.sock (").is_some());
    let mut conn = Conn::open(path.as_path()).expect("accepted");
    assert_eq!(conn.request("POST", "/echo", "", "over a file").expect("answered").body, "over a file");
    assert_eq!(conn.get("/stream").expect("answered").body, "tick\n".repeat(5));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(!path.exists());
}

#[test]
fn the_socket_of_a_server_that_crashed_is_replaced() {
    let setup = Setup::hello().set("bind = \"unix:server.sock\"");
    let path = setup.dir.path().join("server.sock");
    drop(UnixListener::bind(&path).expect("the folder is ours")); // leaves the file
    assert!(path.exists());
    let server = setup.start();
    assert_eq!(get(path.as_path(), "/").map(|response| response.status), Ok(200));
    drop(server);
}

#[test]
fn ipv4_ipv6_and_a_file_at_once() {
    let server = Setup::hello().set("bind = [\"127.0.0.1:0\", \"[::1]:0\", \"unix:server.sock\"]").start();
    let (v4, v6) = (server.address_at(0), server.address_at(1));
    assert!(v4.is_ipv4() && v6.is_ipv6());
    for address in [v4.into(), v6.into(), server.dir().join("server.sock").as_path().into()] {
        let address: crate::harness::client::Address = address;
        assert_eq!(get(address.clone(), "/").map(|response| response.status), Ok(200), "{address:?}");
    }
}
