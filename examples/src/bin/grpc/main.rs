//! gRPC with tonic. rustcorn is the transport: tonic is used without its own.
//!
//! Clients speak HTTP/2, over TLS or with `http2_cleartext = "prior-knowledge"`, as it is common behind a mesh or a balancer. Over
//! HTTP/1.1 they speak gRPC-Web (browsers do), which the layer of tonic-web translates.

mod deadline;
mod greeter;
mod messages;

use std::process::ExitCode;

use deadline::Deadline;
use futures_util::{StreamExt, stream};
use greeter::{Greeter, GreeterServer, Replies};
use messages::{HelloReply, HelloRequest};
use rustcorn::BoxError;
use serde::Deserialize;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_web::GrpcWebLayer;
use tower::Layer;

/// Keys of `[app]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    greeting: String,
}

fn main() -> ExitCode {
    rustcorn::run(|ctx| async move {
        let Config { greeting } = ctx.config()?;
        let routes = Routes::new(GreeterServer::new(English { greeting })).prepare();
        Ok::<_, BoxError>(GrpcWebLayer::new().layer(Deadline(routes)))
    })
}

#[derive(Clone)]
struct English {
    greeting: String,
}

impl English {
    fn greet(&self, name: &str) -> Result<HelloReply, Status> {
        if name.is_empty() {
            return Err(Status::invalid_argument("whom shall I greet?"));
        }
        Ok(HelloReply { message: format!("{}, {name}", self.greeting) })
    }
}

#[tonic::async_trait]
impl Greeter for English {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.greet(&request.get_ref().name).map(Response::new)
    }

    /// A reply for each name.
    async fn greet_each(&self, request: Request<HelloRequest>) -> Result<Response<Replies>, Status> {
        let names = request.into_inner().name;
        let replies: Vec<_> = names.split_whitespace().map(|name| self.greet(name)).collect();
        Ok(Response::new(Box::pin(stream::iter(replies))))
    }

    /// One reply for all names.
    async fn greet_all(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<HelloReply>, Status> {
        let (mut requests, mut names) = (request.into_inner(), Vec::new());
        while let Some(request) = requests.message().await? {
            names.push(request.name);
        }
        self.greet(&names.join(" and ")).map(Response::new)
    }

    /// A reply for each name as it comes.
    async fn chat(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<Replies>, Status> {
        let english = self.clone();
        let replies = request.into_inner().map(move |request| english.greet(&request?.name));
        Ok(Response::new(Box::pin(replies)))
    }
}
