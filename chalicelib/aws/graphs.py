"""The graph of a metric: a picture by CloudWatch, and the console's page of the same graph.

Knows GetMetricWidgetImage and the console's links. Must not know tickets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws
from chalicelib.incident.model import Metric

WIDTH, HEIGHT = 900, 320  # pixels; CloudWatch draws up to 2000 by 2000


def draw(aws: Aws, metric: Metric, *, since: datetime, opened: datetime, until: datetime) -> bytes:
    """A PNG of the metric with its limit, and the moment at which the incident opened."""
    widget = {**_graph(metric, aws.region, since, until), "width": WIDTH, "height": HEIGHT, "timezone": "+0000"}
    moment = {"label": "opened", "value": _iso(opened)}
    widget["annotations"] = {**widget.get("annotations", {}), "vertical": [moment]}
    with translated():
        answer = aws.client("cloudwatch").get_metric_widget_image(MetricWidget=json.dumps(widget), OutputFormat="png")
    picture: bytes = answer["MetricWidgetImage"]
    return picture


def console_url(metric: Metric, region: str, *, since: datetime, until: datetime) -> str:
    """The console's page of this graph, for whoever may sign in."""
    home = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
    return f"{home}#metricsV2?graph={jsurl(_graph(metric, region, since, until))}"


def _graph(metric: Metric, region: str, since: datetime, until: datetime) -> dict[str, Any]:
    """Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Metric-Widget-Structure.html."""
    dimensions = [part for dimension in metric.dimensions for part in dimension]
    how = {"stat": metric.stat, "period": metric.period}
    graph: dict[str, Any] = {
        "metrics": [[metric.namespace, metric.name, *dimensions, how]],
        "view": "timeSeries",
        "region": region,
        "title": metric.name,
        "start": _iso(since),
        "end": _iso(until),
    }
    if metric.threshold is not None:
        graph["annotations"] = {"horizontal": [{"label": "limit", "value": metric.threshold}]}
    return graph


def jsurl(value: Any) -> str:
    """A value as the console writes it into its addresses (JSURL): `~(key~'text~list~(~1~2))`."""
    match value:
        case str():
            return "~'" + "".join(_jsurl_character(character) for character in value)
        case Mapping():
            inner = "".join(f"~{name}{jsurl(each)}" for name, each in value.items())
            return f"~({inner[1:]})"
        case Sequence():
            return f"~({''.join(jsurl(each) for each in value)})"
        case _:
            return f"~{json.dumps(value)}"


def _jsurl_character(character: str) -> str:
    if character.isascii() and (character.isalnum() or character in "-_."):
        return character
    code = ord(character)
    return f"*{code:02x}" if code < 0x100 else f"**{code:04x}"


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
