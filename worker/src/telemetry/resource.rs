//! Who the spans and metrics are from. Pure, but for what it is given.

use std::collections::BTreeMap;

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{ResourceDetector, TelemetryResourceDetector};
use rustcorn_config::Settings;

use super::options::Env;
use super::text::decoded;

/// Variables that the Kubernetes downward API fills, by convention of our manifests, and the attributes they are.
const DOWNWARD: [(&str, &str); 6] = [
    ("CONTAINER_NAME", "k8s.container.name"),
    ("NAMESPACE", "k8s.namespace.name"),
    ("POD_NAME", "k8s.pod.name"),
    ("POD_UID", "k8s.pod.uid"),
    ("POD_IP", "k8s.pod.ip"),
    ("NODE_NAME", "k8s.node.name"),
];

/// What a worker knows about itself.
pub(crate) struct Process {
    pub(crate) slot: usize,
    pub(crate) pid: u32,
    /// File name of the program.
    pub(crate) program: String,
    pub(crate) host: String,
    /// What tells this worker's master from all others on the machine, now and before.
    pub(crate) master: String,
}

/// The attributes, each rank above the one before: what was detected, the downward API, `OTEL_RESOURCE_ATTRIBUTES`, settings.
/// Last the identity of the instance, which must differ from worker to worker whoever gave it.
pub(crate) fn resource(settings: &Settings, env: &Env<'_>, process: &Process, detected: Vec<KeyValue>) -> Resource {
    let mut all: BTreeMap<Key, Value> = BTreeMap::new();
    let text = |text: &str| Value::from(text.to_owned());
    all.insert("service.name".into(), text(&format!("unknown_service:{}", process.program)));
    all.insert("process.pid".into(), i64::from(process.pid).into());
    if env.get("KUBERNETES_SERVICE_HOST").is_none() && !process.host.is_empty() {
        all.insert("host.name".into(), text(&process.host)); // in a pod it would be the pod's
    }
    all.extend(detected.into_iter().map(|attribute| (attribute.key, attribute.value)));
    for (variable, key) in DOWNWARD {
        all.extend(env.get(variable).map(|value| (Key::from(key), value.into())));
    }
    let given = env.get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    all.extend(attributes(&given).map(|(key, value)| (Key::from(key), value.into())));
    let service = [
        ("service.name", &settings.service_name),
        ("service.namespace", &settings.service_namespace),
        ("service.version", &settings.service_version),
    ];
    for (key, value) in service.into_iter().filter(|(_, value)| !value.is_empty()) {
        all.insert(key.into(), text(value));
    }
    let instance = instance(&all, process);
    all.insert("service.instance.id".into(), instance.into());
    let sdk = TelemetryResourceDetector.detect();
    let attributes = all
        .into_iter()
        .map(|(key, value)| KeyValue::new(key, value))
        .chain(sdk.iter().map(|(key, value)| KeyValue::new(key.clone(), value.clone())).collect::<Vec<_>>());
    Resource::builder_empty().with_schema_url(attributes.collect::<Vec<_>>(), SCHEMA).build()
}

/// The Google Cloud project, if it is one.
pub(crate) fn project(resource: &Resource) -> Option<String> {
    let get = |key: &'static str| resource.get(&Key::from(key)).map(|value| value.as_str().into_owned());
    get("cloud.account.id").filter(|_| get("cloud.provider").as_deref() == Some("gcp"))
}

/// The semantic conventions that the names here are from.
pub(crate) const SCHEMA: &str = "https://opentelemetry.io/schemas/1.44.0";

/// Unique among all workers that share the service's name, and the same for the next worker on this slot: cumulative
/// metrics of several workers under one identity would be one series written by many.
fn instance(known: &BTreeMap<Key, Value>, process: &Process) -> String {
    let get = |key: &'static str| known.get(&Key::from(key)).map(|value| value.as_str().into_owned());
    let slot = process.slot;
    if let Some(given) = get("service.instance.id") {
        return format!("{given}.{slot}"); // given once for all workers of the pod
    }
    let pod = get("k8s.pod.uid").or_else(|| Some(format!("{}.{}", get("k8s.namespace.name")?, get("k8s.pod.name")?)));
    match (pod, get("k8s.container.name")) {
        (Some(pod), Some(container)) => format!("{pod}.{container}.{slot}"),
        (Some(pod), None) => format!("{pod}.{slot}"),
        (None, _) => format!("{}.{}.{slot}", process.host, process.master),
    }
}

/// `key=value,key=value`, percent-encoded. A pair that is none is passed over, as the specification wants it.
fn attributes(list: &str) -> impl Iterator<Item = (String, String)> + '_ {
    let pairs = list.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (decoded(key.trim()), decoded(value.trim()))).filter(|(key, _)| !key.is_empty())
}

impl Process {
    /// This process as the worker on `slot`; its master is its parent.
    pub(crate) fn worker(slot: usize) -> Self {
        Self::this(slot, std::os::unix::process::parent_id())
    }

    /// This process as one that stands for itself.
    pub(crate) fn single() -> Self {
        Self::this(0, std::process::id())
    }

    /// When the master started tells it from a later process with its number.
    fn this(slot: usize, master: u32) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let stat = read(&format!("/proc/{master}/stat"));
        // Field 22, counted after the name, which is in parentheses and may hold blanks (proc_pid_stat(5)).
        let started = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19)).unwrap_or_default();
        let program = std::fs::read_link("/proc/self/exe").unwrap_or_default();
        Self {
            slot,
            pid: std::process::id(),
            program: program
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .trim_end_matches(" (deleted)")
                .to_owned(),
            host: read("/proc/sys/kernel/hostname").trim().to_owned(),
            master: format!("{master}-{started}"),
        }
    }
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
