//! One request, observed from its head to the end of its body.

use std::time::{Duration, SystemTime};

use http::header::{HOST, HeaderName, USER_AGENT};
use http::uri::Authority;
use http::{HeaderMap, Request, Response, StatusCode};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, ContextGuard, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{IdGenerator, SdkTracer, SdkTracerProvider};

use super::facts::{MethodId, Methods, Trouble, error_type, version};
use super::instruments::{Instruments, Series};
use super::options::{Options, Propagators};
use super::route::Route;
use super::sampling::{Ids, Sampling};
use super::text::{cut, redacted};
use crate::client::Client;
use crate::registry::Peer;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Observes the requests of one worker.
pub(crate) struct Observer {
    methods: Methods,
    traces: Option<Traces>,
    /// Without spans of our own: log lines still say which trace the caller is in.
    followed: Option<Callers>,
    instruments: Option<Instruments>,
}

/// What makes spans.
struct Traces {
    tracer: SdkTracer,
    ids: Ids,
    sampling: Sampling,
    callers: Callers,
    longest: usize,
    scheme: &'static str,
}

/// What callers say about themselves.
struct Callers {
    propagators: Propagators,
    trace_context: TraceContextPropagator,
    baggage: BaggagePropagator,
}

/// A request under observation.
pub(crate) struct Observed {
    /// What the application's code runs in. `None` without spans.
    context: Option<Context>,
    /// Of the request's span, if it has one.
    started: Option<SystemTime>,
    method: MethodId,
    secure: bool,
    version: &'static str,
    route: Option<Route>,
    trouble: Trouble,
}

impl Observer {
    pub(crate) fn new(options: &Options, traces: Option<&SdkTracerProvider>, instruments: Option<Instruments>) -> Self {
        let callers = || Callers {
            propagators: options.propagators,
            trace_context: TraceContextPropagator::new(),
            baggage: BaggagePropagator::new(),
        };
        let followed = (traces.is_none() && options.follows).then(callers);
        let traces = traces.map(|provider| Traces {
            tracer: provider.tracer_with_scope(super::scope()),
            ids: Ids::default(),
            sampling: options.sampling,
            callers: callers(),
            longest: options.longest,
            scheme: options.scheme,
        });
        Self { methods: Methods::new(options.methods.as_deref()), traces, followed, instruments }
    }

    pub(crate) fn begin<B>(&self, request: &Request<B>, peer: Option<&Peer>) -> Observed {
        let method = self.methods.id(request.method());
        let secure = request.extensions().get::<Client>().is_some_and(Client::is_secure);
        if let Some(instruments) = &self.instruments {
            instruments.begin(method, secure);
        }
        let (context, started) = match &self.traces {
            Some(traces) => traces.begin(request, method, &self.methods, peer),
            None => (self.followed.as_ref().and_then(|callers| callers.follow(request.headers())), None),
        };
        let version = version(request.version());
        Observed { context, started, method, secure, version, route: None, trouble: Trouble::None }
    }

    /// The request is over. `status` as the client has it, if it has one.
    pub(crate) fn end(&self, observed: Observed, status: Option<StatusCode>, took: Duration) {
        let trouble = match (observed.trouble, status) {
            (Trouble::None, None) => Trouble::Disconnect,
            (trouble, _) => trouble,
        };
        if let (Some(context), Some(started)) = (&observed.context, observed.started) {
            self.end_span(&observed, context, status, trouble, started + took);
        }
        if let Some(instruments) = &self.instruments {
            let Observed { method, secure, version, route, .. } = observed;
            instruments.end(Series { method, secure, version, status, trouble, route }, took);
        }
    }

