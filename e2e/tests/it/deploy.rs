//! What the files for Kubernetes say to each other: sums, ports, names, mounts. No cluster and no tool is needed; that each file is
//! valid in itself, the tier `.ci/peers.d/deploy.sh` asks the real tools.

mod manifests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use self::manifests::{Manifests, entries, number, string, strings};
use crate::harness::binaries::{rustcorn, workspace};

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The application's settings in its pod.
fn settings() -> toml::Table {
    read("k8s/base/app/app.toml").parse().expect("TOML")
}

fn seconds(key: &str) -> i64 {
    settings()[key].as_integer().unwrap_or_else(|| panic!("{key} is whole seconds"))
}

/// The agent's configuration.
fn agent() -> Value {
    yaml("k8s/base/collector/agent.yaml")
}

#[test]
fn the_server_accepts_its_settings() {
    let file = workspace().join("k8s/base/app/app.toml");
    let output = Command::new(rustcorn()).arg("--check-config").arg(file).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_longest_drain_fits_into_the_grace_period() {
    let all = Manifests::read();
    let spec = all.pod_spec("Deployment", "rustcorn");
    let grace = number(&spec["terminationGracePeriodSeconds"]);
    // ARCHITECTURE.md, drain: then one second for idle connections.
    let longest = seconds("drain_delay") + seconds("graceful_timeout") + 1 + seconds("otlp_flush_timeout");
    assert!(longest + 10 <= grace, "{longest} s, and 10 s for a busy machine, but the pod is killed after {grace} s");

    // What the server counted last is scraped before the exporter ends.
    let exporter = all.container("statsd-exporter");
    let hook = number(&exporter["lifecycle"]["preStop"]["sleep"]["seconds"]);
    let agent = agent();
    let jobs = entries(&agent["receivers"]["prometheus"]["config"]["scrape_configs"]);
    let interval: i64 = string(&jobs[0]["scrape_interval"]).trim_end_matches('s').parse().expect("seconds");
    assert!(seconds("drain_delay") + interval < hook && hook < grace, "{hook}");

    // A load balancer must not find that we close a connection it holds: Google's keep theirs for 600 s.
    assert!(seconds("keepalive") > 600);
    let probe = &all.container("rustcorn")["readinessProbe"];
    let unready = number(&probe["periodSeconds"]) * number(&probe["failureThreshold"]);
    assert!(unready < seconds("drain_delay"), "the endpoint must be gone while the server still accepts");
}

#[test]
fn ports_meet() {
    let all = Manifests::read();
    let settings = settings();
    let port_of = |address: &str| address.rsplit_once(':').expect("a port").1.parse::<i64>().expect("a number");
    let server = all.ports("rustcorn");
    assert_eq!(server["http"], port_of(settings["bind"][0].as_str().expect("an address")));
    assert_eq!(server["admin"], port_of(settings["admin_bind"].as_str().expect("an address")));
    let exporter = strings(&all.container("statsd-exporter")["args"]);
    let udp = exporter.iter().find_map(|argument| argument.strip_prefix("--statsd.listen-udp=")).expect("it listens");
    assert_eq!(udp, settings["statsd_host"].as_str().expect("an address"));
    let web = exporter.iter().find_map(|argument| argument.strip_prefix("--web.listen-address=")).expect("it listens");
    assert_eq!(all.ports("statsd-exporter")["statsd-metrics"], port_of(web));

    // The collector: what it listens on, what of that is the node's, and what the pods are told.
    let agent = agent();
    let collector = all.ports("otel-collector");
    let protocols = &agent["receivers"]["otlp"]["protocols"];
    assert_eq!(collector["otlp-grpc"], port_of(string(&protocols["grpc"]["endpoint"])));
    assert_eq!(collector["otlp-http"], port_of(string(&protocols["http"]["endpoint"])));
    assert_eq!(collector["health"], port_of(string(&agent["extensions"]["health_check"]["endpoint"])));
    for port in entries(&all.container("otel-collector")["ports"]).iter().filter(|port| port["hostPort"].is_i64()) {
        assert_eq!(port["hostPort"], port["containerPort"]);
    }
    for name in ["rustcorn", "custom-metrics-example"] {
        let env = all.env(name);
        assert_eq!(
            env["OTEL_EXPORTER_OTLP_ENDPOINT"],
            format!("http://$(HOST_IP):{}", collector["otlp-http"]),
            "{name}"
        );
        let order: Vec<_> =
            entries(&all.container(name)["env"]).iter().map(|variable| string(&variable["name"])).collect();
        let at = |wanted| order.iter().position(|name| *name == wanted).expect("it is there");
        assert!(at("HOST_IP") < at("OTEL_EXPORTER_OTLP_ENDPOINT"), "a variable is known to those after it");
        for variable in ["CONTAINER_NAME", "NAMESPACE", "POD_NAME", "POD_UID", "POD_IP", "NODE_NAME"] {
            assert!(order.contains(&variable), "{name} is not told its {variable}");
        }
        assert_eq!(env["CONTAINER_NAME"], name);
    }
    let keep = &agent["receivers"]["prometheus"]["config"]["scrape_configs"][0]["relabel_configs"][0];
    assert_eq!((string(&keep["action"]), string(&keep["regex"])), ("keep", "statsd-metrics"));
    assert!(all.ports("statsd-exporter").keys().all(|name| name.len() <= 15), "longer names are refused");

    // A worker dials the name and port that the master's Service has.
    let worker = strings(&all.container("locust-worker")["args"]);
    assert_eq!(worker.last().expect("a port").parse(), Ok(all.ports("locust-master")["workers"]));
    assert_eq!(all.env("locust-worker")["LOCUST_MASTER"], "locust-master");
    let replicas = number(&all.find("Deployment", "locust-worker")["spec"]["replicas"]);
    let master = strings(&all.container("locust-master")["args"]);
    assert!(master.windows(2).any(|pair| pair == ["--expect-workers".to_owned(), replicas.to_string()]), "{master:?}");
}

#[test]
fn what_selects_finds_pods_and_what_names_a_port_finds_it() {
    let all = Manifests::read();
    let pods = all.pods();
    let selected = |selector: &Value| -> Vec<&Value> {
        pods.iter().filter(|pod| carries(&pod["metadata"]["labels"], selector)).copied().collect()
    };
    let mut checked = 0;
    for (kind, path) in [
        ("Deployment", "/spec/selector/matchLabels"),
        ("DaemonSet", "/spec/selector/matchLabels"),
        ("PodDisruptionBudget", "/spec/selector/matchLabels"),
        ("Service", "/spec/selector"),
        ("NetworkPolicy", "/spec/podSelector/matchLabels"),
    ] {
        for object in all.of(kind) {
            let name = string(&object["metadata"]["name"]);
            let found = selected(object.pointer(path).unwrap_or_else(|| panic!("{kind} {name} selects nothing")));
            assert_eq!(found.len(), 1, "{kind} {name} selects the pods of one workload");
            let names: BTreeSet<_> = Manifests::containers(&found[0]["spec"])
                .flat_map(|container| entries(&container["ports"]))
                .map(|port| string(&port["name"]))
                .collect();
            let services = entries(&object["spec"]["ports"]).iter().map(|port| &port["targetPort"]);
            let policies = entries(&object["spec"]["ingress"]).iter().flat_map(|rule| entries(&rule["ports"]));
            for port in services.chain(policies.map(|port| &port["port"])) {
                assert!(names.contains(string(port)), "{kind} {name}: no port {port} in its pods");
            }
            checked += 1;
        }
    }
    assert!(checked >= 11, "{checked}");
    for container in all.all_containers() {
        let names: BTreeSet<_> = entries(&container["ports"]).iter().map(|port| string(&port["name"])).collect();
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            if let Some(get) = container.get(probe).map(|probe| &probe["httpGet"]) {
                assert!(names.contains(string(&get["port"])), "{} asks {}", container["name"], get["port"]);
            }
        }
    }
    let scaler = &all.find("HorizontalPodAutoscaler", "rustcorn")["spec"];
    let target = all.pod_spec(string(&scaler["scaleTargetRef"]["kind"]), string(&scaler["scaleTargetRef"]["name"]));
    let resource = &scaler["metrics"][0]["containerResource"];
    let container = Manifests::containers(target).find(|container| container["name"] == resource["container"]);
    let requested = &container.expect("its metric is of a container")["resources"]["requests"];
    assert!(requested[string(&resource["name"])].is_string(), "a share of what is not requested is no number");
    assert!(all.find("Deployment", "rustcorn")["spec"]["replicas"].is_null(), "the scaler's number would be undone");
    let role = &all.find("ClusterRoleBinding", "rustcorn-otel-collector")["roleRef"];
    all.find("ClusterRole", string(&role["name"]));
    all.find("ServiceAccount", string(&all.pod_spec("DaemonSet", "otel-collector")["serviceAccountName"]));
    all.find("PriorityClass", string(&all.pod_spec("DaemonSet", "otel-collector")["priorityClassName"]));
}

