//! State that is not `Send`: a worker is one thread, so an `Rc` does, without a lock and without an atomic operation.
//!
//! The service is a function (`tower::service_fn`) on plain `http` types; no framework is needed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::process::ExitCode;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use rustcorn::Body;

/// How often each path was asked for, in this worker.
type Visits = Rc<RefCell<BTreeMap<String, u64>>>;

fn main() -> ExitCode {
    rustcorn::run(|_| async {
        let visits = Visits::default();
        Ok(tower::service_fn(move |request| answer(Rc::clone(&visits), request)))
    })
}

async fn answer(visits: Visits, request: Request<Body>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path();
    // Never held across an await: another request of this thread may want it meanwhile.
    let count = {
        let mut visits = visits.borrow_mut();
        let count = visits.entry(path.to_owned()).or_default();
        *count += 1;
        *count
    };
    Ok(Response::new(format!("{path}: {count}\n").into()))
}
