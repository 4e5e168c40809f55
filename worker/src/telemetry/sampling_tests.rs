//! The decision is the SDK's own, made earlier.

use opentelemetry::Context;
use opentelemetry::trace::{SpanKind, TraceContextExt, TraceFlags, TraceState};
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};

use super::*;

fn parent(sampled: bool) -> SpanContext {
    let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
    SpanContext::new(TraceId::from(5), SpanId::from(7), flags, true, TraceState::NONE)
}

#[test]
fn it_agrees_with_the_sdk_for_any_trace_and_parent() {
    let ids = Ids::default();
    for parent_based in [true, false] {
        for ratio in [0.0, 0.001, 0.01, 0.5, 0.999, 1.0] {
            let ours = Sampling::new(parent_based, ratio);
            let theirs = ours.for_sdk();
            for parent in [None, Some(parent(true)), Some(parent(false))] {
                let context = parent.clone().map(|parent| Context::new().with_remote_span_context(parent));
                for _ in 0..200 {
                    let trace = ids.new_trace_id();
                    let result = theirs.should_sample(context.as_ref(), trace, "", &SpanKind::Server, &[], &[]);
                    let expected = result.decision == SamplingDecision::RecordAndSample;
                    assert_eq!(ours.samples(trace, parent.as_ref()), expected, "{ours:?} {trace} {parent:?}");
                }
            }
        }
    }
}

#[test]
fn the_ratio_is_the_share_of_roots() {
    let (ids, sampling) = (Ids::default(), Sampling::new(true, 0.25));
    let sampled = (0..40_000).filter(|_| sampling.samples(ids.new_trace_id(), None)).count();
    assert!((9_400..10_600).contains(&sampled), "{sampled}"); // 7 sigmas wide
}

#[test]
fn a_chosen_trace_is_used_once() {
    let ids = Ids::default();
    Ids::choose(TraceId::from(9));
    assert_eq!(ids.new_trace_id(), TraceId::from(9));
    assert_ne!(ids.new_trace_id(), TraceId::from(9));
}
