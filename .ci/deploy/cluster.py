"""What a node does with rendered manifests, as far as processes on loopback can: pods with their environment, files and probes, and a
Kubernetes API that knows them. Every pod has an address of its own from 127.0.10.0/24, so ports are those of the manifests."""

import http.client
import http.server
import json
import pathlib
import re
import signal
import subprocess
import threading
import time
import urllib.parse

import yaml

NODE = "node-1"
PATIENCE = 90  # seconds; for what takes moments on a machine that does nothing else


def wait_until(what, true, patience=PATIENCE):
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"FAILED: waited in vain for {what}")
        time.sleep(0.1)


class Manifests:
    def __init__(self, path):
        self.all = [document for document in yaml.safe_load_all(pathlib.Path(path).read_text()) if document]

    def find(self, kind, name):
        return next(d for d in self.all if d["kind"] == kind and d["metadata"]["name"] == name)


class Api:
    """Lists and watches pods, for the collector's discovery and its k8s_attributes."""

    def __init__(self):
        self.pods, self.version, self.changes = {}, 1, threading.Condition()
        self.events, self.strange = [], set()
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                query = dict(urllib.parse.parse_qsl(url.query))
                if url.path != "/api/v1/pods":
                    api.strange.add(self.path)
                    return self.answer(404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404})
                if query.get("fieldSelector") != f"spec.nodeName={NODE}":
                    api.strange.add(self.path)  # somebody looks beyond its node
                if query.get("watch") in ("1", "true"):
                    return self.watch(query)
                with api.changes:
                    items, version = list(api.pods.values()), str(api.version)
                return self.answer(200, {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items})

            def answer(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def watch(self, query):
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                with api.changes:
                    position, initial = len(api.events), []
                    if query.get("sendInitialEvents") == "true":
                        initial = [{"type": "ADDED", "object": pod} for pod in api.pods.values()]
                        metadata = {"resourceVersion": str(api.version), "annotations": {"k8s.io/initial-events-end": "true"}}
                        initial.append({"type": "BOOKMARK", "object": {"kind": "Pod", "apiVersion": "v1", "metadata": metadata}})
                    elif "resourceVersion" in query:
                        after = int(query["resourceVersion"] or 0)
                        initial = [e for e in api.events if int(e["object"]["metadata"]["resourceVersion"]) > after]
                try:
                    for event in initial:
                        self.send(event)
                    while True:
                        with api.changes:
                            if not api.changes.wait_for(lambda: len(api.events) > position, timeout=300):
                                return
                            new, position = api.events[position:], len(api.events)
                        for event in new:
                            self.send(event)
                except OSError:
                    pass  # whoever watched has left

            def send(self, event):
                self.wfile.write(json.dumps(event).encode() + b"\n")
                self.wfile.flush()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def say(self, kind, pod):
        with self.changes:
            self.version += 1
            pod["metadata"]["resourceVersion"] = str(self.version)
            key = pod["metadata"]["uid"]
            if kind == "DELETED":
                self.pods.pop(key, None)
            else:
                self.pods[key] = pod
            self.events.append({"type": kind, "object": json.loads(json.dumps(pod))})
            self.changes.notify_all()


class Pod:
    """One pod of a workload: its containers are processes, its volumes folders, its address is `ip`."""

    def __init__(self, manifests, workload, ip, host_ip, folder, programs, extra_env=None):
        kind, name = workload
        self.owner, self.ip, self.folder = manifests.find(kind, name), ip, pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.template = self.owner["spec"]["template"]
        self.spec, self.programs, self.extra_env = self.template["spec"], programs, extra_env or {}
        self.processes, self.manifests = {}, manifests
        digit = ip.rsplit(".", 1)[1]
        self.name, self.uid = f"{name}-5d9c7b6f4-{digit:0>5}", f"00000000-0000-4000-8000-{digit:0>12}"
        self.fields = {
            "metadata.namespace": self.owner["metadata"]["namespace"],
            "metadata.name": self.name,
            "metadata.uid": self.uid,
            "status.podIP": ip,
            "status.hostIP": host_ip,
            "spec.nodeName": NODE,
        }
        self.volumes = {volume["name"]: self.volume(volume) for volume in self.spec.get("volumes", [])}

    def volume(self, volume):
        folder = self.folder / "volumes" / volume["name"]
        folder.mkdir(parents=True)
        if "configMap" in volume:
            for name, text in self.manifests.find("ConfigMap", volume["configMap"]["name"])["data"].items():
                (folder / name).write_text(self.local(text))
        return folder

    def local(self, text):
        """The addresses of a pod that has a network of its own, moved to this pod's."""
        text = text.replace("127.0.0.1:", f"{self.ip}:").replace("0.0.0.0:", f"{self.ip}:")
        return re.sub(r"=:(\d+)$", rf"={self.ip}:\1", text)

    def container(self, name):
        return next(c for c in self.spec.get("initContainers", []) + self.spec["containers"] if c["name"] == name)

    def environment(self, container):
        env = {}
        for variable in container.get("env", []):
            if "value" in variable:
                value = re.sub(r"\$\((\w+)\)", lambda m: env.get(m.group(1), m.group(0)), variable["value"])
            else:
                value = self.fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            env[variable["name"]] = value
        return env | self.extra_env

    def start(self, name):
        container = self.container(name)
        env = self.environment(container)
        arguments = [re.sub(r"\$\((\w+)\)", lambda m: env[m.group(1)], self.local(argument)) for argument in container.get("args", [])]
        mounts = {mount["mountPath"]: str(self.volumes[mount["name"]]) for mount in container.get("volumeMounts", [])}
        if mounts:  # at once, because the folders may be below a path that is mounted, /tmp
            paths = re.compile("|".join(map(re.escape, mounts)))
            arguments = [paths.sub(lambda m: mounts[m.group(0)], argument) for argument in arguments]
        log = open(self.folder / f"{name}.log", "wb")
        self.processes[name] = subprocess.Popen([*self.programs[name], *arguments], env=env, stdout=log, stderr=subprocess.STDOUT)
        return self

    def probe(self, name, which):
        container = self.container(name)
        get = container[which]["httpGet"]
        port = next(p["containerPort"] for p in container["ports"] if p["name"] == get["port"])
        try:
            connection = http.client.HTTPConnection(self.ip, port, timeout=container[which].get("timeoutSeconds", 1))
            connection.request("GET", get["path"])
            return 200 <= connection.getresponse().status < 400
        except OSError:
            return False

    def wait_started(self, name):
        def up():
            code = self.processes[name].poll()
            if code is not None:
                raise SystemExit(f"FAILED: {name} of {self.name} ended with {code}:\n{self.log(name)}")
            return self.probe(name, "startupProbe")

        wait_until(f"the startup probe of {name}", up)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def object(self, phase="Running"):
        labels = self.template["metadata"]["labels"] | {"pod-template-hash": "5d9c7b6f4"}
        owner = {"kind": "DaemonSet", "name": self.owner["metadata"]["name"]}
        if self.owner["kind"] == "Deployment":
            owner = {"kind": "ReplicaSet", "name": f"{self.owner['metadata']['name']}-5d9c7b6f4"}
        state = [{"name": c["name"], "ready": True, "state": {"running": {}}, "containerID": f"containerd://{c['name']}",
                  "image": c["image"], "imageID": "", "restartCount": 0} for c in self.spec["containers"]]
        return {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {
                "name": self.name,
                "namespace": self.fields["metadata.namespace"],
                "uid": self.uid,
                "labels": labels,
                "ownerReferences": [owner | {"apiVersion": "apps/v1", "uid": f"{self.uid}-owner", "controller": True}],
                "creationTimestamp": "2026-01-01T00:00:00Z",
            },
            "spec": json.loads(json.dumps(self.spec)) | {"nodeName": NODE},
            "status": {
                "phase": phase,
                "podIP": self.ip,
                "podIPs": [{"ip": self.ip}],
                "hostIP": self.fields["status.hostIP"],
                "startTime": "2026-01-01T00:00:00Z",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": state,
            },
        }

    def stop(self, name, patience):
        """TERM, and the exit code; None if it had to be killed."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None

    def kill(self):
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.processes.clear()
