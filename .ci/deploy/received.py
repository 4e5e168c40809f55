"""What the collector's file exporters have written: spans, and the last value of every series."""

import json


def attributes(of):
    return {a["key"]: next(iter(a["value"].values()), None) for a in of.get("attributes", [])}


class Received:
    def __init__(self, paths):
        self.spans, self.series, self.history = {}, {}, {}
        for path in paths:
            for line in path.read_text().splitlines():
                document = json.loads(line)
                for batch in document.get("resourceSpans", []):
                    self.take_spans(batch)
                for batch in document.get("resourceMetrics", []):
                    self.take_metrics(batch)

    def take_spans(self, batch):
        resource = attributes(batch["resource"])
        for scope in batch["scopeSpans"]:
            for span in scope["spans"]:
                self.spans[(span["traceId"], span["spanId"])] = (resource, span)

    def take_metrics(self, batch):
        resource = attributes(batch["resource"])
        for scope in batch["scopeMetrics"]:
            for metric in scope["metrics"]:
                data = metric.get("sum") or metric.get("gauge") or metric.get("histogram") or {}
                for point in data.get("dataPoints", []):
                    self.take_point(resource, metric["name"], point)

    def take_point(self, resource, name, point):
        if point.get("flags", 0) & 1:
            return  # no recorded value: the series has ended with its pod
        labels = attributes(point)
        who = (resource.get("service.name"), resource.get("service.instance.id"), resource.get("k8s.pod.uid"))
        key = (name, who, tuple(sorted(labels.items())))
        value = float(point.get("asInt", point.get("asDouble", point.get("count", 0))))
        time = int(point["timeUnixNano"])
        self.history.setdefault(key, []).append((time, value))
        if key not in self.series or self.series[key][0] <= time:
            self.series[key] = (time, value, point, resource)

    def names(self):
        return {name for name, _, _ in self.series}

    def total(self, name, **labels):
        """The sum of the last values of all its series that have these labels; None if there is no series."""
        found = [value for (n, _, have), (_, value, _, _) in self.series.items()
                 if n == name and all(dict(have).get(k) == v for k, v in labels.items())]
        return sum(found) if found else None

    def by(self, name, label):
        sums = {}
        for (n, _, have), (_, value, _, _) in self.series.items():
            if n == name:
                sums[dict(have).get(label)] = sums.get(dict(have).get(label), 0) + value
        return sums
