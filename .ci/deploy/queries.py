#!/usr/bin/env python3
"""The queries of both dashboards as recording rules, so that promtool reads them; the one for Google is read by Google's own library,
which knows every field and value there is. Grafana has nothing like that to install."""

import json
import pathlib

import yaml
from google.cloud.monitoring_dashboard_v1 import Dashboard
from google.protobuf.json_format import ParseError

folder = pathlib.Path(__file__).parents[2] / "k8s/observe"
grafana = json.loads((folder / "grafana.json").read_text())
text = (folder / "cloud-monitoring.json").read_text()
google = json.loads(text)
assert len(Dashboard.from_json(text, ignore_unknown_fields=False).mosaic_layout.tiles) == len(google["mosaicLayout"]["tiles"])
try:
    Dashboard.from_json(text.replace('"plotType"', '"plotTyp"'), ignore_unknown_fields=False)
except ParseError:
    pass  # the library can say no
else:
    raise SystemExit("FAILED: a misspelt field is accepted")
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
