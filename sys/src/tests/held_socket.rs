//! Who may have the path, when its files go, and who connects.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::alone;
use crate::fd::{Interest, has_hung_up, wait_ready};
use crate::held_socket::HeldSocket;
use crate::{Pid, socket};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rustcorn-sys-held-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // what is left behind harms nobody
    }
}

#[test]
fn a_path_has_one_holder_and_leaves_nothing_behind() {
    let _alone = alone();
    let folder = Folder::new("one");
    let path = folder.0.join("ctl");
    let held = HeldSocket::bind(&path, 0o640, 8).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_eq!(std::fs::metadata(folder.0.join("ctl.lock")).unwrap().permissions().mode() & 0o7777, 0o600);
    held.set_mode(0o600).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);

    let second = HeldSocket::bind(&path, 0o600, 8).unwrap_err();
    let says = format!("it is held by process {}", std::process::id());
    assert_eq!((second.kind(), second.to_string()), (ErrorKind::AddrInUse, says));
    assert!(UnixStream::connect(&path).is_ok(), "the first is undisturbed");
    drop(held);
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_stale_socket_is_replaced_and_what_is_not_ours_stays() {
    let _alone = alone();
    let folder = Folder::new("stale");
    let path = folder.0.join("ctl");
    drop(socket::listen_unix(&path, 8, socket::Access { mode: 0o600, owner: None }).unwrap()); // as after kill -9: the file is there, and so may be the lock's
    std::fs::write(folder.0.join("ctl.lock"), "4711\n").unwrap();
    let held = HeldSocket::bind(&path, 0o600, 8).unwrap();
    assert_eq!(std::fs::read_to_string(folder.0.join("ctl.lock")).unwrap(), format!("{}\n", std::process::id()));

    std::fs::remove_file(&path).unwrap();
    let other = socket::listen_unix(&path, 8, socket::Access { mode: 0o600, owner: None }).unwrap();
    assert_eq!(held.set_mode(0o666).unwrap_err().kind(), ErrorKind::NotFound);
    drop(held);
    assert_eq!(folder.names(), ["ctl"], "somebody else's by now");
    // It listens without a lock, as another program would.
    assert_eq!(HeldSocket::bind(&path, 0o600, 8).unwrap_err().kind(), ErrorKind::AddrInUse);
    drop(other);

    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "data").unwrap();
    assert_eq!(HeldSocket::bind(&path, 0o600, 8).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(folder.names(), ["ctl"], "and no lock is left");
    assert_eq!(std::fs::read(&path).unwrap(), b"data");
}

#[test]
fn who_connects_is_known_and_a_half_close_is_no_hang_up() {
    let _alone = alone();
    let folder = Folder::new("peer");
    let path = folder.0.join("ctl");
    let held = HeldSocket::bind(&path, 0o600, 8).unwrap();
    assert!(held.accept().unwrap().is_none());
    let client = UnixStream::connect(&path).unwrap();
    let (stream, peer) = held.accept().unwrap().expect("it has connected");
    assert_eq!((peer.pid, peer.uid), (Some(Pid::this()), nix::unistd::geteuid().as_raw()));
    assert!(peer.is_trusted());
    assert!(!crate::held_socket::Peer { uid: 54321, ..peer }.is_trusted());

    assert_eq!(wait_ready(&[(stream.as_fd(), Interest::Writable)], None).unwrap(), [true]);
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(!has_hung_up(stream.as_fd()).unwrap(), "it still reads");
    drop(client);
    assert!(has_hung_up(stream.as_fd()).unwrap());
}
