//! The queue at the end, and which errors mean what.

use std::os::unix::net::UnixStream as StdUnixStream;

use rustcorn_scoreboard::{Board, Siblings, State, Threads, Writer};
use rustcorn_sys::Pid;
use tokio::runtime::Builder;

use super::*;

fn in_runtime<T>(work: impl FnOnce() -> T) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    work()
}

#[test]
fn whoever_is_queued_at_the_end_is_taken_and_the_next_is_refused() {
    in_runtime(|| {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let ours = OwnedFd::from(tcp.try_clone().unwrap());
        let mut acceptors = Acceptors::new(vec![Listener::new(ours).unwrap()], None);
        let clients: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut taken = 0;
        acceptors.finish(true, 100, |_| taken += 1);
        assert_eq!(taken, clients.len());
        assert!(std::net::TcpStream::connect(address).is_err(), "refused, though the master still has its copy");
        assert_eq!(tcp.accept().map_err(|error| verdict(&error)).unwrap_err(), Verdict::Closed);
    });
}

#[test]
fn under_load_the_last_look_at_the_queue_ends() {
    in_runtime(|| {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let ours = OwnedFd::from(tcp.try_clone().unwrap());
        let _clients: Vec<_> = (0..5).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let mut taken = 0;
        Acceptors::new(vec![Listener::new(ours).unwrap()], None).finish(false, 3, |_| taken += 1);
        assert_eq!(taken, 3);
        assert!(tcp.accept().is_ok(), "the rest is a sibling's");
    });
}

#[test]
fn unix_sockets_are_served_the_same_way() {
    in_runtime(|| {
        let path = std::env::temp_dir().join(format!("rustcorn-accept-{}", std::process::id()));
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listener = Listener::new(unix.try_clone().unwrap().into()).unwrap();
        assert!(matches!(listener.0.get_ref(), Queue::Unix(_)));
        let _client = StdUnixStream::connect(&path).unwrap();
        let mut taken = 0;
        Acceptors::new(vec![listener], None).finish(true, 100, |socket| {
            assert!(matches!(socket, Socket::Unix(_)));
            taken += 1;
        });
        let refused = StdUnixStream::connect(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(taken, 1);
        assert!(refused.is_err());
    });
}

/// Stops a socket in full while somebody connects whenever the queue was looked at; how many connected, how many were taken.
fn stop_against<C>(listener: Listener, connect: impl Fn() -> io::Result<C>) -> (usize, usize) {
    let (mut clients, mut taken) = (vec![connect().unwrap()], 0);
    let mut acceptors = Acceptors::new(vec![listener], None);
    acceptors.refuse_new();
    acceptors.finish(true, 10, |_| {
        taken += 1;
        clients.extend(connect());
    });
    (clients.len(), taken)
}

#[test]
fn nobody_slips_in_between_the_last_look_at_the_queue_and_the_shutdown() {
    in_runtime(|| {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect_timeout(&address, PAUSE);
        assert_eq!(stop_against(Listener::new(tcp.into()).unwrap(), connect), (1, 1));

        let path = std::env::temp_dir().join(format!("rustcorn-accept-last-{}", std::process::id()));
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let stopped = stop_against(Listener::new(unix.into()).unwrap(), || StdUnixStream::connect(&path));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(stopped, (1, 1));
    });
}

#[test]
fn a_unix_socket_that_a_sibling_has_shut_down_still_hands_out_its_queue() {
    in_runtime(|| {
        let path = std::env::temp_dir().join(format!("rustcorn-accept-sibling-{}", std::process::id()));
        let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut acceptors = Acceptors::new(vec![Listener::new(unix.try_clone().unwrap().into()).unwrap()], None);
        let _clients = [StdUnixStream::connect(&path).unwrap(), StdUnixStream::connect(&path).unwrap()];
        std::fs::remove_file(&path).unwrap();
        shutdown_listener(unix.as_fd()).unwrap();
        let mut taken = 0;
        acceptors.finish(true, 100, |_| taken += 1);
        assert_eq!(taken, 2);
    });
}

#[test]
fn what_is_no_socket_is_refused() {
    in_runtime(|| {
        let (pipe, _end) = rustcorn_sys::fd::pipe().unwrap();
        assert!(Listener::new(pipe).is_err());
    });
}

#[test]
fn a_full_machine_pauses_and_a_lost_client_does_not() {
    let of = |errno| verdict(&io::Error::from_raw_os_error(errno));
    let (emfile, enfile, enobufs, enomem, econnaborted, einval, eperm) = (24, 23, 105, 12, 103, 22, 1);
    for errno in [emfile, enfile, enobufs, enomem] {
        assert_eq!(of(errno), Verdict::Pause);
    }
    for errno in [econnaborted, eperm] {
        assert_eq!(of(errno), Verdict::Next);
    }
    assert_eq!(of(einval), Verdict::Closed);
}

#[test]
fn a_pause_ends_by_itself() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let mut acceptors = Acceptors::new(vec![Listener::new(tcp.into()).unwrap()], None);
        let _client = std::net::TcpStream::connect(address).unwrap();
        let started = Instant::now();
        let full = io::Error::from_raw_os_error(24);
        std::future::poll_fn(|cx| {
            assert!(acceptors.begin_pause(&full, cx).is_pending());
            Poll::Ready(())
        })
        .await;
        std::future::poll_fn(|cx| acceptors.poll_accept(cx)).await;
        assert!(started.elapsed() >= PAUSE);
        assert!(acceptors.warned.is_some());
    });
}

