//! What tonic-prost-build makes of this file, in short, so that the example needs no `protoc`:
//!
//! ```proto
//! syntax = "proto3";
//! package hello;
//! message HelloRequest { string name = 1; }
//! message HelloReply { string message = 1; }
//! service Greeter {
//!   rpc SayHello(HelloRequest) returns (HelloReply);
//!   rpc GreetEach(HelloRequest) returns (stream HelloReply);
//!   rpc GreetAll(stream HelloRequest) returns (HelloReply);
//!   rpc Chat(stream HelloRequest) returns (stream HelloReply);
//! }
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::messages::{HelloReply, HelloRequest};

pub(crate) type Replies = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
pub(crate) trait Greeter: Send + Sync + 'static {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status>;
    async fn greet_each(&self, request: Request<HelloRequest>) -> Result<Response<Replies>, Status>;
    async fn greet_all(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<HelloReply>, Status>;
    async fn chat(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status>;
}

pub(crate) struct GreeterServer<T>(Arc<T>);

impl<T> GreeterServer<T> {
    pub(crate) fn new(greeter: T) -> Self {
        Self(Arc::new(greeter))
    }
}

impl<T> Clone for GreeterServer<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> NamedService for GreeterServer<T> {
    const NAME: &'static str = "hello.Greeter";
}

impl<T, B> Service<http::Request<B>> for GreeterServer<T>
where
    T: Greeter,
    B: tonic::codegen::Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let (greeter, path) = (Arc::clone(&self.0), request.uri().path().to_owned());
        let mut grpc = Grpc::new(ProstCodec::<HelloReply, HelloRequest>::default());
        let greeter = move || Arc::clone(&greeter);
        Box::pin(async move {
            Ok(match &*path {
                "/hello.Greeter/SayHello" => {
                    let method = service_fn(|request| {
                        let greeter = greeter();
                        async move { greeter.say_hello(request).await }
                    });
                    grpc.unary(method, request).await
                }
                "/hello.Greeter/GreetEach" => {
                    let method = service_fn(|request| {
                        let greeter = greeter();
                        async move { greeter.greet_each(request).await }
                    });
                    grpc.server_streaming(method, request).await
                }
                "/hello.Greeter/GreetAll" => {
                    let method = service_fn(|request| {
                        let greeter = greeter();
                        async move { greeter.greet_all(request).await }
                    });
                    grpc.client_streaming(method, request).await
                }
                "/hello.Greeter/Chat" => {
                    let method = service_fn(|request| {
                        let greeter = greeter();
                        async move { greeter.chat(request).await }
                    });
                    grpc.streaming(method, request).await
                }
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}
