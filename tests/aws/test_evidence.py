"""What a ticket opens with beside the report: drawn by moto's CloudWatch, read from fakes, and never in the way."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from chalicelib.aws import graphs
from chalicelib.aws.evidence import GRAPH_BEFORE, AwsEvidence
from chalicelib.aws.pictures import Pictures
from chalicelib.aws.session import Aws
from chalicelib.errors import AwsUnavailableError, NotFoundError
from chalicelib.incident.document import Code, Document, Heading, Picture
from chalicelib.incident.model import Grade, Incident, Member, Metric, Says
from chalicelib.rollout.model import Phase
from sandbox import graph
from tests.fakes.cloud import REGION
from tests.run.stage import Stage, Talk

PNG = b"\x89PNG\r\n\x1a\n"
METRIC = Metric(
    namespace="AWS/ECS",
    name="MemoryUtilization",
    dimensions=(("Service", "node-1 (a)"),),
    stat="Maximum",
    threshold=85.0,
)


@pytest.fixture
def pictures(aws: Aws) -> Pictures:
    """The ops bucket."""
    graph.prepare()
    aws.client("s3").create_bucket(Bucket="ops")
    return Pictures(aws, bucket="ops", public_url="https://ops.test/api/")


def an_incident(stage: Stage, *members: str, metric: Metric | None = None, direct: bool = False) -> Incident:
    """Trouble of these members, since now."""
    return Incident(
        key="staging/nodes/memory_high", kind="memory_high", grade=Grade.P2, title="memory", opened_at=stage.now,
        group="nodes", direct=direct, metric=metric,
        members=tuple(
            Member(name=name, says=Says.FIRING, grade=Grade.P2, since=stage.now, alarm=f"{name}-memory") for name in members
        ),
    )  # fmt: skip


def evidence(stage: Stage, aws: Any, pictures: Pictures | None = None) -> AwsEvidence:
    """The adapter on a stage of fakes."""
    return AwsEvidence(stage.fleet, stage.ledger, stage.ecs, stage.logs, aws, pictures)


def under(document: Document, heading: str) -> Document:
    """The blocks below a heading."""
    start = next((i for i, block in enumerate(document) if block == Heading(heading)), None)
    if start is None:
        return ()
    rest = document[start + 1 :]
    end = next((i for i, block in enumerate(rest) if isinstance(block, Heading)), len(rest))
    return rest[:end]


def test_metric_that_crossed_its_limit_is_drawn_and_opens_in_a_browser(aws: Aws, pictures: Pictures) -> None:
    """The ticket's address is ours; behind it S3's own link gives the picture that CloudWatch drew."""
    stage = Stage()
    points = [
        {
            "MetricName": METRIC.name, "Value": value, "Timestamp": stage.now - timedelta(minutes=ago),
            "Dimensions": [{"Name": "Service", "Value": "node-1 (a)"}],
        }
        for ago, value in ((90, 40.0), (30, 60.0), (1, 92.0))
    ]  # fmt: skip
    aws.client("cloudwatch").put_metric_data(Namespace=METRIC.namespace, MetricData=points)
    told = evidence(stage, aws, pictures).gather(an_incident(stage, "node-1", metric=METRIC), stage.now)
    (picture,) = under(told, "The metric")
    assert isinstance(picture, Picture)
    name = picture.url.removeprefix("https://ops.test/api/pictures/")
    opened = pictures.open(name)
    assert opened is not None
    answer = requests.get(opened, timeout=5)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content.startswith(PNG)
    without_points = graphs.draw(
        aws, replace(METRIC, name="Other"), since=stage.now - GRAPH_BEFORE, opened=stage.now, until=stage.now
    )
    assert answer.content != without_points


@pytest.mark.parametrize("name", ["", "x.png", "../secret", "a" * 32, "a" * 31 + "/.png", "a" * 32 + ".png/.."])
def test_name_that_no_picture_has_opens_nothing(pictures: Pictures, name: str) -> None:
    """Nothing else of the bucket can be reached."""
    assert pictures.open(name) is None


def test_two_pictures_have_names_that_nobody_guesses(pictures: Pictures) -> None:
    """The name is what allows to see it."""
    names = {pictures.keep(PNG).rsplit("/", 1)[-1] for _ in range(3)}
    assert len(names) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32}\.png", name) for name in names)


def test_link_to_the_graph_is_the_console_s_own_spelling() -> None:
    """Blanks and parentheses of a dimension are data; the address has the metric, its limit and the hours around it."""
    stage = Stage()
    url = graphs.console_url(METRIC, REGION, since=stage.now, until=stage.now + timedelta(hours=1))
    _, _, graph = url.partition("#metricsV2?graph=")
    assert "~(metrics~(~(~'AWS*2fECS~'MemoryUtilization~'Service~'node-1*20*28a*29~(stat~'Maximum~period~60)))" in graph
    assert "annotations~(horizontal~(~(label~'limit~value~85.0)))" in graph
    assert unquote(url) == url


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "~'plain"), ("a b/ü€", "~'a*20b*2f*fc**20ac"), (1.5, "~1.5"), (None, "~null"), (True, "~true"),
        ({"a": [1, "x"], "b": {}}, "~(a~(~1~'x)~b~())"),
    ],
)  # fmt: skip
def test_values_are_written_as_jsurl(value: Any, written: str) -> None:
    """The console's addresses are JSURL."""
    assert graphs.jsurl(value) == written