fn carries(labels: &Value, wanted: &Value) -> bool {
    wanted.as_object().expect("labels").iter().all(|(key, value)| labels[key] == *value)
}

#[test]
fn policies_let_in_pods_that_exist_and_pods_spread_from_their_like() {
    let all = Manifests::read();
    let job = yaml("k8s/verify/job.yaml");
    let mut checked = 0;
    for policy in all.of("NetworkPolicy") {
        let peers = entries(&policy["spec"]["ingress"]).iter().flat_map(|rule| entries(&rule["from"]));
        for peer in peers.filter(|peer| peer["podSelector"].is_object()) {
            let elsewhere = &peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
            let namespace = elsewhere.as_str().unwrap_or_else(|| string(&policy["metadata"]["namespace"]));
            let jobs =
                (job["metadata"]["namespace"] == namespace).then_some(&job["spec"]["template"]["metadata"]["labels"]);
            let mut labels = all.labels_in(namespace).chain(jobs);
            let wanted = &peer["podSelector"]["matchLabels"];
            assert!(labels.any(|labels| carries(labels, wanted)), "nobody in {namespace} is {wanted}");
            checked += 1;
        }
    }
    assert_eq!(checked, 3, "collector and verify at the sidecar, workers at Locust's master");
    let pod = &all.find("Deployment", "rustcorn")["spec"]["template"];
    let spread = entries(&pod["spec"]["topologySpreadConstraints"]);
    assert_eq!(spread.len(), 2, "zones and nodes");
    for constraint in spread {
        assert!(carries(&pod["metadata"]["labels"], &constraint["labelSelector"]["matchLabels"]), "{constraint}");
    }
}

