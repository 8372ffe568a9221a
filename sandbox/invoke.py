"""Invoke a function of a running sandbox: `echo '{"group": "nodes"}' | python -m sandbox.invoke --endpoint URL --stage staging status`.

Against a deployed stage `chalice invoke -n NAME --stage STAGE` does the same.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence

import boto3
from botocore.exceptions import BotoCoreError, ClientError


def main(argv: Sequence[str] | None = None) -> int:
    """Invoke, print the JSON answer; 1 when the function failed or refused, 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.invoke", description=__doc__)
    parser.add_argument("--endpoint", required=True, help="the sandbox's address, as --serve prints it")
    parser.add_argument("--stage", default="staging")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("name", help="the function, such as status or rollback")
    arguments = parser.parse_args(argv)
    payload = "" if sys.stdin.isatty() else sys.stdin.read()
    try:
        client = boto3.client(
            "lambda", endpoint_url=arguments.endpoint, region_name=arguments.region,
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        sent = json.dumps(json.loads(payload)) if payload.strip() else "{}"
        answer = client.invoke(FunctionName=f"xai-ops-{arguments.stage}-{arguments.name}", Payload=sent)
    except ValueError as error:
        print(f"the payload on standard input is no JSON: {error}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:
        print(f"could not invoke {arguments.name}: {error}", file=sys.stderr)
        return 2
    result = json.load(answer["Payload"])
    print(json.dumps(result, indent=2))
    return 1 if "FunctionError" in answer or "error" in result else 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` is no error
    sys.exit(main())
