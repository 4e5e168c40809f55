//! The objects in `k8s/base`, and what is looked up in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::harness::binaries::workspace;

const FOLDERS: [&str; 4] = ["app", "collector", "custom-metrics-example", "locust"];

/// All objects, as they are before an overlay changes them.
pub(crate) struct Manifests {
    objects: Vec<Value>,
    /// Of each ConfigMap its files; the overlays' second half of the collector's configuration is one.
    files: BTreeMap<String, BTreeSet<String>>,
}

/// A list; empty where there is none.
pub(crate) fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[track_caller]
pub(crate) fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[track_caller]
pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    entries(value).iter().map(|item| string(item).to_owned()).collect()
}

impl Manifests {
    pub(crate) fn read() -> Self {
        let mut all = Self { objects: Vec::new(), files: BTreeMap::new() };
        for folder in FOLDERS {
            let folder = workspace().join("k8s/base").join(folder);
            let read =
                |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let kustomization: Value = serde_saphyr::from_str(&read("kustomization.yaml")).expect("YAML");
            for file in entries(&kustomization["resources"]) {
                let mut documents: Vec<Value> = serde_saphyr::from_multiple(&read(string(file))).expect("YAML");
                for document in &mut documents {
                    document["metadata"]["namespace"] = kustomization["namespace"].clone();
                }
                all.objects.extend(documents);
            }
            all.take_files(&kustomization);
        }
        for overlay in ["gke", "local"] {
            let file = workspace().join("k8s/overlays").join(overlay).join("kustomization.yaml");
            let text = fs::read_to_string(file).expect("an overlay");
            all.take_files(&serde_saphyr::from_str(&text).expect("YAML"));
        }
        all
    }

    fn take_files(&mut self, kustomization: &Value) {
        for map in entries(&kustomization["configMapGenerator"]) {
            self.files.entry(string(&map["name"]).to_owned()).or_default().extend(strings(&map["files"]));
        }
    }

    pub(crate) fn of<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |object| object["kind"] == kind).collect::<Vec<_>>().into_iter()
    }

    #[track_caller]
    pub(crate) fn find(&self, kind: &str, name: &str) -> &Value {
        self.of(kind).find(|object| object["metadata"]["name"] == name).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    pub(crate) fn pod_spec(&self, kind: &str, name: &str) -> &Value {
        &self.find(kind, name)["spec"]["template"]["spec"]
    }

    /// The pods' templates.
    pub(crate) fn pods(&self) -> Vec<&Value> {
        let templates = self.objects.iter().map(|object| &object["spec"]["template"]);
        templates.filter(|template| template.is_object()).collect()
    }

    /// The pods' labels in one namespace.
    pub(crate) fn labels_in(&self, namespace: &str) -> impl Iterator<Item = &Value> {
        let objects = self.objects.iter().filter(move |object| object["metadata"]["namespace"] == namespace);
        objects.map(|object| &object["spec"]["template"]["metadata"]["labels"]).filter(|labels| labels.is_object())
    }

    /// Of one pod, sidecars included.
    pub(crate) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
        entries(&spec["initContainers"]).iter().chain(entries(&spec["containers"]))
    }

    pub(crate) fn all_containers(&self) -> impl Iterator<Item = &Value> {
        self.pods().into_iter().flat_map(|pod| Self::containers(&pod["spec"]))
    }

    #[track_caller]
    pub(crate) fn container(&self, name: &str) -> &Value {
        self.all_containers()
            .find(|container| container["name"] == name)
            .unwrap_or_else(|| panic!("no container {name}"))
    }

    /// A container's ports by name.
    pub(crate) fn ports(&self, container: &str) -> BTreeMap<&str, i64> {
        let ports = entries(&self.container(container)["ports"]).iter();
        ports.map(|port| (string(&port["name"]), number(&port["containerPort"]))).collect()
    }

    /// A container's variables that have a value of their own.
    pub(crate) fn env(&self, container: &str) -> BTreeMap<&str, &str> {
        let variables = entries(&self.container(container)["env"]).iter();
        variables.filter_map(|variable| Some((string(&variable["name"]), variable["value"].as_str()?))).collect()
    }

    #[track_caller]
    pub(crate) fn files(&self, map: &str) -> &BTreeSet<String> {
        self.files.get(map).unwrap_or_else(|| panic!("no ConfigMap {map}"))
    }
}
