//! Addresses of all kinds.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

use crate::harness::{Conn, PATIENCE, Server, Setup, Sig, eventually, get, proc};

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

/// Mode, user and group of the server's socket.
fn access(server: &Server) -> (u32, u32, u32) {
    let meta = std::fs::symlink_metadata(server.dir().join("server.sock")).expect("it is there");
    (meta.mode() & 0o777, meta.uid(), meta.gid())
}

#[test]
fn a_unix_socket_is_open_to_its_group_unless_told_otherwise() {
    let start = |set: &str| Setup::hello().set("bind = \"unix:server.sock\"").set(set).start();
    for (set, mode) in [
        ("", 0o660),
        ("umask = \"0077\"", 0o700), // as in gunicorn
        ("umask = 0", 0o777),
        ("umask = \"0077\"\nsocket_mode = \"0666\"", 0o666),
        ("socket_mode = 0o600", 0o600),
    ] {
        assert_eq!(access(&start(set)).0, mode, "{set}");
    }
}

#[test]
fn a_reload_changes_the_mode_of_a_socket_that_stays() {
    let mut server = Setup::hello().set("bind = \"unix:server.sock\"").start();
    server.reconfigure("socket_mode = \"0600\"", "");
    assert!(server.reload().contains("Reloaded"));
    assert_eq!(access(&server).0, 0o600);
    server.reconfigure("socket_mode = \"0666\"\nbind = \"unix:missing/server.sock\"", "");
    let line = server.setup_expects("Reload failed").reload();
    assert!(line.contains("Reload failed: cannot listen on unix:missing/server.sock"), "{line}");
    assert_eq!(access(&server).0, 0o600, "nothing was changed");
}

#[test]
fn the_socket_belongs_to_the_workers_user() {
    if !proc::is_root_or_says("the owner of a socket") {
        return;
    }
    let mut server = Setup::hello().set("bind = \"unix:server.sock\"\nuser = 54321\ngroup = 12345").start();
    assert_eq!(access(&server), (0o660, 54321, 12345));
    server.reconfigure("group = 12346", "");
    assert!(server.reload().contains("Reloaded"));
    assert_eq!(access(&server), (0o660, 54321, 12346));
    let path = server.dir().join("server.sock");
    assert_eq!(get(path.as_path(), "/").map(|response| response.status), Ok(200));
}

#[test]
fn a_reload_that_drops_a_socket_removes_its_file_and_nobody_elses() {
    let mut server = Setup::hello().set("bind = [\"127.0.0.1:0\", \"unix:server.sock\"]").start();
    let path = server.dir().join("server.sock");
    server.reconfigure("bind = \"127.0.0.1:0\"", "");
    assert!(server.reload().contains("Reloaded"));
    eventually("the file is gone", PATIENCE, || (!path.exists()).then_some(()));

    server.reconfigure("bind = \"unix:server.sock\"", "");
    assert!(server.reload().contains("Reloaded"));
    std::fs::remove_file(&path).expect("it is there");
    let _other = UnixListener::bind(&path).expect("the path is free");
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    assert!(path.exists(), "it is another server's by now");
}