#[test]
fn services_that_are_called_by_name_have_that_port() {
    let all = Manifests::read();
    let serves = |namespace: &str, name: &str, port: i64| {
        let service = all.find("Service", name);
        let ports = entries(&service["spec"]["ports"]);
        assert_eq!(service["metadata"]["namespace"], namespace, "{name}");
        assert!(ports.iter().any(|entry| entry["port"] == port), "{name} has no port {port}");
    };
    let mut checked = 0;
    for file in ["skaffold.yaml", "k8s/base/locust/master.yaml", "k8s/base/locust/scenario.toml"] {
        let text = read(file);
        for url in text.split("http://").skip(1) {
            let (host, rest) = url.split_once(".svc.cluster.local").unwrap_or_else(|| panic!("{file}: {url}"));
            let (name, namespace) = host.split_once('.').expect("a name and a namespace");
            let port = rest.strip_prefix(':').map_or("80", |rest| rest.split(['/', '"']).next().expect("a port"));
            serves(namespace, name, port.parse().expect("a number"));
            checked += 1;
        }
    }
    assert_eq!(checked, 4, "two that verify asks, and whom Locust loads, twice");

    let skaffold = yaml("skaffold.yaml");
    for forward in entries(&skaffold["portForward"]) {
        serves(string(&forward["namespace"]), string(&forward["resourceName"]), number(&forward["port"]));
    }
    for test in entries(&skaffold["verify"]) {
        let job = yaml(string(&test["executionMode"]["kubernetesCluster"]["jobManifestPath"]));
        let image = &job["spec"]["template"]["spec"]["containers"][0]["image"];
        assert_eq!(test["container"]["image"], *image, "one version of it");
    }
}