def test_without_a_bucket_the_link_to_the_graph_is_left(aws: Aws) -> None:
    """A stage whose API people cannot reach has no pictures, and asks CloudWatch for none."""
    stage = Stage()
    told = evidence(stage, aws).gather(an_incident(stage, "node-1", metric=METRIC), stage.now)
    assert under(told, "The metric") == ()
    assert "metricsV2?graph=" in json.dumps([str(block) for block in under(told, "Where to look")])


def test_graph_that_cannot_be_drawn_is_said_and_hides_nothing_else(aws: Aws) -> None:
    """Not a bucket, not a graph; the rest is there."""
    stage = Stage()
    lost = Pictures(aws, bucket="gone", public_url="https://ops.test")
    told = evidence(stage, aws, lost).gather(an_incident(stage, "node-1", metric=METRIC), stage.now)
    assert "could not be read" in str(under(told, "The metric"))
    assert under(told, "Where to look")


def test_log_of_who_is_in_trouble_is_there_though_nothing_died() -> None:
    """The newest task's last lines, of at most two services of the fleet."""
    stage = Stage()
    names = stage.names[:2]
    for name in names:
        (task,) = stage.ecs.running(name)
        stage.ecs.all_tasks[task.arn] = replace(task, created_at=stage.now)
        stage.logs.all[task.arn] = f"{name}: no peers"
    told = evidence(stage, None).gather(an_incident(stage, *names, "not-of-the-fleet"), stage.now)
    assert [b.text for b in under(told, "What was logged last") if isinstance(b, Code)] == [
        f"{n}: no peers" for n in names
    ]


def test_rollout_that_stalls_without_a_death_shows_its_target_s_log() -> None:
    """What the new release said last, not what runs after it was taken back."""
    stage = Stage()
    first = stage.names[0]
    stage.bad[first] = Talk(stands_since=stage.now)
    stage.push()
    stage.run()
    rollout = stage.rollout()
    assert rollout is not None
    assert rollout.phase is Phase.ROLLED_BACK
    assert rollout.log == ""
    step = next(s for s in rollout.touched if s.service == first)
    for task in stage.ecs.all_tasks.values():
        if task.service == first:
            stage.logs.all[task.arn] = "target waits" if task.revision == step.target else "stable says"
            stage.ecs.all_tasks[task.arn] = replace(task, created_at=stage.now)
    told = evidence(stage, None).gather(an_incident(stage, rollout.id, direct=True), stage.now)
    assert [b.text for b in under(told, "What was logged last") if isinstance(b, Code)] == ["target waits"]
    assert under(told, "What the release changes")


@pytest.mark.parametrize("error", [AwsUnavailableError("ecs"), NotFoundError("revision")])
def test_log_that_cannot_be_read_is_said(error: Exception) -> None:
    """Evidence never raises."""
    stage = Stage()
    stage.calls.fail("ecs.tasks", error)
    told = evidence(stage, None).gather(an_incident(stage, stage.names[0]), stage.now)
    assert "could not be read" in str(under(told, "What was logged last"))
    assert under(told, "Where to look")
