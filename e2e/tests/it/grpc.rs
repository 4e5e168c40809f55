//! gRPC as its clients see it: the example `grpc`, over HTTP/2 without TLS.

use std::cell::Cell;
use std::fmt;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{self, StreamExt};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::harness::http2::{Here, run};
use crate::harness::{PATIENCE, Server, Setup, eventually};

#[path = "../../../examples/src/bin/grpc/messages.rs"]
mod messages;
use messages::{HelloReply, HelloRequest};

/// The request was not sent, as the connection ends; another one will do.
#[derive(Debug)]
struct NotSent;

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not sent")
    }
}

impl std::error::Error for NotSent {}

/// A connection, as tonic wants to have it.
#[derive(Clone)]
struct Channel(SendRequest<tonic::body::Body>);

impl Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<Incoming>;
    type Error = tonic::codegen::StdError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx).map_err(|_| NotSent.into())
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let sent = self.0.try_send_request(request);
        Box::pin(async move {
            sent.await
                .map_err(|error| if error.message().is_some() { NotSent.into() } else { error.into_error().into() })
        })
    }
}

struct Greeter(Grpc<Channel>);

type Codec = ProstCodec<HelloRequest, HelloReply>;

fn hello(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned() }
}

/// What a client says in the course of a call.
fn spoken() -> (mpsc::UnboundedSender<HelloRequest>, impl stream::Stream<Item = HelloRequest> + Send + 'static) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|said| (said, receiver)) }))
}

impl Greeter {
    async fn at(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).await.expect("the server accepts");
        let (sender, connection) = handshake(Here, TokioIo::new(socket)).await.expect("it speaks HTTP/2");
        drop(spawn_local(connection)); // goes on without its handle
        Self(Grpc::with_origin(Channel(sender), http::Uri::from_static("http://localhost")))
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.0.ready().await.map_err(Status::from_error)
    }

    async fn say_hello(&mut self, name: &str) -> Result<String, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/hello.Greeter/SayHello");
        let reply = self.0.unary::<_, HelloReply, _>(Request::new(hello(name)), path, Codec::default()).await?;
        Ok(reply.into_inner().message)
    }

    async fn greet_each(&mut self, names: &str) -> Result<Streaming<HelloReply>, Status> {
        self.ready().await?;
        let path = PathAndQuery::from_static("/hello.Greeter/GreetEach");
        Ok(self.0.server_streaming(Request::new(hello(names)), path, Codec::default()).await?.into_inner())
    }

    async fn greet_all<S>(&mut self, request: Request<S>) -> Result<String, Status>
    where
        S: stream::Stream<Item = HelloRequest> + Send + 'static,
    {
        self.ready().await?;
        let path = PathAndQuery::from_static("/hello.Greeter/GreetAll");
        let reply = self.0.client_streaming::<_, _, HelloReply, _>(request, path, Codec::default()).await?;
        Ok(reply.into_inner().message)
    }

    async fn chat<S>(&mut self, said: S) -> Result<Streaming<HelloReply>, Status>
    where
        S: stream::Stream<Item = HelloRequest> + Send + 'static,
    {
        self.ready().await?;
        let path = PathAndQuery::from_static("/hello.Greeter/Chat");
        Ok(self.0.streaming(Request::new(said), path, Codec::default()).await?.into_inner())
    }
}

async fn next(replies: &mut Streaming<HelloReply>) -> Option<String> {
    let reply = timeout(PATIENCE, replies.message()).await.expect("in time").expect("no error");
    reply.map(|reply| reply.message)
}

/// Whether the call did not reach the server, which had said that it would not take it.
fn was_not_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<NotSent>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn start(set: &str) -> Server {
    let set = format!("http2_cleartext = \"prior-knowledge\"\n{set}");
    Setup::example("grpc", "greeting = \"Hello\"\n").set(&set).start()
}