    fn end_span(
        &self,
        observed: &Observed,
        context: &Context,
        status: Option<StatusCode>,
        trouble: Trouble,
        end: SystemTime,
    ) {
        let span = context.span();
        if let Some(status) = status {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        }
        if let Some(route) = &observed.route {
            span.update_name(format!("{} {}", self.methods.span_name(observed.method), route.as_str()));
            span.set_attribute(KeyValue::new("http.route", route.value()));
        }
        if let Some(error) = error_type(status, trouble) {
            span.set_attribute(KeyValue::new("error.type", error));
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(end); // so long as the metric says
    }

    /// A request that never was one: HTTP itself refused it, with `status` or without an answer. Its span, if it has one.
    #[cold]
    pub(crate) fn refused(
        &self,
        status: Option<StatusCode>,
        client: Option<&Peer>,
        peer: Option<&Peer>,
    ) -> Option<SpanContext> {
        let traces = self.traces.as_ref()?;
        let trace = traces.ids.new_trace_id();
        if !traces.sampling.samples(trace, None) {
            return None;
        }
        let mut attributes = vec![
            KeyValue::new("http.request.method", self.methods.name(self.methods.other())),
            KeyValue::new("url.scheme", traces.scheme),
        ];
        attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", i64::from(status.as_u16()))));
        attributes.extend(client.map(|client| KeyValue::new("client.address", client.address())));
        peer.into_iter().for_each(|peer| add_network_peer(&mut attributes, peer));
        if status.is_none() {
            attributes.push(KeyValue::new("error.type", "malformed_request"));
        }
        Ids::choose(trace);
        let builder = traces.tracer.span_builder("HTTP").with_kind(SpanKind::Server).with_attributes(attributes);
        let mut span = traces.tracer.build_with_context(builder, &Context::new());
        if status.is_none() {
            span.set_status(Status::error(""));
        }
        span.end();
        Some(span.span_context().clone())
    }
}

impl Observed {
    /// What the application's code runs in.
    pub(crate) const fn context(&self) -> Option<&Context> {
        self.context.as_ref()
    }

    /// Makes the request's context the current one until the guard is dropped.
    pub(crate) fn attach(&self) -> Option<ContextGuard> {
        drop(Route::said()); // by code outside of requests
        self.context.clone().map(Context::attach)
    }

    /// The request was polled: it may have said its route.
    pub(crate) fn polled(&mut self) {
        if let Some(route) = Route::said() {
            self.route = Some(route);
        }
    }

    pub(crate) fn answered<B>(&mut self, response: &Response<B>) {
        if let Some(route) = response.extensions().get::<Route>() {
            self.route = Some(route.clone());
        }
    }

    pub(crate) fn troubled(&mut self, trouble: Trouble) {
        self.trouble = trouble;
    }
}

impl Traces {
    fn begin<B>(
        &self,
        request: &Request<B>,
        method: MethodId,
        methods: &Methods,
        peer: Option<&Peer>,
    ) -> (Option<Context>, Option<SystemTime>) {
        let (remote, parent) = self.callers.extract(request.headers());
        let trace = parent.as_ref().map_or_else(|| self.ids.new_trace_id(), SpanContext::trace_id);
        if !self.sampling.samples(trace, parent.as_ref()) {
            return (Some(self.unsampled(remote, trace, parent)), None);
        }
        #[expect(clippy::disallowed_methods, reason = "a span's start is a time of day; its length is not")]
        let started = SystemTime::now();
        let builder = self
            .tracer
            .span_builder(methods.span_name(method))
            .with_kind(SpanKind::Server)
            .with_start_time(started)
            .with_attributes(self.attributes(request, method, methods, peer));
        if parent.is_none() {
            Ids::choose(trace);
        }
        let span = self.tracer.build_with_context(builder, &remote);
        (Some(remote.with_span(span)), Some(started))
    }

