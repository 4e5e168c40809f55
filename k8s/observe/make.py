#!/usr/bin/env python3
"""Writes the two dashboards, grafana.json and cloud-monitoring.json, from the one table of panels below.

    python3 k8s/observe/make.py          # writes them
    python3 k8s/observe/make.py --check  # fails if they are not what the table says
"""

import json
import pathlib
import sys

PREFIX = "rustcorn_app"  # statsd_prefix in k8s/base/app/app.toml
FOLDER = pathlib.Path(__file__).parent

# Title, what it tells, unit (Grafana's name; Cloud Monitoring has UCUM's), and its queries: legend and PromQL.
PANELS = [
    ("Requests", "Requests answered per second, by status class.", "reqps", [
        (f"{status}xx", f'sum(rate({PREFIX}_responses_total{{code=~"{status}.."}}[5m]))') for status in range(2, 6)
    ]),
    ("Requests that failed", "Share of answers with a status of 500 and above.", "percentunit", [
        ("5xx", f'sum(rate({PREFIX}_responses_total{{code=~"5.."}}[5m])) / sum(rate({PREFIX}_responses_total[5m]))'),
    ]),
    ("Time to answer", "From a request's head to the end of its answer.", "s", [
        (f"p{quantile}", f"histogram_quantile(0.{quantile}, sum by (le) (rate({PREFIX}_request_duration_seconds_bucket[5m])))")
        for quantile in (50, 90, 99)
    ]),
    ("Workers", "Ready should be target; all of them busy means that requests wait.", "short", [
        ("ready", f"sum({PREFIX}_workers_ready)"),
        ("busy", f"sum({PREFIX}_workers_busy)"),
        ("target", f"sum({PREFIX}_workers_target)"),
    ]),
    ("Restarts", "Workers that ended without being asked to, per hour, by cause.", "short", [
        ("{{cause}}", f"sum by (cause) (increase({PREFIX}_worker_restarts_total[1h]))"),
    ]),
    ("Recycled", "Workers per hour that were replaced although they were well, by limit.", "short", [
        ("{{limit}}", f"sum by (limit) (increase({PREFIX}_worker_recycles_total[1h]))"),
    ]),
    ("Reloads", "Reloads per hour, by result; a failed one changed nothing.", "short", [
        ("{{result}}", f"sum by (result) (increase({PREFIX}_reloads_total[1h]))"),
    ]),
    ("In flight", "Requests without an answer yet, and open connections.", "short", [
        ("requests", f"sum({PREFIX}_requests_in_flight)"),
        ("connections", f"sum({PREFIX}_connections)"),
    ]),
    ("Connections accepted", "New connections per second: near the rate of requests where nobody keeps them.", "cps", [
        ("accepted", f"sum(rate({PREFIX}_connections_accepted_total[5m]))"),
    ]),
    ("Bytes answered", "Bodies of answers, per second.", "Bps", [
        ("bodies", f"sum(rate({PREFIX}_response_bytes_total[5m]))"),
    ]),
    ("Clients that left", "Requests per second whose client left before there was an answer.", "reqps", [
        ("aborted", f"sum(rate({PREFIX}_requests_aborted_total[5m]))"),
    ]),
    ("Spans lost", "Spans per second that did not reach the collector.", "short", [
        ("dropped", f"sum(rate({PREFIX}_spans_dropped_total[5m]))"),
    ]),
    ("Log", "Lines of warning and above per minute, by level.", "short", [
        ("{{level}}", f"sum by (level) (rate({PREFIX}_log_messages_total[5m])) * 60"),
    ]),
]
UCUM = {"reqps": "1/s", "cps": "1/s", "percentunit": "10^2.%", "s": "s", "Bps": "By/s", "short": "1"}
WIDTH, HEIGHT = 12, 8  # of a panel, in a grid 24 wide (Grafana's); Cloud Monitoring gets twice as many columns


def grafana():
    panels = []
    for index, (title, text, unit, queries) in enumerate(PANELS):
        source = {"type": "prometheus", "uid": "${datasource}"}
        panels.append({
            "id": index + 1,
            "title": title,
            "description": text,
            "type": "timeseries",
            "datasource": source,
            "gridPos": {"x": index % 2 * WIDTH, "y": index // 2 * HEIGHT, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
            "targets": [
                {"refId": chr(ord("A") + n), "datasource": source, "expr": expression, "legendFormat": legend}
                for n, (legend, expression) in enumerate(queries)
            ],
        })
    return {
        "uid": "rustcorn",
        "title": "rustcorn",
        "tags": ["rustcorn"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        ]},
        "panels": panels,
    }


def cloud_monitoring():
    tiles = []
    for index, (title, text, unit, queries) in enumerate(PANELS):
        tiles.append({
            "xPos": index % 2 * WIDTH * 2,
            "yPos": index // 2 * HEIGHT * 2,
            "width": WIDTH * 2,
            "height": HEIGHT * 2,
            "widget": {
                "title": f"{title}: {text}",
                "xyChart": {
                    "dataSets": [
                        {
                            "plotType": "LINE",
                            "targetAxis": "Y1",
                            "legendTemplate": legend.replace("{{", "${labels.").replace("}}", "}"),  # as for all of PromQL
                            "timeSeriesQuery": {"prometheusQuery": expression, "unitOverride": UCUM[unit]},
                        }
                        for legend, expression in queries
                    ],
                    "yAxis": {"scale": "LINEAR"},
                },
            },
        })
    return {"displayName": "rustcorn", "mosaicLayout": {"columns": 48, "tiles": tiles}}


def main():
    stale = []
    for name, make in (("grafana.json", grafana), ("cloud-monitoring.json", cloud_monitoring)):
        text = json.dumps(make(), indent=2) + "\n"
        path = FOLDER / name
        if "--check" not in sys.argv[1:]:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(name)
    if stale:
        sys.exit(f"{', '.join(stale)}: not what make.py says; run python3 k8s/observe/make.py")


if __name__ == "__main__":
    main()
