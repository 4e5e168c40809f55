//! Spans of the application below the request's, a metric of its own, and routes by name. With `otlp_endpoint` set they are
//! sent with the server's own; without, they cost next to nothing.

use std::process::ExitCode;

use axum::Router;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::post;
use rustcorn::Context;
use rustcorn::opentelemetry::KeyValue;
use rustcorn::opentelemetry::metrics::Histogram;
use rustcorn::opentelemetry::trace::{FutureExt, Status, TraceContextExt, Tracer};

fn main() -> ExitCode {
    rustcorn::run(|ctx| async move {
        let values = ctx
            .meter()
            .f64_histogram("shop.order.value")
            .with_unit("{EUR}")
            .with_description("What orders are worth.")
            .build();
        let routes = Router::new().route("/orders/{id}", post(order));
        Ok(routes.route_layer(from_fn(say_route)).with_state(Shop { ctx, values }))
    })
}

#[derive(Clone)]
struct Shop {
    ctx: Context,
    values: Histogram<f64>,
}

/// Names the request's span and labels its duration: `/orders/{id}`, and not a name for each order.
async fn say_route(path: MatchedPath, request: Request, next: Next) -> Response {
    rustcorn::Route::from(path.as_str().to_owned()).set();
    next.run(request).await
}

async fn order(State(shop): State<Shop>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    let tracer = shop.ctx.tracer();
    // A span around code that does not wait.
    let price = tracer.in_span("look up the price", |cx| {
        cx.span().set_attribute(KeyValue::new("order.id", i64::from(id)));
        f64::from(id % 100) + 0.99
    });
    // A span around code that does: the context goes with the future, to whichever moment it is polled in.
    let cx = rustcorn::opentelemetry::Context::current_with_span(tracer.start("charge the customer"));
    let charged = charge(id).with_context(cx.clone()).await;
    if let Err(why) = charged {
        cx.span().set_status(Status::error(why));
        tracing::warn!(order = id, "cannot charge: {why}"); // joins the log with the trace of this request
        return Err(StatusCode::PAYMENT_REQUIRED);
    }
    cx.span().end();
    shop.values.record(price, &[KeyValue::new("currency", "EUR")]);
    Ok(format!("order {id}: {price} EUR\n"))
}

async fn charge(id: u32) -> Result<(), &'static str> {
    tokio::task::yield_now().await; // stands for a request to somebody else
    if id == 13 { Err("no credit") } else { Ok(()) }
}
