//! What Google's metadata server says about the machine. Asked only where the machine is Google's, for at most a second.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;

use super::options::Env;
use super::wire::Connection;

/// For everything together.
const LIMIT: Duration = Duration::from_secs(1);
/// A metadata server is on the machine itself; on a new node it may need a second try.
const ATTEMPT: Duration = Duration::from_millis(400);
const ADDRESS: &str = "169.254.169.254";

/// The gate: nothing else is done elsewhere.
fn server(env: &Env<'_>, product: &str) -> Option<(String, u16)> {
    if let Some(given) = env.get("GCE_METADATA_HOST") {
        return Some(
            match given.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?))) {
                Some(pair) => pair,
                None => (given, 80),
            },
        );
    }
    product.trim().starts_with("Google").then(|| (ADDRESS.to_owned(), 80))
}

/// The attributes, as far as they could be had in time.
pub(crate) fn detect(env: &Env<'_>) -> Vec<KeyValue> {
    // "Google Compute Engine", in containers too; readable by everybody.
    let product = std::fs::read_to_string("/sys/class/dmi/id/product_name").unwrap_or_default();
    let Some((host, port)) = server(env, &product) else { return Vec::new() };
    let in_cluster = env.get("KUBERNETES_SERVICE_HOST").is_some();
    let mut metadata = Metadata { host, port, until: Instant::now() + LIMIT, connection: None };
    let first = metadata.get("project/project-id").or_else(|_| metadata.get("project/project-id"));
    match first {
        Ok(Some(project)) => attributes(&mut |key| metadata.get(key).ok().flatten(), project, in_cluster),
        _ => Vec::new(),
    }
}

/// Maps keys of the metadata server to the conventions' attributes.
fn attributes(get: &mut dyn FnMut(&str) -> Option<String>, project: String, in_cluster: bool) -> Vec<KeyValue> {
    let mut all = vec![KeyValue::new("cloud.provider", "gcp"), KeyValue::new("cloud.account.id", project)];
    let cluster = if in_cluster { get("instance/attributes/cluster-location") } else { None };
    let location = match cluster {
        Some(location) => {
            all.push(KeyValue::new("cloud.platform", "gcp_kubernetes_engine"));
            all.extend(get("instance/attributes/cluster-name").map(|name| KeyValue::new("k8s.cluster.name", name)));
            Some(location)
        }
        None => {
            all.push(KeyValue::new("cloud.platform", "gcp_compute_engine"));
            get("instance/zone").and_then(|zone| zone.rsplit('/').next().map(str::to_owned))
        }
    };
    if let Some(location) = location {
        // europe-west1 is a region, europe-west1-b a zone in it.
        if location.matches('-').count() > 1 {
            let region = location.rsplit_once('-').map_or("", |(region, _)| region).to_owned();
            all.push(KeyValue::new("cloud.region", region));
            all.push(KeyValue::new("cloud.availability_zone", location));
        } else {
            all.push(KeyValue::new("cloud.region", location));
        }
    }
    all.extend(get("instance/id").map(|id| KeyValue::new("host.id", id)));
    all.extend(get("instance/name").map(|name| KeyValue::new("host.name", name))); // may be refused to a workload
    all
}

struct Metadata {
    host: String,
    port: u16,
    until: Instant,
    connection: Option<Connection>,
}

impl Metadata {
    /// A key's value; `None` if there is none.
    fn get(&mut self, key: &str) -> io::Result<Option<String>> {
        let until = self.until.min(Instant::now() + ATTEMPT);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.host, self.port, None, until)?,
        };
        let head = format!(
            "GET /computeMetadata/v1/{key} HTTP/1.1\r\nhost: metadata.google.internal\r\nmetadata-flavor: Google\r\n\r\n"
        );
        let answer = connection.exchange(head.as_bytes(), &[], until)?;
        // Other clouds have a server at this address too.
        if answer.header("metadata-flavor") != Some("Google") {
            self.until = Instant::now();
            return Err(ErrorKind::InvalidData.into());
        }
        self.connection = answer.keeps.then_some(connection);
        let found = answer.status == 200;
        Ok(found.then(|| String::from_utf8_lossy(&answer.body).trim().to_owned()).filter(|value| !value.is_empty()))
    }
}

#[cfg(test)]
#[path = "gcp_tests.rs"]
mod tests;