#[test]
fn calls_of_all_four_kinds_with_the_limits_of_bodies_in_force() {
    let server = start("workers = 1\nmax_body_size = 65536\nbody_timeout = 1");
    run(async {
        let mut greeter = Greeter::at(server.address()).await;
        assert_eq!(greeter.say_hello("world").await.expect("greeted"), "Hello, world");
        assert_eq!(greeter.say_hello("").await.expect_err("nobody").code(), Code::InvalidArgument);

        let mut replies = greeter.greet_each("one two").await.expect("greeted");
        assert_eq!(next(&mut replies).await.as_deref(), Some("Hello, one"));
        assert_eq!(next(&mut replies).await.as_deref(), Some("Hello, two"));
        assert_eq!(next(&mut replies).await, None);

        let all = greeter.greet_all(Request::new(stream::iter(["one", "two"]).map(hello))).await;
        assert_eq!(all.expect("greeted"), "Hello, one and two");

        let (say, said) = spoken();
        let mut replies = greeter.chat(said).await.expect("a chat");
        say.send(hello("one")).expect("it listens");
        assert_eq!(next(&mut replies).await.as_deref(), Some("Hello, one"));
        // Silent for longer than a body may stand still.
        timeout(Duration::from_millis(2500), replies.message()).await.expect_err("nothing is said");
        say.send(hello("two")).expect("it listens");
        assert_eq!(next(&mut replies).await.as_deref(), Some("Hello, two"));
        drop(say);
        assert_eq!(next(&mut replies).await, None);

        let refused = greeter.say_hello(&"x".repeat(100_000)).await.expect_err("too large");
        assert!(refused.message().contains("413"), "{refused:?}");
        assert_eq!(greeter.say_hello("others").await.expect("greeted"), "Hello, others");
    });
    server.wait_for_line("Invalid request from ip=127.0.0.1: body over max_body_size");
}

#[test]
fn a_call_ends_with_its_deadline() {
    let server = start("workers = 1");
    run(async {
        let mut greeter = Greeter::at(server.address()).await;
        let (say, said) = spoken();
        let mut request = Request::new(said);
        request.set_timeout(Duration::from_millis(300));
        let status = timeout(PATIENCE, greeter.greet_all(request)).await.expect("it ends").expect_err("not in time");
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(greeter.say_hello("world").await.expect("greeted"), "Hello, world");
        drop(say);
    });
}

#[test]
fn a_reload_ends_no_call_and_fails_none() {
    const NAMES: usize = 20_000;
    let server = start("workers = 2");
    let old = server.settled(2);
    let (reloaded, done) = (Notify::new(), Cell::new(false));
    let calls = run(async {
        let mut greeter = Greeter::at(server.address()).await;
        let (say, said) = spoken();
        let mut chat = greeter.chat(said).await.expect("a chat");
        say.send(hello("before")).expect("it listens");
        assert_eq!(next(&mut chat).await.as_deref(), Some("Hello, before"));
        let mut each = greeter.greet_each(&"x ".repeat(NAMES)).await.expect("greeted"); // more than a window has room for
        assert_eq!(next(&mut each).await.as_deref(), Some("Hello, x"));
        let (tell, told) = spoken();
        tell.send(hello("before")).expect("it listens");
        let mut other = Greeter(greeter.0.clone());
        let all = spawn_local(async move { other.greet_all(Request::new(told)).await });

        let unary = async {
            let (mut calls, mut greeter) = (0, Greeter::at(server.address()).await);
            while !done.get() {
                match greeter.say_hello("world").await {
                    Ok(reply) => assert_eq!(reply, "Hello, world"),
                    Err(status) if was_not_sent(&status) => {
                        greeter = Greeter::at(server.address()).await;
                        continue;
                    }
                    Err(status) => panic!("call {calls} failed: {status:?}"),
                }
                calls += 1;
                if calls == 100 {
                    server.signal(crate::harness::Sig::SIGHUP);
                }
                if calls % 100 == 0 && server.said("Reloaded: ") {
                    reloaded.notify_one();
                }
            }
            calls
        };
        let streams = async {
            timeout(PATIENCE, reloaded.notified()).await.expect("reloaded");
            say.send(hello("after")).expect("it listens");
            assert_eq!(next(&mut chat).await.as_deref(), Some("Hello, after"));
            tell.send(hello("after")).expect("it listens");
            drop((say, tell));
            assert_eq!(next(&mut chat).await, None);
            assert_eq!(all.await.expect("no panic").expect("greeted"), "Hello, before and after");
            let mut rest = 1;
            while next(&mut each).await.is_some() {
                rest += 1;
            }
            assert_eq!(rest, NAMES);
            done.set(true);
        };
        futures_util::future::join(unary, streams).await.0
    });
    assert!(calls > 100, "{calls}");
    eventually("the old workers have left", PATIENCE, || server.workers().is_disjoint(&old).then_some(()));
}