#[test]
fn skaffold_has_a_profile_for_each_place() {
    let skaffold = yaml("skaffold.yaml");
    let profiles = entries(&skaffold["profiles"]);
    let names: Vec<_> = profiles.iter().map(|profile| string(&profile["name"])).collect();
    assert_eq!(names, ["gcb", "autopilot", "local"]);
    assert!(profiles[0]["build"]["googleCloudBuild"].is_object());
    let paths = profiles.iter().chain([&skaffold]).flat_map(|part| strings(&part["manifests"]["kustomize"]["paths"]));
    let paths: Vec<_> = paths.collect();
    assert_eq!(paths, ["k8s/overlays/autopilot", "k8s/overlays/local", "k8s/overlays/gke"]);
    assert!(paths.iter().all(|path| workspace().join(path).join("kustomization.yaml").is_file()));
}

#[test]
fn files_are_mounted_where_they_are_looked_for() {
    let all = Manifests::read();
    let mut checked = 0;
    for pod in all.pods() {
        let volumes: BTreeMap<_, _> =
            entries(&pod["spec"]["volumes"]).iter().map(|volume| (string(&volume["name"]), volume)).collect();
        for container in Manifests::containers(&pod["spec"]) {
            let arguments = strings(&container["args"]);
            for mount in entries(&container["volumeMounts"]) {
                let volume =
                    volumes.get(string(&mount["name"])).unwrap_or_else(|| panic!("no volume {}", mount["name"]));
                let Some(map) = volume["configMap"]["name"].as_str() else { continue };
                let folder = format!("{}/", string(&mount["mountPath"]));
                let files = all.files(map);
                let looked_for: Vec<_> = arguments
                    .iter()
                    .filter_map(|argument| argument.split_once(&folder))
                    .map(|(_, file)| file)
                    .collect();
                assert!(!looked_for.is_empty(), "{} does not use {map}", container["name"]);
                for file in looked_for {
                    assert!(files.contains(file), "{} looks for {file}; {map} has {files:?}", container["name"]);
                    checked += 1;
                }
            }
        }
    }
    assert_eq!(checked, 5, "settings, mapping, two halves of the collector's, locustfile");
    assert!(all.files("otel-collector").contains("agent.yaml"));
    let shown = fs::canonicalize(workspace().join("docs/statsd-mapping.yml")).expect("a link");
    assert!(shown.ends_with("k8s/base/app/statsd-mapping.yml"), "one source");
}

#[test]
fn every_image_has_one_source() {
    let all = Manifests::read();
    let skaffold = yaml("skaffold.yaml");
    let artifacts = entries(&skaffold["build"]["artifacts"]);
    let built: BTreeSet<_> = artifacts.iter().map(|artifact| string(&artifact["image"])).collect();
    let component = yaml("k8s/components/images/kustomization.yaml");
    let pinned: BTreeMap<_, _> =
        entries(&component["images"]).iter().map(|image| (string(&image["name"]), string(&image["newTag"]))).collect();
    let used: BTreeSet<_> = all.all_containers().map(|container| string(&container["image"])).collect();
    assert_eq!(used, built.iter().copied().chain(pinned.keys().copied()).collect());
    assert!(built.is_disjoint(&pinned.keys().copied().collect()));
    assert!(
        pinned.values().all(|tag| tag.starts_with(|first: char| first.is_ascii_digit() || first == 'v')),
        "{pinned:?}"
    );

    let dockerfile = read("Dockerfile");
    for artifact in artifacts {
        let target = string(&artifact["docker"]["target"]);
        assert!(dockerfile.contains(&format!(" AS {target}\n")), "{target}");
        assert_eq!(target, string(&artifact["image"]));
    }
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().expect("TOML");
    let version = toolchain["toolchain"]["channel"].as_str().expect("a version");
    assert!(
        dockerfile.contains(&format!("/rust:{version}-"))
            && dockerfile.contains(&format!("RUSTUP_TOOLCHAIN={version} "))
    );
    let workspace: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let sent = read(".dockerignore");
    for member in workspace["workspace"]["members"].as_array().expect("a list") {
        let line = format!("!{}", member.as_str().expect("a folder"));
        assert!(sent.lines().any(|sent| sent == line), "{line} is missing in .dockerignore");
    }

    // What the tests run is of the versions that are deployed.
    assert_eq!(yaml(".ci/collector/builder.yaml")["dist"]["version"], pinned["otel-collector"]);
    let script = read(".ci/peers");
    assert!(script.contains(&format!("EXPORTER={} ", pinned["statsd-exporter"])), "{pinned:?}");
}

