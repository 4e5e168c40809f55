//! Which requests get spans: decided from two headers and a random number, before anything about the request is written down.

use std::cell::Cell;

use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler};

/// A sampler of the specification: a ratio for roots, and whether others follow their parent.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Sampling {
    parent_based: bool,
    ratio: f64,
    /// The ratio as a share of 2^63.
    bound: u64,
}

impl Sampling {
    pub(crate) fn new(parent_based: bool, ratio: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 2^63")]
        let bound = (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Self { parent_based, ratio, bound }
    }

    /// The decision for a request; `parent` as its headers say, if they say so.
    pub(crate) fn samples(&self, trace: TraceId, parent: Option<&SpanContext>) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.is_sampled(),
            _ => self.samples_root(trace),
        }
    }

    /// The rule of `TraceIdRatioBased`, so that services with the same ratio choose the same traces.
    fn samples_root(&self, trace: TraceId) -> bool {
        let bytes = trace.to_bytes();
        let low = u64::from_be_bytes(bytes[8..].try_into().expect("a trace id has 16 bytes"));
        (low >> 1) < self.bound
    }

    /// The same for the SDK, which asks for each span that the application starts.
    pub(crate) fn for_sdk(&self) -> Sampler {
        let root = Sampler::TraceIdRatioBased(self.ratio);
        if self.parent_based { Sampler::ParentBased(Box::new(root)) } else { root }
    }
}

/// Random identifiers. A trace's can be chosen beforehand: the sampling decision needs it before there is a span.
#[derive(Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

thread_local! {
    static CHOSEN: Cell<Option<TraceId>> = const { Cell::new(None) };
}

impl Ids {
    /// The next root span that this thread starts belongs to `trace`.
    pub(crate) fn choose(trace: TraceId) {
        CHOSEN.set(Some(trace));
    }
}

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        CHOSEN.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}

#[cfg(test)]
#[path = "sampling_tests.rs"]
mod tests;
