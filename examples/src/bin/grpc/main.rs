//! gRPC with tonic. rustcorn is the transport: tonic is used without its own.
//!
//! Over HTTP/1.1 clients speak gRPC-Web (browsers do), which the layer of tonic-web translates.

mod greeter;

use std::process::ExitCode;

use greeter::{Greeter, GreeterServer, HelloReply, HelloRequest};
use rustcorn::BoxError;
use serde::Deserialize;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
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
        Ok::<_, BoxError>(GrpcWebLayer::new().layer(routes))
    })
}

struct English {
    greeting: String,
}

#[tonic::async_trait]
impl Greeter for English {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let name = request.into_inner().name;
        if name.is_empty() {
            return Err(Status::invalid_argument("whom shall I greet?"));
        }
        Ok(Response::new(HelloReply { message: format!("{}, {name}", self.greeting) }))
    }
}
