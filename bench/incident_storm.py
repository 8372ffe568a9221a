"""`python -m bench.incident_storm`: a storm of alarm events, beside Prometheus' Alertmanager on the same stream.

Each of 50 causes fires on 20 members, every event twice, shuffled. Ours goes the whole way but for storage: the event's JSON is
read, noted, folded and told to a loopback tracker over HTTP; the ledger is the tests' fake, because moto's DynamoDB copies its
whole table at each transaction and would be all that is measured.
With `--alertmanager PATH` (Debian: prometheus-alertmanager) the same alerts are sent to it, grouped by the same key, and its
groups are counted by a webhook: it is the oracle, 50 for both. Prints events a second, tickets, and the ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chalicelib.events.alarm import alarm_changed
from chalicelib.fleet.load import load
from chalicelib.incident.alarms import report_of_alarm
from chalicelib.incident.document import Document
from chalicelib.incident.model import Incident
from chalicelib.incident.ports import Explanation
from chalicelib.incident.run import Desk, advance_incidents
from chalicelib.tickets.github import GitHubIssues
from sandbox.trackers.desk import TOKENS
from sandbox.trackers.desk import Desk as Trackers
from sandbox.trackers.github import GitHub
from tests.fakes.ledger import FakeLedger

CAUSES, MEMBERS = 50, 20
REGION = "us-east-1"
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
FLEET = Path(__file__).parents[1] / "chalicelib" / "fleet" / "staging.yaml"


class Quiet:
    """Nothing explains, nothing is to be gathered, and what fires goes on firing."""

    def explain(self, incident: Incident, now: datetime) -> Explanation | None:
        """The port `Circumstances`."""

    def gather(self, incident: Incident, now: datetime) -> Document:  # noqa: ARG002 - likewise
        """The port `Evidence`."""
        return ()

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """The port `Alarms`."""
        return dict.fromkeys(names, "ALARM")


def stream(number: int) -> list[dict[str, Any]]:
    """So many events, each of them twice, shuffled."""
    events = []
    for index in range(number // 2):
        cause, member, turn = index % CAUSES, index // CAUSES % MEMBERS, index // (CAUSES * MEMBERS)
        name = f"xai-staging-cause{cause:02}-m{member:02}"
        at = (START + timedelta(seconds=index * 0.1, milliseconds=turn)).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")
        state = {"value": "ALARM", "reason": "Threshold Crossed", "timestamp": at, "reasonData": '{"threshold": 80.0}'}
        detail = {"alarmName": name, "state": state, "previousState": {"value": "OK"}, "configuration": {}}
        arn = f"arn:aws:cloudwatch:{REGION}:123456789012:alarm:{name}"
        events.append({"resources": [arn], "time": "2026-01-05T12:00:00Z", "detail": detail})
    doubled = [*events, *events]
    random.Random(1).shuffle(doubled)  # noqa: S311 - the same storm each time
    return doubled


def ours(events: Sequence[Mapping[str, Any]]) -> tuple[float, int, int]:
    """Seconds, tickets, and events counted by the incidents."""
    fleet = load(FLEET)
    rule = {"match": r"xai-staging-(?P<resource>cause\d\d)-m\d\d", "kind": "alarm", "grade": "P3"}
    rules = fleet.model_validate(
        {**fleet.model_dump(mode="json"), "incidents": {**fleet.incidents.model_dump(mode="json"), "alarms": [rule]}}
    )
    trackers = Trackers(lambda: datetime.now(UTC), GitHub)
    trackers.start()
    github = GitHubIssues(
        api_url=f"{trackers.url}/github", repository="xai/ops", token=lambda: TOKENS["github", "token_secret"]
    )
    policy = rules.incidents.model_copy(update={"trackers": {"github": rules.incidents.trackers["github"]}})
    quiet, ledger = Quiet(), FakeLedger()
    began, now = time.perf_counter(), START
    for index, event in enumerate(events):
        now = START + timedelta(seconds=index * 0.1)
        report = report_of_alarm(alarm_changed(dict(event)), rules)
        if report is not None:
            ledger.put_reports([report], wake_at=now + timedelta(seconds=policy.gather_seconds))
    while any(record.reports or not record.incident.copies for record in ledger.all_incidents.values()):
        now += timedelta(seconds=60)
        desk = Desk(
            outbox=ledger, trackers={"github": github}, policy=policy, circumstances=quiet, alarms=quiet, evidence=quiet,
            lease_seconds=90,
        )  # fmt: skip
        advance_incidents(desk, now=now)
    seconds = time.perf_counter() - began
    counted = sum(record.incident.count for record in ledger.all_incidents.values())
    tickets = len(trackers.tickets())
    trackers.stop()
    return seconds, tickets, counted


def theirs(binary: Path, events: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    """Seconds and groups of Alertmanager on the same alerts, by the same key."""
    groups: set[str] = set()
    done = threading.Event()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            groups.add(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["groupKey"])
            self.send_response(200)
            self.end_headers()
            if len(groups) >= CAUSES:
                done.set()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
            pass

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    route = {
        "receiver": "hook",
        "group_by": ["cause"],
        "group_wait": "1s",
        "group_interval": "5s",
        "repeat_interval": "4h",
    }
    receiver = {"name": "hook", "webhook_configs": [{"url": f"http://127.0.0.1:{hook.server_port}/"}]}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "alertmanager.yml"
        config.write_text(json.dumps({"route": route, "receivers": [receiver]}))
        port = _free_port()
        command = [
            str(binary), f"--config.file={config}", f"--storage.path={folder}/data", "--cluster.listen-address=",
            f"--web.listen-address=127.0.0.1:{port}",
        ]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                _await(f"http://127.0.0.1:{port}/-/ready")
                began = time.perf_counter()
                for event in events:
                    name = event["detail"]["alarmName"]
                    labels = {"alertname": name, "cause": name.split("-")[2]}
                    _post(f"http://127.0.0.1:{port}/api/v2/alerts", [{"labels": labels}])
                done.wait(30)
                return time.perf_counter() - began, len(groups)
            finally:
                process.terminate()
                hook.shutdown()


def _post(url: str, body: object) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - loopback


def _await(url: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(url, timeout=1).close()  # noqa: S310 - loopback
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"nothing answers at {url}")


def _free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port


def main() -> int:
    """Run both in turn, and print them side by side; 1 when a cause was lost or doubled."""
    os.environ.setdefault("XAI_OPS_LOG_LEVEL", "CRITICAL")
    os.environ.setdefault("POWERTOOLS_METRICS_DISABLED", "true")
    parser = argparse.ArgumentParser(prog="python -m bench.incident_storm", description=__doc__)
    parser.add_argument("--events", type=int, default=10_000, help="how many, half of them distinct")
    parser.add_argument("--alertmanager", type=Path, help="its binary, to compare with")
    arguments = parser.parse_args()
    events = stream(arguments.events)
    seconds, tickets, counted = ours(events)
    print(
        f"ours          {len(events) / seconds:8.0f} events/s  {tickets} tickets of {CAUSES} causes, {counted} counted of {len(events) // 2}"
    )
    ok = tickets == CAUSES and counted == len(events) // 2
    if arguments.alertmanager:
        theirs_seconds, groups = theirs(arguments.alertmanager, events)
        print(
            f"alertmanager  {len(events) / theirs_seconds:8.0f} events/s  {groups} groups; ours takes {seconds / theirs_seconds:.1f} times as long"
        )
        ok = ok and groups == tickets
    else:
        print(
            "alertmanager  not run; --alertmanager BINARY compares with it (Debian's package prometheus-alertmanager has one)"
        )
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
