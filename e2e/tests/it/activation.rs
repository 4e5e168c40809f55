//! systemd: sockets that it hands over, and what it is told (sd_listen_fds(3), sd_notify(3)).

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::net::{UnixDatagram, UnixListener};

use crate::harness::{Conn, PATIENCE, Server, Setup, Sig, eventually, get, proc};

/// The end of a service manager.
struct Manager(UnixDatagram);

impl Manager {
    /// Listens in the server's folder, and tells the server so.
    fn of(setup: Setup) -> (Self, Setup) {
        let path = setup.dir.path().join("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("the folder is ours");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time is given");
        let path = path.to_str().expect("a path as we make it").to_owned();
        (Self(socket), setup.env("NOTIFY_SOCKET", &path))
    }

    /// The next message, less signs of life.
    #[track_caller]
    fn hears(&self) -> String {
        loop {
            let text = self.hears_anything();
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    }

    #[track_caller]
    fn hears_anything(&self) -> String {
        let mut text = [0; 1000];
        // A hang-up that a test beside this one causes interrupts a wait that has a limit, whatever its handler says.
        let length = loop {
            match self.0.recv(&mut text) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.expect("the server tells something"),
            }
        };
        String::from_utf8_lossy(&text[..length]).into_owned()
    }
}

fn ready(pid: u32) -> String {
    format!("MAINPID={pid}\nREADY=1\nSTATUS=Serving")
}

#[test]
fn the_manager_hears_of_every_stage_and_the_workers_know_nothing_of_it() {
    let (manager, setup) = Manager::of(Setup::hello().set("workers = 1"));
    let server = setup.expect("Reload failed").start();
    assert_eq!(manager.hears(), ready(server.pid()));
    for worker in server.workers() {
        let environment = std::fs::read_to_string(format!("/proc/{worker}/environ")).expect("it lives");
        assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");
    }
    for good in [true, false] {
        if !good {
            server.write_text("workers = -1\n");
        }
        server.reload();
        let reloading = manager.hears();
        let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse::<u64>().ok());
        assert!(reloading.starts_with("RELOADING=1\n") && since.is_some_and(|time| time > 0), "{reloading}");
        assert_eq!(manager.hears(), ready(server.pid()), "over, well or not");
    }
    server.signal(Sig::SIGTERM);
    assert_eq!(manager.hears(), "STOPPING=1\nSTATUS=Stopping: requests in flight are finished");
}

#[test]
fn the_manager_gets_signs_of_life_in_half_the_time_that_it_asks_for() {
    let (manager, setup) = Manager::of(Setup::hello());
    let _server = setup.env("WATCHDOG_USEC", "200000").start();
    manager.hears();
    for _ in 0..5 {
        assert_eq!(manager.hears_anything(), "WATCHDOG=1");
    }
}

#[test]
fn after_an_upgrade_the_manager_knows_the_new_main_process() {
    let (manager, setup) = Manager::of(Setup::hello().set("upgrade = \"auto\""));
    let mut server = setup.env("WATCHDOG_USEC", "400000").start();
    assert_eq!(manager.hears(), ready(server.pid()));
    let mark = server.log.mark();
    server.signal(Sig::SIGUSR2);
    let heir = server.wait_for_heir(mark);
    server.follow(heir);
    assert_eq!(manager.hears(), format!("MAINPID={heir}"), "and nothing of a stop");
    assert_eq!(manager.hears(), ready(heir));
    assert_eq!(manager.hears_anything(), "WATCHDOG=1", "it asked for that when it started the first one");
}

#[test]
fn a_socket_that_is_handed_over_is_used_whatever_bind_says_and_outlives_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let ours = listener.try_clone().expect("a copy");
    let activated = || Setup::hello().set("bind = \"127.0.0.1:1\"").activated_by(listener.try_clone().expect("a copy"));
    let mut server = activated().start();
    assert_eq!(server.address(), address);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    assert!(server.reload().contains("Reloaded"));
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    server.signal(Sig::SIGTERM);
    assert_eq!(server.wait_for_exit(PATIENCE), 0);
    // The kernel goes on queueing for whoever comes next.
    let mut early = Conn::open(address).expect("accepted by the kernel");
    let next = activated().start();
    assert_eq!(early.get("/").expect("answered by the next server").status, 200);
    drop((next, ours));
}

#[test]
fn a_unix_socket_that_is_handed_over_keeps_its_file_and_goes_to_the_new_master() {
    let setup = Setup::hello().set("upgrade = \"auto\"");
    let path = setup.dir.path().join("given.sock");
    let listener = UnixListener::bind(&path).expect("the folder is ours");
    let mut server = setup.activated_by(listener).start();
    assert!(server.log.find(0, &format!("Listening at: unix:{}", path.display())).is_some());
    assert_eq!(get(path.as_path(), "/").map(|response| response.status), Ok(200));
    let mark = server.log.mark();
    server.signal(Sig::SIGUSR2);
    let heir = server.wait_for_heir(mark);
    server.follow(heir);
    assert_eq!(get(path.as_path(), "/").map(|response| response.status), Ok(200));
    server.signal(Sig::SIGTERM);
    server.wait_for_silence(PATIENCE);
    assert!(path.exists(), "it is not ours to remove");
}

#[test]
fn a_descriptor_can_be_named_in_bind() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it has one");
    let set = "bind = [\"fd://3\", \"127.0.0.1:0\"]";
    let mut server = Setup::hello().set(set).with_descriptor_3(listener, "").expect("Reload failed").start();
    assert_eq!(server.address_at(0), address);
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    assert!(server.reload().contains("Reloaded"), "the same descriptor goes on");
    server.reconfigure("bind = [\"fd://3\", \"fd://4\"]", "");
    let line = server.reload();
    assert!(line.contains("cannot listen on fd://4: only a start can take over a descriptor, no reload"), "{line}");
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_refused() {
    let setup = Setup::hello().set("bind = \"fd://3\"");
    for (wrapper, reason) in [("exec 3</dev/null", "it is no socket"), ("exec 3<&-", "Bad file descriptor")] {
        setup.write();
        let script = format!("{wrapper}; exec \"$@\"");
        let output = setup.run_wrapped(&["sh", "-c", &script, "sh"], &["app.toml"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("cannot listen on fd://3: ") && text.contains("open a listening socket there"),
            "{reason}: {text}"
        );
    }
}

#[test]
fn a_number_of_sockets_that_cannot_be_is_a_mistake_and_not_a_promise() {
    let setup = Setup::hello();
    setup.write();
    let script = "LISTEN_FDS=2147483647 LISTEN_PID=$$ exec \"$@\"";
    let output = setup.run_wrapped(&["sh", "-c", script, "sh"], &["app.toml"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("LISTEN_FDS=2147483647: nobody hands over so many sockets"), "{text}");
}

/// What systemd's variables say to somebody else is none of our business.
#[test]
fn sockets_for_another_process_are_left_alone() {
    let server: Server = Setup::hello().env("LISTEN_FDS", "3").env("LISTEN_PID", "1").start();
    assert_eq!(server.get("/").map(|response| response.status), Ok(200));
    eventually("both serve", PATIENCE, || (server.workers().len() == 2).then_some(()));
    assert!(server.workers().iter().all(|pid| proc::lives(*pid)));
}