#[test]
fn every_container_is_confined_and_says_what_it_needs() {
    let all = Manifests::read();
    let mut count = 0;
    for pod in all.pods() {
        let context = &pod["spec"]["securityContext"];
        let name = &pod["metadata"]["labels"];
        assert_eq!(
            (&context["runAsNonRoot"], &context["seccompProfile"]["type"]),
            (&true.into(), &"RuntimeDefault".into()),
            "{name}"
        );
        assert!(context["runAsUser"].as_i64().is_some_and(|user| user >= 1000), "{name}");
        assert!(number(&pod["spec"]["terminationGracePeriodSeconds"]) > 0, "{name}");
        for container in Manifests::containers(&pod["spec"]) {
            let (name, context) = (&container["name"], &container["securityContext"]);
            assert_eq!(context["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(context["readOnlyRootFilesystem"], true, "{name}");
            assert_eq!(strings(&context["capabilities"]["drop"]), ["ALL"], "{name}");
            let resources = &container["resources"];
            for (what, which) in [("requests", "cpu"), ("requests", "memory"), ("limits", "memory")] {
                assert!(resources[what][which].is_string(), "{name}: {what} {which}");
            }
            count += 1;
        }
    }
    assert_eq!(count, 6);
    // The collector has to talk to the API; nobody else may.
    for (kind, name, mounts) in [("Deployment", "rustcorn", false), ("DaemonSet", "otel-collector", true)] {
        let token = &all.pod_spec(kind, name)["automountServiceAccountToken"];
        assert_eq!(token.as_bool().unwrap_or(true), mounts, "{name}");
    }
}

#[test]
fn dashboards_and_alerts_use_metrics_that_exist() {
    let prefix = settings()["statsd_prefix"].as_str().expect("a prefix").to_owned();
    let mapping = yaml("k8s/base/app/statsd-mapping.yml");
    let mut known = BTreeSet::new();
    for rule in entries(&mapping["mappings"]) {
        let name = string(&rule["name"]).replace("${1}", &prefix);
        let names: Vec<String> = match name.strip_suffix("${2}") {
            Some(start) => ["ready", "busy", "target"].map(|state| format!("{start}{state}")).into(),
            None => vec![name],
        };
        for name in names {
            known.extend(["", "_bucket", "_sum", "_count"].map(|suffix| format!("{name}{suffix}")));
        }
    }
    for file in [
        "k8s/observe/grafana.json",
        "k8s/observe/cloud-monitoring.json",
        "k8s/observe/rules.yml",
        "k8s/observe/rules_test.yml",
    ] {
        let text = read(file);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let used: BTreeSet<_> = words.filter(|word| word.starts_with(&format!("{prefix}_"))).collect();
        assert!(used.len() >= 7, "{file} {used:?}");
        for name in used {
            assert!(known.contains(name), "{file}: nothing is called {name}");
        }
    }
}

#[test]
fn the_picture_is_drawn_from_its_source() {
    let source = read("docs/architecture/deployment.dot");
    let picture = read("docs/architecture/deployment.svg");
    assert!(
        picture.contains(&format!("<![CDATA[{source}]]>")),
        "it is older than its source: run docs/architecture/draw"
    );
    assert!(picture.contains("otel-collector") && picture.trim_end().ends_with("</svg>"));
    assert!(read("README.md").contains("docs/architecture/deployment.svg"));
}
