#!/usr/bin/env python3
"""The queries of both dashboards as recording rules, so that promtool reads them."""

import json
import pathlib

import yaml

folder = pathlib.Path(__file__).parents[2] / "k8s/observe"
grafana = json.loads((folder / "grafana.json").read_text())
google = json.loads((folder / "cloud-monitoring.json").read_text())
ours = [target["expr"] for panel in grafana["panels"] for target in panel["targets"]]
theirs = [
    data["timeSeriesQuery"]["prometheusQuery"]
    for tile in google["mosaicLayout"]["tiles"]
    for data in tile["widget"]["xyChart"]["dataSets"]
]
assert ours == theirs and len(ours) > 12, "both dashboards ask the same"
tiles = google["mosaicLayout"]["tiles"]
assert all(t["xPos"] + t["width"] <= google["mosaicLayout"]["columns"] for t in tiles), "a tile leaves the grid"
rules = [{"record": f"panel:query:{n}", "expr": expression} for n, expression in enumerate(ours)]
print(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