/// On slot 0 of a board on which slot 1 has fewer connections, accepting from this socket; the second value keeps it so.
fn second_to_a_sibling(tcp: std::net::TcpListener) -> (Acceptors, impl Sized) {
    let board = Board::create().unwrap();
    let seat = |slot| {
        board.take_seat(slot, Monotonic::now());
        let writer = Writer::attach(board.fd().try_clone_to_owned().unwrap(), slot, Threads::One).unwrap();
        writer.boot(Pid::this(), 1);
        writer.set_state(State::Ready);
        writer.beat(Monotonic::now());
        writer
    };
    let writers = [seat(0), seat(1)];
    writers[0].connection_opened();
    let mut acceptors = Acceptors::new(vec![Listener::new(tcp.into()).unwrap()], None);
    acceptors.take_turns(Turns::new(Siblings::attach(board.fd().as_fd()).unwrap(), 0));
    (acceptors, writers)
}

fn one_poll<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
    poll(&mut Context::from_waker(std::task::Waker::noop()))
}

#[test]
fn a_connection_is_left_to_a_sibling_that_has_fewer_and_taken_if_that_does_not() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let (mut acceptors, _sibling) = second_to_a_sibling(tcp);
        let _client = std::net::TcpStream::connect(address).unwrap();
        let mut waited = false;
        let begin = std::time::Instant::now();
        let taken = std::future::poll_fn(|cx| {
            let taken = acceptors.poll_accept(cx);
            waited |= acceptors.waits_with() == Some(1);
            taken
        });
        assert!(matches!(taken.await, Socket::Tcp(..)));
        assert!(waited && begin.elapsed() >= crate::balance::PATIENCE);
    });
}

#[test]
fn who_was_left_to_a_sibling_is_not_forgotten_when_the_worker_leaves() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let (mut acceptors, _sibling) = second_to_a_sibling(tcp);
        let _client = std::net::TcpStream::connect(address).unwrap();
        std::future::poll_fn(|cx| {
            assert!(acceptors.poll_accept(cx).is_pending());
            if acceptors.waits_with().is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        acceptors.take_all(); // no event will tell of that client again
        assert!(one_poll(|cx| acceptors.poll_accept(cx)).is_ready());
    });
}

#[test]
fn a_socket_that_a_sibling_shuts_down_is_closed_whosever_turn_it_is() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut acceptors, _sibling) = second_to_a_sibling(tcp.try_clone().unwrap());
        shutdown_listener(tcp.as_fd()).unwrap();
        std::future::poll_fn(|cx| {
            assert!(acceptors.poll_accept(cx).is_pending(), "nobody has come");
            if acceptors.open.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
}
