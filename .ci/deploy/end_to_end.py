#!/usr/bin/env python3
"""The manifests' picture with the real peers: rustcorn with its statsd_exporter, custom-metrics-example and the collector run with
exactly what was rendered from k8s/, and what the collector exported is read back. Replaced are: addresses (each pod has one of its own on
loopback), where the Kubernetes API is (a stand-in that knows the pods), and where Google is (a file).

    end_to_end.py RENDERED.yaml TOOLS PROGRAMS WORK
"""

import json
import pathlib
import sys
import time

import yaml

from cluster import NODE, PATIENCE, Api, Manifests, Pod, wait_until
from load import Load, Service
from received import Received
from verify import verify

REQUESTS, STEADY = 5000, 3000  # in all; before the rolling replacement
CHAOS = 20  # percent of the answers with some status from 400 to 500, so that the sums per status mean something
HOST = "127.0.10.9"  # the node, and on it the collector, whose hostPorts are the node's


def equal(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"FAILED: {what}: {found} instead of {wanted}")
    print(f"{what:<96} {found}")


def true(what, holds, otherwise=""):
    if not holds:
        raise SystemExit(f"FAILED: {what} {otherwise}")
    print(f"{what:<96} yes")


class Collector(Pod):
    """The DaemonSet's pod; its files with the API's address in, and Google taken out."""

    def __init__(self, manifests, folder, programs, api, out):
        google = {"OTEL_RESOURCE_ATTRIBUTES": "cloud.account.id=some-project,cloud.region=europe-west1,k8s.cluster.name=some-cluster"}
        self.api, self.out = api, out
        super().__init__(manifests, ("DaemonSet", "otel-collector"), HOST, HOST, folder, programs, google)
        self.extra_env |= {"KUBECONFIG": str(self.kubeconfig())}

    def kubeconfig(self):
        path = self.folder / "kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.api.url}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }))
        return path

    def volume(self, volume):
        folder = super().volume(volume)
        agent = yaml.safe_load((folder / "agent.yaml").read_text())
        jobs = agent["receivers"]["prometheus"]["config"]["scrape_configs"]
        discovering = [sd for job in jobs for sd in job.get("kubernetes_sd_configs", [])]
        equal("collector: jobs that discover pods", len(discovering), 1)
        discovering[0]["api_server"] = self.api.url
        agent["processors"]["k8s_attributes"]["auth_type"] = "kubeConfig"
        (folder / "agent.yaml").write_text(yaml.safe_dump(agent))
        exporters = yaml.safe_load((folder / "exporters.yaml").read_text())
        true("collector: exports by OTLP to Google, as its identity", exporters["exporters"]["otlp_http"]["auth"] == {
            "authenticator": "googleclientauth"} and "googleclientauth" in exporters["extensions"])
        # One for each pipeline: at the end, one that is shared is closed under those that still export.
        pipelines = exporters["service"]["pipelines"]
        files = {name: f"file/{name.replace('/', '-')}" for name in pipelines}
        exporters["exporters"] = {
            exporter: {"path": str(self.out / f"{exporter.removeprefix('file/')}.json")} for exporter in files.values()
        }
        exporters["processors"]["resource_detection"]["detectors"] = ["env"]  # for the metadata server, which only Google has
        del exporters["extensions"]
        exporters["service"]["extensions"].remove("googleclientauth")
        for name, pipeline in pipelines.items():
            pipeline["exporters"] = [files[name]]
        (folder / "exporters.yaml").write_text(yaml.safe_dump(exporters))
        return folder

    def local(self, text):
        return text


def main():
    rendered, tools, programs, work = sys.argv[1], *map(pathlib.Path, sys.argv[2:5])
    manifests, api, out = Manifests(rendered), Api(), work / "exported"
    out.mkdir()
    server = manifests.find("Deployment", "rustcorn")["spec"]["template"]["spec"]
    grace = server["terminationGracePeriodSeconds"]
    last_scrape = server["initContainers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    run = {
        "otel-collector": [str(tools / "otelcol-test")],
        "statsd-exporter": [str(tools / "statsd_exporter")],
        "rustcorn": [str(programs / "rustcorn")],
        "custom-metrics-example": [str(programs / "custom-metrics-example")],
        "loadtester": str(programs / "rustcorn-loadtester"),
    }
    pods = []
    try:
        drive(manifests, api, out, work, run, pods, grace, last_scrape)
    finally:
        for pod in pods:
            pod.kill()


