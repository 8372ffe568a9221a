"""GetMetricWidgetImage of the sandbox: a metric widget and its datapoints drawn as a PNG.

Knows the widget's JSON as AWS documents it. Must not know where the datapoints come from.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Metric-Widget-Structure.html
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

DOTS_PER_INCH = 100
BLUE, RED, GREY = "#1f77b4", "#d13212", "#545b64"  # CloudWatch's own


def draw(widget: dict[str, Any], lines: Sequence[tuple[str, Sequence[tuple[datetime, float]]]]) -> bytes:
    """The widget with one line of datapoints for each of its metrics."""
    # Only who asks for a picture waits for the library.
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    size = (widget.get("width", 600) / DOTS_PER_INCH, widget.get("height", 400) / DOTS_PER_INCH)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    for label, points in lines:
        axes.plot([at for at, _ in points], [value for _, value in points], color=BLUE, label=label)  # type: ignore[arg-type]
    marks = widget.get("annotations", {})
    for mark in marks.get("horizontal", ()):
        axes.axhline(mark["value"], color=RED, linestyle="--", label=f"{mark['label']} {mark['value']:g}")
    for mark in marks.get("vertical", ()):
        axes.axvline(moment(mark["value"]), color=GREY, linestyle=":", label=mark["label"])  # type: ignore[arg-type]
    axes.set_xlim(moment(widget["start"]), moment(widget["end"]))  # type: ignore[arg-type]
    axes.set_title(widget.get("title", ""), loc="left")
    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize="small")
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def prepare() -> None:
    """Load the library now: on a busy machine the first picture may otherwise take longer than whoever asks for it waits."""
    import matplotlib.dates  # noqa: PLC0415 - see above
    import matplotlib.figure  # noqa: F401, PLC0415


def moment(text: str) -> datetime:
    """A widget's start, end or annotation."""
    return datetime.fromisoformat(text).astimezone(UTC)
