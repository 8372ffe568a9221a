"""The stand-in block explorer: liveness and a health page. `python -m sandbox.explorer --port {port} [--fault NAME[=VALUE]]`."""

import argparse
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sandbox.stand_in import parse_faults

SCALE = float(os.environ.get("SANDBOX_TIME_SCALE", "1"))
FAULTS = {
    "die-at-start": "prints an import error and exits 1",
    "slow-start": "SECONDS before it listens",
    "error5xx": "answers 500 to everything",
    "error5xx-after": "SECONDS: from then on answers 500 to everything",
}


def main() -> int:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.explorer")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--fault", action="append", default=[])
    arguments = parser.parse_args()
    try:
        faults = parse_faults(arguments.fault, FAULTS)
    except ValueError as error:
        parser.error(str(error))
    if "die-at-start" in faults:
        print("ImportError: cannot import name 'Markup' from 'flask'", file=sys.stderr, flush=True)
        return 1
    time.sleep(float(faults.get("slow-start", 0)) / SCALE)
    started = time.monotonic()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            sick = "error5xx" in faults or (
                "error5xx-after" in faults and (time.monotonic() - started) * SCALE > float(faults["error5xx-after"])
            )
            body = json.dumps(
                {"status": "healthy", "timestamp": time.time()} if not sick else {"error": "boom"}
            ).encode()
            self.send_response(500 if sick else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
