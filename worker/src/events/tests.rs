use std::cell::RefCell;

use opentelemetry::Context as Telemetry;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use rustcorn_sys::log::{json, set_format};
use tracing::{debug, error, info, info_span, warn};
use tracing_subscriber::Registry;

use super::*;

#[derive(Debug)]
struct Said {
    level: Severity,
    message: String,
    origin: Origin,
    fields: Value,
}

thread_local! {
    static SAID: RefCell<Vec<Said>> = const { RefCell::new(Vec::new()) };
}

fn keep(record: &Record<'_>) {
    let fields = record.fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect();
    let origin = record.origin.expect("events have one").clone();
    let said = Said { level: record.level, message: record.message.to_string(), origin, fields };
    SAID.with_borrow_mut(|all| all.push(said));
}

/// What `code` said, where `directives` are in RUST_LOG.
fn said(directives: &str, code: impl FnOnce()) -> Vec<Said> {
    let wanted = Wanted::read(directives).unwrap();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(Events(keep).with_filter(wanted)), code);
    SAID.take()
}

#[test]
fn frames_of_http2_are_told_to_those_who_ask_for_them() {
    for (target, level, passes) in [
        ("h2::codec::framed_read", Level::DEBUG, false),
        ("h2::proto", Level::WARN, true),
        ("shop::h2", Level::DEBUG, true),
        ("shop", Level::TRACE, false),
    ] {
        assert_eq!(super::passes(target, level, Severity::Debug), passes, "{target}");
    }
    let all = said("debug", || debug!(target: "h2::codec::framed_read", "received"));
    assert_eq!(all.len(), 1);
}

#[test]
fn an_event_is_a_line_with_its_fields() {
    let all = said("trace", || {
        let cause = std::io::Error::other("disk full");
        warn!(rows = 3, name = "a b", ratio = 0.5, nan = f64::NAN, ok = true, debug = ?Some(1), "slow {}", "query");
        error!(error = &cause as &dyn Error, big = u128::MAX);
        tracing::trace!(target: "elsewhere", "fine");
        debug!("fine");
        info!(n = -1);
    });
    let [first, second, ..] = &all[..] else { panic!("{all:?}") };
    assert_eq!((first.level, first.message.as_str()), (Severity::Warning, "slow query"));
    let fields = json!({"rows": 3, "name": "a b", "ratio": 0.5, "nan": "NaN", "ok": true, "debug": "Some(1)"});
    assert_eq!((Value::from(first.origin.fields.clone()), first.origin.target.as_str()), (fields, module_path!()));
    let place = &first.fields["logging.googleapis.com/sourceLocation"];
    assert!(place.is_null() || place["file"] == file!(), "{place}");
    let fields = json!({"error": "disk full", "big": "340282366920938463463374607431768211455"});
    assert_eq!((Value::from(second.origin.fields.clone()), second.message.as_str()), (fields, ""));
    let levels: Vec<_> = all.iter().map(|said| said.level).collect();
    assert_eq!(levels, [Severity::Warning, Severity::Error, Severity::Debug, Severity::Debug, Severity::Info]);
    assert_eq!(all[2].origin.target, "elsewhere");
}

#[test]
fn spans_go_along_the_outermost_first() {
    let all = said("info", || {
        let outer = info_span!("checkout", cart = 7, later = tracing::field::Empty);
        outer.record("later", "known");
        outer.in_scope(|| {
            info_span!("pay", message = "by card").in_scope(|| info!("inside"));
            tracing::debug_span!("not wanted").in_scope(|| info!("between"));
        });
        info!("outside");
    });
    let spans = |at: usize| -> Vec<(&str, Value)> {
        all[at].origin.spans.iter().map(|(name, fields)| (*name, fields.clone().into())).collect()
    };
    let checkout = ("checkout", json!({"cart": 7, "later": "known"}));
    assert_eq!(spans(0), [checkout.clone(), ("pay", json!({"message": "by card"}))]);
    assert_eq!(spans(1), [checkout]);
    assert_eq!(spans(2), []);
}

#[test]
fn records_of_log_are_events_under_their_own_name() {
    let all = said("info,noisy=error", || {
        for (level, target) in
            [(::log::Level::Warn, "library"), (::log::Level::Debug, "library"), (::log::Level::Warn, "noisy")]
        {
            let arguments = format_args!("by way of log");
            let record = ::log::Record::builder().level(level).target(target).args(arguments).line(Some(3)).build();
            tracing_log::format_trace(&record).unwrap();
        }
    });
    let [only] = &all[..] else { panic!("{all:?}") };
    assert_eq!((only.level, only.message.as_str()), (Severity::Warning, "by way of log"));
    assert_eq!(only.origin, Origin { target: "library".into(), ..Origin::default() });
}

#[test]
fn the_trace_is_that_of_the_context() {
    set_format(Format::Json);
    let span = SpanContext::new(TraceId::from(0xab), SpanId::from(7), TraceFlags::NOT_SAMPLED, true, TraceState::NONE);
    let all = said("info", || {
        info!("outside");
        let _inside = Telemetry::new().with_remote_span_context(span).attach();
        info!("inside");
    });
    let trace = |at: usize| all[at].fields.get("logging.googleapis.com/trace").cloned();
    assert_eq!((trace(0), trace(1)), (None, Some("000000000000000000000000000000ab".into())));
    assert_eq!(all[1].fields["logging.googleapis.com/spanId"], "0000000000000007");
    assert_eq!(all[1].fields["logging.googleapis.com/trace_sampled"], false);
    assert_eq!(all[1].fields["logging.googleapis.com/sourceLocation"]["file"], file!());
}

#[test]
fn what_nobody_wants_is_known_not_to_be_wanted() {
    let hint = |wanted: &Wanted| Filter::<Registry>::max_level_hint(wanted);
    assert_eq!(hint(&Wanted::read("warn,shop::db=debug").unwrap()), Some(LevelFilter::DEBUG));
    assert_eq!(hint(&Wanted::read("error").unwrap()), Some(LevelFilter::ERROR));
    assert_eq!(Wanted::read(" ").map(|wanted| wanted.0), Ok(None), "as good as not set");
    let least = [Severity::Debug, Severity::Info, Severity::Warning, Severity::Error, Severity::Critical].map(least);
    let warn = LevelFilter::WARN; // counted, if not written
    assert_eq!(least, [LevelFilter::DEBUG, LevelFilter::INFO, warn, warn, warn]);
}

#[test]
fn directives_that_are_none_are_complained_about() {
    let complaint = Wanted::read("shop=loud").map(drop).unwrap_err();
    assert!(complaint.starts_with("RUST_LOG=\"shop=loud\" is not understood and ignored: "), "{complaint}");
}
