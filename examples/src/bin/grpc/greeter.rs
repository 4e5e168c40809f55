//! What tonic-prost-build makes of this file, in short, so that the example needs no `protoc`:
//!
//! ```proto
//! syntax = "proto3";
//! package hello;
//! message HelloRequest { string name = 1; }
//! message HelloReply { string message = 1; }
//! service Greeter { rpc SayHello(HelloRequest) returns (HelloReply); }
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, StdError, http};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HelloRequest {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HelloReply {
    #[prost(string, tag = "1")]
    pub(crate) message: String,
}

#[tonic::async_trait]
pub(crate) trait Greeter: Send + Sync + 'static {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status>;
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
        match request.uri().path() {
            "/hello.Greeter/SayHello" => {
                let method = SayHello(Arc::clone(&self.0));
                Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(method, request).await) })
            }
            _ => Box::pin(async move { Ok(Status::unimplemented("").into_http()) }),
        }
    }
}

struct SayHello<T>(Arc<T>);

impl<T: Greeter> UnaryService<HelloRequest> for SayHello<T> {
    type Response = HelloReply;
    type Future = BoxFuture<Response<HelloReply>, Status>;

    fn call(&mut self, request: Request<HelloRequest>) -> Self::Future {
        let greeter = Arc::clone(&self.0);
        Box::pin(async move { greeter.say_hello(request).await })
    }
}
