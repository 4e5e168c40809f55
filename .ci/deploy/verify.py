"""What `skaffold verify` runs in the cluster, run here: skaffold.yaml's own commands, but for the addresses in them."""

import pathlib
import re
import subprocess

import yaml

SKAFFOLD = pathlib.Path(__file__).parents[2] / "skaffold.yaml"


def verify(name, address):
    container = next(v["container"] for v in yaml.safe_load(SKAFFOLD.read_text())["verify"] if v["name"] == name)
    command = [*container["command"], *container["args"]]
    here = [re.sub(r"http://[\w.-]+(:\d+)?/", f"http://{address}/", part) for part in command]
    if here == command:
        raise SystemExit(f"FAILED: skaffold verify, {name}: no address in {command}")
    done = subprocess.run(here, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"FAILED: skaffold verify, {name}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    print(f"{f'skaffold verify, {name}: its command at {address}':<96} {done.stdout.strip() or 'yes'}")
