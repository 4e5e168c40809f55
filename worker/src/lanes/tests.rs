use std::future::poll_fn;
use std::net::{SocketAddr, TcpStream};
use std::task::Poll;

use rustcorn_sys::fd::memfd;
use rustcorn_sys::socket::{listen_tcp, local_address};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep_until};

use super::*;
use crate::accept::Acceptors;
use crate::testing::PATIENCE;

#[test]
fn a_lane_is_served_if_any_worker_on_it_serves() {
    assert_eq!(served(&[1, 0, 0, 1], 4), [true, false, false, true]);
    assert_eq!(served(&[1, 0, 0, 0], 2), [true, false]);
    assert_eq!(served(&[0, 0, 0, 1], 2), [false, true]);
    assert_eq!(served(&[], 2), [false, false], "a table that cannot be read");
}

/// Two lanes of one port, in the hands of a worker that has lane 0.
struct Scene {
    sockets: Vec<OwnedFd>,
    address: SocketAddr,
    table: File,
    acceptors: Acceptors,
}

impl Scene {
    fn new(table: &[u8]) -> Self {
        let first = listen_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), false, true, 64).expect("a free port");
        let address = local_address(&first).expect("it is bound");
        let second = listen_tcp(address, false, true, 64).expect("the port is shared");
        let sockets = vec![first, second];
        let table = File::from(memfd("lanes", table).expect("memory"));
        let plan = LanePlan { table: table.try_clone().expect("descriptors").into(), own: 0, counts: vec![2] };
        let copies = sockets.iter().map(|socket| socket.try_clone().expect("descriptors")).collect();
        let (shared, lanes) = arrange(copies, Some(plan)).expect("they are sockets");
        Self { sockets, address, table, acceptors: Acceptors::new(shared, lanes) }
    }

    fn serve(&self, lane: u64, serves: bool) {
        self.table.write_all_at(&[u8::from(serves)], lane).expect("memory");
    }

    /// Connects until something waits on a lane.
    fn fill(&self, lane: usize) -> Vec<TcpStream> {
        let waits = || accept_queue(self.sockets[lane].as_fd()).expect("it listens") > 0;
        let mut clients = Vec::new();
        while !waits() {
            clients.push(TcpStream::connect(self.address).expect("it listens"));
            assert!(clients.len() < 100, "the kernel spreads them");
        }
        clients
    }

    /// Accepts for so many looks.
    async fn accept_for(&mut self, looks: u32) -> usize {
        let mut count = 0;
        let mut end = std::pin::pin!(sleep_until(Instant::now() + LOOK * looks));
        poll_fn(|cx| {
            while self.acceptors.poll_accept(cx).is_ready() {
                count += 1;
            }
            end.as_mut().poll(cx)
        })
        .await;
        count
    }

    /// Accepts until nobody waits on a lane. How soon that is depends on how often this thread has its turn.
    async fn accept_all_of(&mut self, lane: usize) {
        let give_up = Instant::now() + PATIENCE;
        while self.waiting(lane) > 0 {
            assert!(Instant::now() < give_up, "nobody accepts from lane {lane}");
            self.accept_for(1).await;
        }
    }

    fn waiting(&self, lane: usize) -> u32 {
        accept_queue(self.sockets[lane].as_fd()).expect("it listens")
    }
}

fn with_scene(table: &[u8], story: impl AsyncFnOnce(Scene)) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { story(Scene::new(table)).await });
}

#[test]
fn the_lane_of_a_sibling_is_left_to_it_until_it_is_gone() {
    with_scene(&[1, 1], async |mut scene| {
        let _clients = scene.fill(1);
        let others = scene.waiting(1);
        scene.accept_for(3).await;
        assert_eq!((scene.waiting(0), scene.waiting(1)), (0, others));
        scene.serve(1, false);
        scene.accept_all_of(1).await; // nobody else would
        scene.serve(1, true);
        scene.accept_for(3).await;
        let _more = scene.fill(1);
        let others = scene.waiting(1);
        scene.accept_for(3).await;
        assert_eq!(scene.waiting(1), others, "its worker is back");
    });
}

#[test]
fn a_queue_that_does_not_move_is_taken_care_of() {
    with_scene(&[1, 1], async |mut scene| {
        let _clients = scene.fill(1);
        scene.accept_all_of(1).await; // whoever serves that lane hangs
    });
}

#[test]
fn in_the_end_every_queue_is_emptied() {
    with_scene(&[1, 1], async |mut scene| {
        let clients = scene.fill(1);
        scene.acceptors.hold_all();
        let mut taken = 0;
        scene.acceptors.finish(true, 100, |_| taken += 1);
        assert_eq!(taken, clients.len());
        let refused = TcpStream::connect(scene.address).expect_err("both are shut down");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert!(matches!(futures_ready(&mut scene).await, Poll::Pending));
    });
}

/// Whether there is anything to accept now.
async fn futures_ready(scene: &mut Scene) -> Poll<()> {
    poll_fn(|cx| Poll::Ready(scene.acceptors.poll_accept(cx).map(drop))).await
}
