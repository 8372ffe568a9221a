"""`python -m bench.cold_start`: a cold start with its first event, over boto3 and one DynamoDB client alone.

Each start is a fresh interpreter on the unpacked zip in a read-only folder, as in Lambda; boto3 comes from the runtime,
compiled. The first event is the schedule's idle tick, answered by a DynamoDB stub on loopback with nothing to do. The two are
measured in turn, so that a noisy machine is noisy for both, and the median of the ratios counts. Goal: at most 1.25.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import botocore

from bench.bundle import fresh_bundle
from tools.stages import read_config, stage_names

GOAL = 1.25
STARTS = 20

_BEGIN = "import sys, time; sys.path[:0] = {first!r}; sys.path += {last!r}; began = time.perf_counter()\n"
_END = "\nprint((time.perf_counter() - began) * 1000)"
_BASE = 'import boto3; boto3.client("dynamodb", region_name="us-east-1")'
_OURS = """
import app
class Context:
    function_name, aws_request_id = "xai-ops-bench", "0"
    def get_remaining_time_in_millis(self): return 60_000
app.tick_schedule({"version": "0", "id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "account": "1",
    "time": "2026-01-01T00:00:00Z", "region": "us-east-1", "resources": [], "detail": {}}, Context())
"""


class _NothingToDo(BaseHTTPRequestHandler):
    """DynamoDB with an empty table: every query finds nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b'{"Items": [], "Count": 0, "ScannedCount": 0}'
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""


@contextmanager
def idle_dynamodb() -> Iterator[str]:
    """An address that answers like DynamoDB with nothing to do."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _NothingToDo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def milliseconds(code: str, *, first: list[str], environment: dict[str, str]) -> float:
    """Run code in a fresh interpreter that knows the runtime's boto3 and `first`; its own time, without Python's start."""
    runtime = [str(Path(botocore.__file__).parents[1])]
    script = _BEGIN.format(first=first, last=runtime) + code + _END
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise SystemExit(f"the start failed:\n{done.stdout}{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def measure(stage: str, bundle: Path, starts: int) -> tuple[list[float], list[float]]:
    """Milliseconds of our cold starts and of the base, in turn."""
    variables = read_config()["stages"][stage]["environment_variables"]
    with tempfile.TemporaryDirectory() as folder, idle_dynamodb() as address:
        with ZipFile(bundle) as packed:
            packed.extractall(folder)
        _read_only(Path(folder))
        environment = {
            **variables,
            "PATH": os.environ["PATH"],
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_ENDPOINT_URL_DYNAMODB": address,
        }
        ours, base = [], []
        for _ in range(starts):
            ours.append(milliseconds(_OURS, first=[folder], environment=environment))
            base.append(milliseconds(_BASE, first=[], environment=environment))
    return ours, base


def _read_only(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o444)


def main() -> int:
    """Print the ratio; exit status 1 when it is over the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.cold_start", description="Measure a cold start.")
    parser.add_argument("--stage", default="staging", choices=stage_names())
    parser.add_argument("--starts", type=int, default=STARTS)
    options = parser.parse_args()
    with fresh_bundle(options.stage) as bundle:
        ours, base = measure(options.stage, bundle, options.starts)
    ratio = statistics.median(mine / theirs for mine, theirs in zip(ours, base, strict=True))
    print(
        f"cold start and idle tick {statistics.median(ours):.0f} ms, boto3 and one client {statistics.median(base):.0f} ms"
    )
    print(f"ratio {ratio:.2f} (goal: at most {GOAL})")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
