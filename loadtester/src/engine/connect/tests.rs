//! Which of a name's addresses is taken: each in turn, and another one if it does not answer.

use std::net::{Ipv4Addr, TcpListener};

use super::*;

/// Opens `count` connections to a name that has these addresses; how they ended.
fn open(list: &[SocketAddr], count: usize) -> Vec<Result<SocketAddr, Failure>> {
    let host = Host::parse(&format!("http://two.invalid:{}", list[0].port())).unwrap();
    let connector = Connector::new(None, 0);
    connector.know(&host, list.to_vec());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut ends = Vec::new();
        for _ in 0..count {
            ends.push(connector.open(&host).await.map(|stream| match stream {
                Stream::Tcp(stream) => stream.peer_addr().unwrap(),
                Stream::Tls(_) => unreachable!("the scheme is http"),
            }));
        }
        ends
    })
}

/// As `localhost` is on most machines: two addresses, and a server that listens on one of them.
#[test]
fn an_address_where_nobody_listens_is_no_failure_while_another_one_answers() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let there = listener.local_addr().unwrap();
    let nobody = SocketAddr::from(([127, 0, 0, 2], there.port()));
    for list in [[nobody, there], [there, nobody]] {
        let ends = open(&list, 4);
        assert!(ends.iter().all(|end| end.as_ref() == Ok(&there)), "{list:?}: {ends:?}");
    }
}

#[test]
fn addresses_are_taken_in_turn() {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = first.local_addr().unwrap().port();
    let second = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), port)).unwrap();
    let list = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let ends: Vec<_> = open(&list, 4).into_iter().map(Result::unwrap).collect();
    assert_eq!(ends, [list[0], list[1], list[0], list[1]]);
}

/// A name without an address of this machine's kind says less than one where nobody listens.
#[test]
fn where_nobody_answers_the_refusal_is_told() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let refused = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // A link-local address without its link cannot be connected to.
    let impossible = SocketAddr::from(([0xfe80, 0, 0, 0, 0, 0, 0, 1], port));
    for list in [[refused, impossible], [impossible, refused]] {
        let end = open(&list, 1).remove(0);
        assert_eq!(end.unwrap_err().kind, ErrorKind::Refused, "{list:?}");
    }
}
