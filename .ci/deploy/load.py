"""The load tester, and the Service in front of the pods that it talks to."""

import collections
import json
import random
import socket
import subprocess
import threading
import time


class Service:
    """An address that passes each connection on to one of the pods whose readiness probe holds, asked as often as the kubelet does.
    As kube-proxy, it does not look into connections, and those that are open stay where they are."""

    def __init__(self, ip, port, patience):
        self.pods, self.ready, self.port, self.patience = [], [], port, patience
        self.passed = collections.Counter()
        self.listener = socket.create_server((ip, 0), backlog=128)
        self.url = "http://{}:{}/".format(*self.listener.getsockname())
        threading.Thread(target=self.watch, daemon=True).start()
        threading.Thread(target=self.accept, daemon=True).start()

    def watch(self):
        while True:
            self.ready = [pod.ip for pod in list(self.pods) if pod.probe("rustcorn", "readinessProbe")]
            time.sleep(1)

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            threading.Thread(target=self.pass_on, args=(client,), daemon=True).start()

    def pass_on(self, client):
        self.patience("an endpoint that is ready", lambda: self.ready)
        ip = random.choice(self.ready)
        self.passed[ip] += 1
        try:
            server = socket.create_connection((ip, self.port), timeout=30)
        except OSError:
            client.close()  # the load tester counts it as a failure
            return
        server.settimeout(None)
        back = threading.Thread(target=self.pump, args=(server, client), daemon=True)
        back.start()
        self.pump(client, server)
        back.join()
        client.close()
        server.close()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # A reset is passed on as the end: half an answer is a failure for the load tester either way.
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it had ended


class Load:
    """`rustcorn-loadtester run` with an exact number of requests."""

    def __init__(self, program, url, count, users, pause, folder):
        self.out = folder / f"load-{count}.json"
        scenario = folder / f"load-{count}.toml"
        # Any status is an answer: the server is told to vary them.
        scenario.write_text(f'host = "{url}"\nusers = {users}\nrequests = {count}\nwait = "{pause}"\nexpect = "100-599"\n'
                            '[[task]]\npath = "/"\n')
        self.process = subprocess.Popen([program, "run", scenario, "-q", "--json", self.out], stdout=subprocess.PIPE, text=True)

    def goes_on(self):
        return self.process.poll() is None

    def wait(self):
        said, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise SystemExit(f"FAILED: the load tester's exit code is {self.process.returncode}\n{said}")
        result = json.loads(self.out.read_text())
        self.statuses = collections.Counter({int(code): count for code, count in result["total"]["statuses"].items()})
        self.failures = result["errors"]
        return self