def drive(manifests, api, out, work, run, pods, grace, last_scrape):
    def add(pod):
        pods.append(pod)
        api.say("ADDED", pod.object())
        return pod

    collector = add(Collector(manifests, work / "collector", run, api, out))
    collector.start("otel-collector").wait_started("otel-collector")

    def server(ip):
        pod = Pod(manifests, ("Deployment", "rustcorn"), ip, HOST, work / ip, run, {"CHAOS_TARGET_PERCENT": str(CHAOS)})
        add(pod).start("statsd-exporter").wait_started("statsd-exporter")
        pod.start("rustcorn").wait_started("rustcorn")
        return pod

    def retire(pod):
        """As the kubelet ends a pod: preStop of the sidecar and TERM to the server at the same time, the sidecar last."""
        begun = time.monotonic()
        equal(f"{pod.ip}: exit code of the server, within {grace} s", pod.stop("rustcorn", grace), 0)
        print(f"{pod.ip}: the server left after {time.monotonic() - begun:.1f} s")
        time.sleep(max(0, begun + last_scrape - time.monotonic()))  # the preStop hook, for as long as the manifest says
        pod.stop("statsd-exporter", 10)
        api.say("DELETED", pod.object("Succeeded"))

    ticks = add(Pod(manifests, ("Deployment", "custom-metrics-example"), "127.0.10.20", HOST, work / "ticks", run))
    ticks.start("custom-metrics-example")
    old = server("127.0.10.1")
    port = next(p["containerPort"] for p in old.container("rustcorn")["ports"] if p["name"] == "http")
    service = Service("127.0.10.100", port, wait_until)
    service.pods.append(old)

    def load(count, users, pause):
        return Load(run["loadtester"], service.url, count, users, pause, work)

    first = load(STEADY, users=8, pause="0s").wait()
    exported = next(p["containerPort"] for p in old.container("statsd-exporter")["ports"] if p["name"] == "statsd-metrics")
    verify("exporter", f"{old.ip}:{exported}")
    # 4 users with a pause keep the load up for longer than the replacement of the pod takes.
    second = load(REQUESTS - STEADY, users=4, pause="150ms")
    new = server("127.0.10.2")
    service.pods.append(new)
    wait_until("the new pod in the Service", lambda: new.ip in service.ready)
    true("the load goes on while the pod is replaced", second.goes_on())
    retire(old)
    service.pods.remove(old)
    true("it goes on still", second.goes_on())
    second.wait()
    service.pods.remove(new)
    retire(new)
    equal("custom-metrics-example: exit code", ticks.stop("custom-metrics-example", 10), 0)
    equal("collector: exit code, after it sent what it held", collector.stop("otel-collector", PATIENCE), 0)

    statuses = first.statuses + second.statuses
    equal("requests that failed", first.failures + second.failures, [])
    equal("answers that the clients have", sum(statuses.values()), REQUESTS)
    true("both pods served", all(service.passed[pod.ip] > 0 for pod in (old, new)), dict(service.passed))
    check(Received(sorted(out.iterdir())), statuses, ticks, (old, new))
    equal("API: asked for anything but the pods of its node", sorted(api.strange), [])


def check(received, statuses, ticks, servers):
    ours = [(resource, span) for resource, span in received.spans.values() if resource.get("service.name") == "rustcorn-app"]
    equal("spans", len(ours), REQUESTS)
    equal("rustcorn_app_hello_requests", received.total("rustcorn_app_hello_requests"), REQUESTS)
    equal("http.server.request.duration, count", received.total("http.server.request.duration"), REQUESTS)
    equal("rustcorn_app_requests_total, as scraped", received.total("rustcorn_app_requests_total"), REQUESTS)
    equal("rustcorn_app_request_duration_seconds, count", received.total("rustcorn_app_request_duration_seconds"), REQUESTS)
    scraped = {int(code): int(count) for code, count in received.by("rustcorn_app_responses_total", "code").items()}
    true(f"rustcorn_app_responses_total of {len(scraped)} codes: what the clients have", scraped == dict(statuses), (scraped, statuses))
    spans = {}
    for _, span in ours:
        code = next(int(a["value"]["intValue"]) for a in span["attributes"] if a["key"] == "http.response.status_code")
        spans[code] = spans.get(code, 0) + 1
    true("spans by status code: what the clients have", spans == dict(statuses))
    equal("rustcorn_app_spans_dropped_total", received.total("rustcorn_app_spans_dropped_total"), None)

    rising = sorted(value for key, points in received.history.items() if key[0] == "custom_metric_example" for value in points)
    values = [value for _, value in rising]
    true(f"custom_metric_example rises: {len(values)} values, {values[0]:.0f} to {values[-1]:.0f}",
         len(set(values)) > 2 and values == sorted(values))
    said = ticks.log("custom-metrics-example").count("custom_metric_example is ")
    equal("custom_metric_example at the end: what its log says", received.total("custom_metric_example"), said)

    pods = {pod.uid for pod in servers}
    instances = {r["service.instance.id"] for r, _ in ours}
    equal("service.instance.id: pod, container, slot", instances, {f"{uid}.rustcorn.{slot}" for uid in pods for slot in (0, 1)})
    wanted = {"k8s.deployment.name": "rustcorn", "k8s.namespace.name": "rustcorn", "k8s.node.name": NODE,
              "k8s.container.name": "rustcorn", "k8s.cluster.name": "some-cluster", "gcp.project_id": "some-project"}
    true("spans say deployment, node, cluster and project", all(wanted.items() <= r.items() for r, _ in ours), ours[0][0])
    scrapes = [resource for (name, _, _), (_, _, _, resource) in received.series.items() if name == "rustcorn_app_requests_total"]
    equal("scraped: one series per pod, named after it", {r["k8s.pod.uid"] for r in scrapes}, pods)
    of_deployment = all(r["k8s.deployment.name"] == "rustcorn" and r["gcp.project_id"] == "some-project" for r in scrapes)
    true("scraped: deployment and project, too", of_deployment, scrapes)
    points = [point for (name, _, _), (_, _, point, _) in received.series.items() if name == "rustcorn_app_requests_total"]
    starts = all(0 < int(p["startTimeUnixNano"]) < int(p["timeUnixNano"]) for p in points)
    true("scraped: sums begin with the exporter's process", starts, points)
    foreign = {n for n in received.names() if n.startswith(("go_", "process_", "promhttp_", "scrape_", "target_"))}
    equal("names that nobody asked for", foreign, set())
    print(f"{len(received.names())} names of metrics in {len(received.series)} series: {', '.join(sorted(received.names()))}")


if __name__ == "__main__":
    main()
