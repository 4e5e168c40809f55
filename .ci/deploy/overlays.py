#!/usr/bin/env python3
"""What the overlays make of the base: overlays.py FOLDER, with gke.yaml, autopilot.yaml and local.yaml in it."""

import pathlib
import sys

from cluster import Manifests


def containers(manifests):
    for document in manifests.all:
        spec = document.get("spec", {}).get("template", {}).get("spec", {})
        for container in spec.get("initContainers", []) + spec.get("containers", []):
            yield document, spec, container


def check(name, manifests):
    ours = {"rustcorn", "custom-metrics-example", "loadtester"}  # skaffold writes where these are
    generated = {d["metadata"]["name"] for d in manifests.all if d["kind"] == "ConfigMap"}
    for document, spec, container in containers(manifests):
        where = f"{name}: {document['metadata']['name']}"
        assert container["image"] in ours or ("/" in container["image"] and ":" in container["image"]), f"{where}: {container['image']}"
        assert document["metadata"]["namespace"].startswith("rustcorn"), where
        for volume in spec.get("volumes", []):
            wanted = volume.get("configMap", {}).get("name")
            assert wanted is None or wanted in generated, f"{where} mounts {wanted}, which is not generated"
    collector = manifests.find("DaemonSet", "otel-collector")["spec"]["template"]["spec"]
    files = next(d for d in manifests.all if d["kind"] == "ConfigMap" and "agent.yaml" in d["data"])["data"]
    for argument in collector["containers"][0]["args"]:
        assert argument.rsplit("/", 1)[1] in files, f"{name}: {argument} is not mounted"
    host_ports = [port for port in collector["containers"][0]["ports"] if "hostPort" in port]
    level = manifests.find("Namespace", "rustcorn-collector")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert (level == "privileged") == bool(host_ports), f"{name}: {level} with {len(host_ports)} host ports"
    return host_ports


folder = pathlib.Path(sys.argv[1])
rendered = {name: Manifests(folder / f"{name}.yaml") for name in ("gke", "autopilot", "local")}
ports = {name: check(name, manifests) for name, manifests in rendered.items()}
assert len(ports["gke"]) == len(ports["local"]) == 2 and not ports["autopilot"], ports
autopilot = rendered["autopilot"]
service = autopilot.find("Service", "otel-collector")
assert service["spec"]["internalTrafficPolicy"] == "Local"
name = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
for workload in ("rustcorn", "custom-metrics-example"):
    for manifests, address in ((rendered["gke"], "$(HOST_IP)"), (autopilot, name)):
        env = manifests.find("Deployment", workload)["spec"]["template"]["spec"]["containers"][0]["env"]
        endpoint = [v["value"] for v in env if v["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT"]
        assert endpoint == [f"http://{address}:4318"], f"{workload}: {endpoint}"
local = str(rendered["local"].all)
assert "googleapis" not in local and "LoadBalancer" not in local, "local: Google is still there"
assert rendered["local"].find("Deployment", "locust-master")["spec"]["template"]["spec"]["containers"][0]["args"][3:5] == ["--expect-workers", "1"]
print("overlays: images, mounts, host ports and endpoints are what each of them promises")
