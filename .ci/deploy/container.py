#!/usr/bin/env python3
"""The start path of the image, without a container runtime: the static binary as process 1 of its own namespaces, in a root that holds
what the image holds and is mounted read-only, as user 65532 without capabilities, with the memory that the manifest allows.

    container.py RENDERED.yaml PROGRAMS WORK

Needs root and a cgroup that it may make; without them it fails."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading

from cluster import Manifests, wait_until
from end_to_end import equal, true
from load import Load
from verify import verify

IP = "127.0.10.30"
USER = 65532


def root(programs, toml, folder):
    for name in ("proc", "etc/rustcorn"):
        (folder / name).mkdir(parents=True)
    shutil.copy(programs / "rustcorn", folder / "rustcorn")
    (folder / "etc/rustcorn/app.toml").write_text(toml)
    # Names are looked up by the binary itself: nothing that glibc could load is here.
    (folder / "etc/hosts").write_text(f"127.0.0.1 localhost\n{IP} statsd.test\n")
    (folder / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    (folder / "etc/passwd").write_text(f"nonroot:x:{USER}:{USER}::/:/nonexistent\n")


class Memory:
    """A cgroup with a limit, of either version."""

    def __init__(self, limit):
        top = pathlib.Path("/sys/fs/cgroup")
        two = (top / "cgroup.controllers").exists()
        self.folder = (top if two else top / "memory") / f"rustcorn-{os.getpid()}"
        self.limit_file = "memory.max" if two else "memory.limit_in_bytes"
        self.peak_file = "memory.peak" if two else "memory.max_usage_in_bytes"
        try:
            self.folder.mkdir()
        except OSError as error:
            raise SystemExit(f"FAILED: no cgroup can be made, so the memory limit would not be tested: {error}") from error
        try:
            self.write(self.limit_file, limit)
        except OSError as error:
            self.remove()
            raise SystemExit(f"FAILED: a cgroup without a limit on its memory: {error}") from error

    def write(self, name, value):
        (self.folder / name).write_text(str(value))

    def read(self, name):
        return int((self.folder / name).read_text())

    def remove(self):
        wait_until("the end of the cgroup's processes", lambda: not (self.folder / "cgroup.procs").read_text().strip())
        self.folder.rmdir()


def bytes_of(quantity):
    return int(quantity.removesuffix("Mi")) << 20


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


def ask():
    connection = http.client.HTTPConnection(IP, 8080, timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.status, answer.read()


def main():
    manifests, programs, work = Manifests(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    spec = manifests.find("Deployment", "rustcorn")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    toml = next(d["data"]["app.toml"] for d in manifests.all if d["kind"] == "ConfigMap" and "app.toml" in d["data"])
    toml = toml.replace("0.0.0.0:", f"{IP}:").replace('"127.0.0.1:9125"', '"statsd.test:9125"').replace("delay_ms = 0", "delay_ms = 5")
    statsd = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    statsd.bind((IP, 9125))
    statsd.settimeout(30)
    folder = work / "root"
    root(programs, toml, folder)
    equal("user of the manifest", spec["securityContext"]["runAsUser"], USER)
    limit = container["resources"]["limits"]["memory"]
    memory = Memory(bytes_of(limit))
    script = (
        f"echo $$ >{memory.folder}/cgroup.procs && mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && mount -t proc -o ro proc {folder}/proc && "
        "exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid "
        f"chroot --userspec={USER}:{USER} --groups= {folder} /rustcorn {' '.join(container['args'])}"
    )
    log = open(work / "container.log", "wb")
    command = ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "sh", "-c", script]
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}  # an image's
    process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        check(process, statsd, memory, limit, programs, work)
    finally:
        # unshare cannot: a process that changed its user forgets what was to become of it at its parent's death.
        for pid in children(process.pid) if process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)  # process 1, and with it the whole namespace
        process.kill()
        process.wait()
        memory.remove()


def served():
    connection = http.client.HTTPConnection(IP, 9000, timeout=30)
    connection.request("GET", "/status", headers={"Accept": "application/json"})
    return json.load(connection.getresponse())["requests"]["total"]


def check(process, statsd, memory, limit, programs, work):
    log = work / "container.log"

    def load(count, users, pause):
        return Load(programs / "rustcorn-loadtester", f"http://{IP}:8080/", count, users, pause, work)

    def ready():
        if process.poll() is not None:
            raise SystemExit(f"FAILED: it ended with {process.returncode}:\n{log.read_text()}")
        try:
            connection = http.client.HTTPConnection(IP, 9000, timeout=5)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    wait_until("the container", ready)
    master = children(process.pid)[0]
    facts = status(master)
    equal("it is process 1", facts["NSpid"][-1], "1")
    equal("bytes of memory that its cgroup allows", memory.read(memory.limit_file), bytes_of(limit))
    groups = [pathlib.Path(f"/proc/{pid}/cgroup").read_text() for pid in [master, *children(master)]]
    true("master and workers are in that cgroup", all(memory.folder.name in group for group in groups), groups)
    equal("user, effective and saved", facts["Uid"], [str(USER)] * 4)
    equal("capabilities", (facts["CapEff"], facts["CapPrm"]), (["0" * 16], ["0" * 16]))
    equal("no new privileges", facts["NoNewPrivs"], ["1"])
    mounts = [line.split() for line in pathlib.Path(f"/proc/{master}/mountinfo").read_text().splitlines()]
    seen = [m for m in mounts if m[4] == "/"]
    true("the root is read-only, and so is all that is in it", all("ro" in m[5].split(",") for m in seen) and seen, mounts)
    equal("it answers", ask(), (200, b"Hello World!"))
    verify("application", f"{IP}:8080")
    true("statsd was found by its name, without a shared library", b"rustcorn_app.gunicorn." in statsd.recv(65535))
    answers = load(2000, users=16, pause="0s").wait()
    equal("2000 requests", (dict(answers.statuses), answers.failures), ({200: 2000}, []))

    before = children(master)
    worker = next(pid for pid in before if b"worker" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(worker, signal.SIGKILL)
    wait_until("another worker", lambda: worker not in children(master) and len(children(master)) == len(before) and ready())
    zombies = [pid for pid in children(master) if status(pid)["State"][0] == "Z"]
    equal("zombies, after a worker was killed", zombies, [])

    # TERM while requests are on their way: all of them are answered, and it leaves within its grace.
    before = served()
    answers = load(400, users=4, pause="20ms")
    wait_until("some of the load", lambda: served() > before + 50)
    os.kill(master, signal.SIGTERM)
    answers.wait()
    equal("400 requests around a TERM", (dict(answers.statuses), answers.failures), ({200: 400}, []))
    ended = threading.Timer(60, process.kill)
    ended.start()
    code = process.wait()
    ended.cancel()
    equal("exit code", code, 0)
    peak = memory.read(memory.peak_file)
    true(f"memory: {peak / (1 << 20):.1f} MiB at most, file pages included, of {limit}", 0 < peak <= bytes_of(limit))
    equal("killed for memory", "out of memory" in log.read_text().replace("Perhaps out of memory?", "", 1), False)


if __name__ == "__main__":
    main()
