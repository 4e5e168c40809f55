#!/usr/bin/env python3
"""Locust's master and its five workers with the arguments, variables, files and probes of the manifests: the real Locust joins the load
tester, and a swarm of its page reaches the host. Replaced are addresses, and the target, which is a server that counts.

    locust_pods.py RENDERED.yaml PYTHON LOADTESTER WORK

How exact the numbers are, and what happens when somebody dies, .ci/peers.d/locust.sh tests."""

import http.server
import json
import pathlib
import sys
import threading
import urllib.parse
import urllib.request

from cluster import Manifests, Pod, wait_until
from end_to_end import equal, true

MASTER, TARGET = "127.0.10.40", "127.0.10.50"
asked = []


class Target(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        asked.append((self.path, self.headers["host"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()


def page(path, form=None):
    data = None if form is None else urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(f"http://{MASTER}:8089{path}", data, timeout=30) as answer:
        return json.load(answer)


def main():
    manifests, python, loadtester, work = Manifests(sys.argv[1]), *sys.argv[2:4], pathlib.Path(sys.argv[4])
    target = http.server.ThreadingHTTPServer((TARGET, 0), Target)
    target.daemon_threads = True
    threading.Thread(target=target.serve_forever, daemon=True).start()
    host = "{}:{}".format(*target.server_address)
    run = {"locust-master": [python, "-m", "locust"], "locust-worker": [loadtester]}
    # A pod has its addresses for itself; here everybody would get in each other's way.
    bind = {"LOCUST_WEB_HOST": MASTER, "LOCUST_MASTER_BIND_HOST": MASTER, "TARGET_HOST": f"http://{host}", "HOME": str(work)}
    pods = []
    try:
        master = Pod(manifests, ("Deployment", "locust-master"), MASTER, MASTER, work / "master", run, bind)
        pods.append(master)
        master.start("locust-master").wait_started("locust-master")
        workers = manifests.find("Deployment", "locust-worker")["spec"]["replicas"]
        equal("locust: replicas of its worker", workers, 5)
        for n in range(1, workers + 1):
            ip = f"127.0.10.{40 + n}"
            worker = Pod(manifests, ("Deployment", "locust-worker"), ip, ip, work / ip, run, {"LOCUST_MASTER": MASTER})
            pods.append(worker.start("locust-worker"))
        for worker in pods[1:]:
            wait_until(f"the readiness probe of {worker.ip}", lambda: worker.probe("locust-worker", "readinessProbe"))
            true(f"{worker.ip}: joined, and alive", worker.probe("locust-worker", "livenessProbe"))
        equal("locust: workers in its page", [w["state"] for w in page("/stats/requests")["workers"]], ["ready"] * workers)
        true("locust: starts", page("/swarm", {"user_count": 10, "spawn_rate": 10, "user_classes": "Visitor"})["success"])
        wait_until("requests", lambda: len(asked) > 20)
        wait_until("their numbers in the page", lambda: page("/stats/requests")["stats"][-1]["num_requests"] > 10)
        page("/stop", {})
        equal("locust: what was asked, and of whom", set(asked), {("/", host)})
        equal("locust: failures", page("/stats/requests")["errors"], [])
        for worker in pods[1:]:
            grace = worker.spec["terminationGracePeriodSeconds"]
            equal(f"{worker.ip}: exit code, within {grace} s", worker.stop("locust-worker", grace), 0)
        grace = master.spec["terminationGracePeriodSeconds"]
        equal(f"locust: exit code of the master, within {grace} s", master.stop("locust-master", grace), 0)
    except (SystemExit, OSError):
        for pod in pods:
            for log in pod.folder.glob("*.log"):
                print(f"{log.name} of {pod.ip}:\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr)
        raise
    finally:
        for pod in pods:
            pod.kill()


if __name__ == "__main__":
    main()
