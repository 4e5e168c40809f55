//! The metrics of requests. A request costs one measurement on a series whose attributes were made when it was first seen.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundHistogram, Histogram, Meter, ObservableUpDownCounter};

use super::facts::{MOST_METHODS, MethodId, Methods, Trouble, error_type};
use super::route::Route;

/// The conventions' buckets, in seconds.
const BUCKETS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// The SDK folds more sets of attributes than this into one for the overflow; so many are worth keeping.
const MOST_SERIES: usize = 2000;

/// What tells one series of `http.server.request.duration` from another.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Series {
    pub(crate) method: MethodId,
    /// The client speaks https.
    pub(crate) secure: bool,
    pub(crate) version: &'static str,
    pub(crate) status: Option<StatusCode>,
    pub(crate) trouble: Trouble,
    pub(crate) route: Option<Route>,
}

/// The instruments of one worker.
pub(crate) struct Instruments {
    methods: Methods,
    duration: Histogram<f64>,
    series: RwLock<HashMap<Series, BoundHistogram<f64>, BuildHasherDefault<Mix>>>,
    /// By whether they are secure.
    active: Arc<[[AtomicI64; MOST_METHODS]; 2]>,
}

const SCHEMES: [&str; 2] = ["http", "https"];

impl Instruments {
    /// `usual`: the scheme of requests about which nobody says otherwise.
    pub(crate) fn new(meter: &Meter, methods: &Methods, usual: &'static str) -> Self {
        let active: Arc<[[AtomicI64; MOST_METHODS]; 2]> =
            Arc::new([const { [const { AtomicI64::new(0) }; MOST_METHODS] }; 2]);
        let (seen, names) = (Arc::clone(&active), methods.clone());
        // The callback stays when the instrument is dropped.
        let _: ObservableUpDownCounter<i64> = meter
            .i64_observable_up_down_counter("http.server.active_requests")
            .with_unit("{request}")
            .with_description("Number of active HTTP server requests.")
            .with_callback(move |observer| {
                for (scheme, seen) in SCHEMES.iter().zip(&*seen) {
                    for id in names.all() {
                        let count = seen[id.index()].load(Relaxed);
                        if count != 0 || (*scheme == usual && names.name(id) == "GET") {
                            let method = KeyValue::new("http.request.method", names.name(id));
                            observer.observe(count, &[method, KeyValue::new("url.scheme", *scheme)]);
                        }
                    }
                }
            })
            .build();
        let duration = meter
            .f64_histogram("http.server.request.duration")
            .with_unit("s")
            .with_description("Duration of HTTP server requests.")
            .with_boundaries(BUCKETS.to_vec())
            .build();
        Self { methods: methods.clone(), duration, series: RwLock::default(), active }
    }

    pub(crate) fn begin(&self, method: MethodId, secure: bool) {
        self.active[usize::from(secure)][method.index()].fetch_add(1, Relaxed);
    }

    pub(crate) fn end(&self, series: Series, took: Duration) {
        self.active[usize::from(series.secure)][series.method.index()].fetch_sub(1, Relaxed);
        let took = took.as_secs_f64();
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner); // a map is whole between two inserts
        if let Some(bound) = known.get(&series) {
            return bound.record(took);
        }
        drop(known);
        self.first(series, took);
    }

    #[cold]
    fn first(&self, series: Series, took: f64) {
        let attributes = self.attributes(&series);
        let mut known = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_SERIES {
            drop(known);
            return self.duration.record(took, &attributes);
        }
        known.entry(series).or_insert_with(|| self.duration.bind(&attributes)).record(took);
    }

    fn attributes(&self, series: &Series) -> Vec<KeyValue> {
        let status = series.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        let error = error_type(series.status, series.trouble).map(|error| KeyValue::new("error.type", error));
        let route = series.route.as_ref().map(|route| KeyValue::new("http.route", route.value()));
        let always = [
            KeyValue::new("http.request.method", self.methods.name(series.method)),
            KeyValue::new("url.scheme", SCHEMES[usize::from(series.secure)]),
            KeyValue::new("network.protocol.version", series.version),
        ];
        always.into_iter().chain(status).chain(error).chain(route).collect()
    }
}

/// A quick hash: what is hashed is chosen by the application, not by clients.
#[derive(Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.cast_unsigned() as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
#[path = "instruments_tests.rs"]
pub(super) mod tests;