    /// The context of a request without a span. It still says "not sampled": spans that the application starts in it, and
    /// services that it calls, follow that.
    fn unsampled(&self, remote: Context, trace: opentelemetry::trace::TraceId, parent: Option<SpanContext>) -> Context {
        match parent {
            Some(parent) if !parent.is_sampled() => remote,
            // A sampled parent, and a sampler that does not care for parents.
            Some(parent) => remote.with_remote_span_context(SpanContext::new(
                trace,
                parent.span_id(),
                TraceFlags::NOT_SAMPLED,
                true,
                parent.trace_state().clone(),
            )),
            None => remote.with_remote_span_context(SpanContext::new(
                trace,
                self.ids.new_span_id(),
                TraceFlags::NOT_SAMPLED,
                false,
                TraceState::NONE,
            )),
        }
    }

    fn attributes<B>(
        &self,
        request: &Request<B>,
        method: MethodId,
        methods: &Methods,
        peer: Option<&Peer>,
    ) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(16); // with those that come at the end
        let (uri, headers) = (request.uri(), request.headers());
        attributes.push(KeyValue::new("http.request.method", methods.name(method)));
        if method == methods.other() {
            let original = cut(request.method().as_str(), self.longest);
            attributes.push(KeyValue::new("http.request.method_original", original));
        }
        let client = request.extensions().get::<Client>();
        attributes.push(KeyValue::new("url.scheme", client.map_or(self.scheme, Client::scheme)));
        attributes.push(KeyValue::new("url.path", cut(uri.path(), self.longest)));
        if let Some(query) = uri.query() {
            attributes.push(KeyValue::new("url.query", redacted(query, self.longest)));
        }
        attributes.push(KeyValue::new("network.protocol.version", version(request.version())));
        if let Some((host, port)) = host(uri.authority(), headers) {
            attributes.push(KeyValue::new("server.address", cut(&host, self.longest)));
            attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
        }
        match client.and_then(Client::elsewhere) {
            Some(client) => {
                attributes.push(KeyValue::new("client.address", client.to_string()));
                peer.into_iter().for_each(|peer| add_network_peer(&mut attributes, peer));
            }
            None => peer.into_iter().for_each(|peer| add_peer(&mut attributes, peer)),
        }
        if let Some(agent) = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()) {
            attributes.push(KeyValue::new("user_agent.original", cut(agent, self.longest)));
        }
        attributes
    }
}

impl Callers {
    /// What the request brings along, and its parent if it has one.
    fn extract(&self, headers: &HeaderMap) -> (Context, Option<SpanContext>) {
        let (mut context, mut parent) = (Context::new(), None);
        if self.propagators.trace_context && headers.contains_key(TRACEPARENT) {
            context = self.trace_context.extract_with_context(&context, &HeaderExtractor(headers));
            parent = Some(context.span().span_context().clone()).filter(SpanContext::is_valid);
        }
        if self.propagators.baggage && headers.contains_key(BAGGAGE) {
            context = self.baggage.extract_with_context(&context, &HeaderExtractor(headers));
        }
        (context, parent)
    }

    /// The context of a request that is in its caller's span, if that says which.
    fn follow(&self, headers: &HeaderMap) -> Option<Context> {
        let (context, parent) = self.extract(headers);
        parent.map(|_| context)
    }
}

/// The client is the peer, where nobody who is believed says otherwise.
fn add_peer(attributes: &mut Vec<KeyValue>, peer: &Peer) {
    attributes.push(KeyValue::new("client.address", peer.address()));
    add_network_peer(attributes, peer);
}

fn add_network_peer(attributes: &mut Vec<KeyValue>, peer: &Peer) {
    attributes.push(KeyValue::new("network.peer.address", peer.address()));
    attributes.push(KeyValue::new("network.peer.port", i64::from(peer.port())));
}

/// Name and port that the client asked for.
fn host(of_target: Option<&Authority>, headers: &HeaderMap) -> Option<(String, Option<u16>)> {
    let parsed;
    let authority = match of_target {
        Some(authority) => authority,
        None => {
            parsed = Authority::try_from(headers.get(HOST)?.as_bytes()).ok()?;
            &parsed
        }
    };
    Some((authority.host().trim_matches(['[', ']']).to_owned(), authority.port_u16()))
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
