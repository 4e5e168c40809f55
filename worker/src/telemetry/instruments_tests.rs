//! A measurement ends in the series it belongs to, whether that is new or known.

use std::collections::BTreeMap;

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use std::sync::Mutex;

use super::*;

/// Attributes of each series, and its count or value.
type Seen = BTreeMap<String, i64>;

/// Keeps what was exported last.
#[derive(Clone, Default)]
pub(in crate::telemetry) struct Keeps(Arc<Mutex<BTreeMap<String, Seen>>>);

impl PushMetricExporter for Keeps {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        let mut all = self.0.lock().unwrap();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let key = |attributes: &mut dyn Iterator<Item = &KeyValue>| {
                let mut pairs: Vec<_> = attributes.map(|pair| format!("{}={}", pair.key, pair.value)).collect();
                pairs.sort();
                pairs.join(" ")
            };
            let seen: Seen = match metric.data() {
                AggregatedMetrics::F64(MetricData::Histogram(data)) => data
                    .data_points()
                    .map(|point| (key(&mut point.attributes()), i64::try_from(point.count()).unwrap()))
                    .collect(),
                AggregatedMetrics::I64(MetricData::Sum(data)) => {
                    data.data_points().map(|point| (key(&mut point.attributes()), point.value())).collect()
                }
                other => panic!("{other:?}"),
            };
            all.insert(metric.name().to_owned(), seen);
        }
        std::future::ready(Ok(()))
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

#[test]
fn series_and_active_requests() {
    let keeps = Keeps::default();
    let provider = SdkMeterProvider::builder().with_reader(PeriodicReader::builder(keeps.clone()).build()).build();
    let methods = Methods::new(None);
    let instruments = Instruments::new(&provider.meter("test"), &methods, "http");
    let id = |method: &str| methods.id(&http::Method::from_bytes(method.as_bytes()).unwrap());
    let end = |method, status: Option<u16>, trouble, route| {
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        let series = Series { method: id(method), secure: method == "PUT", version: "1.1", status, trouble, route };
        instruments.end(series, Duration::from_millis(3));
    };
    (0..7).for_each(|_| instruments.begin(id("GET"), false));
    (0..3).for_each(|_| end("GET", Some(200), Trouble::None, Some(Route::new("/a"))));
    end("GET", Some(200), Trouble::None, Some(Route::from("/a".to_owned())));
    end("GET", Some(503), Trouble::None, None);
    end("GET", None, Trouble::Disconnect, None);
    instruments.begin(id("BREW"), false);
    end("BREW", Some(404), Trouble::None, None);
    (0..2).for_each(|_| instruments.begin(id("PUT"), true));
    end("PUT", Some(200), Trouble::None, None);
    provider.force_flush().unwrap();

    let all = keeps.0.lock().unwrap();
    let series = |text: &str| all["http.server.request.duration"].get(text).copied();
    let rest = "network.protocol.version=1.1 url.scheme=http";
    let get = "http.request.method=GET";
    assert_eq!(series(&format!("{get} http.response.status_code=200 http.route=/a {rest}")), Some(4));
    assert_eq!(series(&format!("error.type=503 {get} http.response.status_code=503 {rest}")), Some(1));
    assert_eq!(series(&format!("error.type=client_disconnect {get} {rest}")), Some(1));
    assert_eq!(series(&format!("http.request.method=_OTHER http.response.status_code=404 {rest}")), Some(1));
    let secure = "http.request.method=PUT http.response.status_code=200 network.protocol.version=1.1 url.scheme=https";
    assert_eq!(series(secure), Some(1));
    assert_eq!(all["http.server.request.duration"].len(), 5);
    let active = [(format!("{get} url.scheme=http"), 1), ("http.request.method=PUT url.scheme=https".to_owned(), 1)];
    assert_eq!(all["http.server.active_requests"], Seen::from(active));
}
