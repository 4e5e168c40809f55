//! Unix sockets, and sockets from systemd.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::harness::{PATIENCE, Sig, get};
use crate::subject::{Gunicorn, Rustcorn, Setup, differs};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn a_unix_socket_is_served_and_removed_in_the_end() {
    for sig in [Sig::SIGTERM, Sig::SIGINT] {
        let mut server = Setup::new().set("bind = \"unix:server.sock\"").start();
        let path = server.dir().join("server.sock");
        let line = server.wait_for_line("Listening at: ");
        assert_eq!(line.text, format!("Listening at: unix:server.sock ({})", server.pid()));
        assert_eq!(get(path.as_path(), "/").map(|answer| answer.status), Ok(200));
        server.signal(sig);
        assert_eq!(server.wait_for_exit(PATIENCE), 0);
        assert!(!path.exists());
    }
}

#[test]
fn who_may_connect_to_a_unix_socket() {
    let server = Setup::new().set("bind = \"unix:server.sock\"").start();
    let mode = mode(&server.dir().join("server.sock"));
    match differs("socket-mode") {
        Gunicorn => assert_eq!(mode, 0o777, "everybody"),
        Rustcorn => assert_eq!(mode & 0o002, 0, "not everybody: {mode:o}"),
    }
}

#[test]
fn umask_is_heard() {
    let server = Setup::new().set("bind = \"unix:server.sock\"").args(&["-m", "007"]).start();
    assert_eq!(mode(&server.dir().join("server.sock")), 0o770);
}

#[test]
fn the_socket_of_a_server_that_crashed_is_replaced() {
    let setup = Setup::new().set("bind = \"unix:server.sock\"");
    let path = setup.dir.path().join("server.sock");
    drop(UnixListener::bind(&path).expect("the folder is ours")); // leaves the file
    let _server = setup.start();
    assert_eq!(get(path.as_path(), "/").map(|answer| answer.status), Ok(200));
}

#[test]
fn the_socket_of_another_server_that_lives() {
    let setup = Setup::new().set("bind = \"unix:server.sock\"");
    let path = setup.dir.path().join("server.sock");
    let other = UnixListener::bind(&path).expect("the folder is ours");
    other.set_nonblocking(true).expect("a socket");
    let mut server = setup.launch();
    match differs("socket-in-use") {
        Gunicorn => {
            server.settled(2);
            assert_eq!(get(path.as_path(), "/").map(|answer| answer.status), Ok(200), "it took the path away");
            assert!(other.accept().is_err());
        }
        Rustcorn => {
            assert_eq!(server.wait_for_exit(PATIENCE), 1);
            server.log.wait(0, "the address is in use", 1, PATIENCE);
            drop(std::os::unix::net::UnixStream::connect(&path).expect("the other server is still there"));
        }
    }
}

#[test]
fn a_file_that_is_no_socket_is_left_alone_and_ends_the_start_with_1() {
    let setup = Setup::new().set("bind = \"unix:server.sock\"");
    setup.dir.write("server.sock", "precious");
    let mut server = setup.launch();
    assert_eq!(server.wait_for_exit(PATIENCE), 1);
    assert_eq!(fs::read_to_string(server.dir().join("server.sock")).expect("text"), "precious");
}

#[test]
fn a_unix_socket_survives_an_upgrade() {
    let mut server = Setup::new().set("bind = \"unix:server.sock\"").start();
    let path = server.dir().join("server.sock");
    let heir = server.upgrade();
    server.signal(Sig::SIGTERM);
    server.follow(heir);
    server.wait_for_line("Master has been promoted.");
    assert!(fs::metadata(&path).is_ok_and(|meta| meta.file_type().is_socket()));
    assert_eq!(get(path.as_path(), "/").map(|answer| answer.status), Ok(200));
    server.settled(2);
    server.signal(Sig::SIGTERM);
    server.wait_for_silence(PATIENCE);
    assert!(!path.exists(), "the last master removes it");
}

#[test]
fn a_socket_from_systemd_takes_the_place_of_bind() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let server = Setup::new().set("bind = \"127.0.0.2:0\"").activated_by(listener).start();
    assert_eq!(server.address(), address);
    assert_eq!(server.get("/").map(|answer| answer.status), Ok(200));
    let env = server.get("/env").expect("answered").body;
    let told = env.lines().any(|line| line.starts_with("LISTEN_FDS="));
    match differs("workers-are-activated") {
        Gunicorn => assert!(!told, "{env}"),
        Rustcorn => assert!(told, "{env}"),
    }
}
