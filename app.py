"""The doors: every Lambda handler, a few lines each: parse -> wire -> run.

All handlers stand here: Chalice runs a Blueprint's event handlers without this module's middleware.
Permanent errors are logged, counted and returned; transient ones are raised, so that Lambda or SQS tries again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from chalice import Chalice, IAMAuthorizer, Rate, Response
from chalice.app import CloudWatchEvent, SQSEvent

from chalicelib import doors, observe, observe_tracing
from chalicelib.errors import BadEventError, BadRequestError, OpsError
from chalicelib.events.alarm import alarm_changed as read_alarm
from chalicelib.events.ecr import image_pushed as read_push
from chalicelib.events.ecs import deployment_changed as read_deployment
from chalicelib.events.ecs import task_changed as read_task
from chalicelib.events.signals import ServiceChanged
from chalicelib.rollout.model import Word

app = Chalice(app_name="xai-ops", configure_logs=False)
TICK_QUEUE_ARN = os.environ.get("XAI_OPS_TICK_QUEUE_ARN", "arn:aws:sqs:us-east-1:123456789012:xai-ops-ticks")


@app.middleware("all")
def error_policy(event: Any, get_response: Callable[[Any], Any]) -> Any:
    """Bind who and what, trace it, and apply the one error policy."""
    context = getattr(event, "lambda_context", None) or getattr(event, "context", None)
    observe.bind(
        function=getattr(context, "function_name", None), request_id=getattr(context, "aws_request_id", None),
        trace_id=os.environ.get("_X_AMZN_TRACE_ID"),
    )  # fmt: skip
    try:
        with observe_tracing.traced("handler"):
            return get_response(event)
    except BadEventError as error:
        observe.log("event_malformed", error=str(error))
        observe.count("EventMalformed")
        return {"ignored": str(error)}
    except OpsError as error:
        observe.alert("handler_failed", error=str(error), kind=type(error).__name__, retry=error.retry)
        observe.count("HandlerFailed", kind=type(error).__name__)
        raise


def _on(source: str, detail_type: str, **detail: Any) -> dict[str, Any]:
    pattern: dict[str, Any] = {"source": [source], "detail-type": [detail_type]}
    return {**pattern, "detail": detail} if detail else pattern


# ------------------------------------------------------------------------------------------------ what happened


@app.on_cw_event(_on("aws.ecr", "ECR Image Action", **{"action-type": ["PUSH"], "result": ["SUCCESS"]}))
def image_pushed(event: CloudWatchEvent) -> dict[str, Any]:
    """An image was pushed: roll it out, if it is ours."""
    push = read_push(event.to_dict())
    if push is None:
        return {"ignored": "not a successful push"}
    return doors.start_push(push.repository, push.digest, push.tag, push.pushed_at, event.context)


@app.on_cw_event(_on("aws.ecs", "ECS Deployment State Change"))
def deployment_changed(event: CloudWatchEvent) -> dict[str, Any]:
    """A deployment moved: look sooner."""
    return _hasten(read_deployment(event.to_dict()), event)


@app.on_cw_event(_on("aws.ecs", "ECS Task State Change", lastStatus=["STOPPED"]))
def task_changed(event: CloudWatchEvent) -> dict[str, Any]:
    """A task stopped: the earliest sign of a bad release; look sooner."""
    return _hasten(read_task(event.to_dict()), event)


@app.on_cw_event(_on("aws.cloudwatch", "CloudWatch Alarm State Change"))
def alarm_changed(event: CloudWatchEvent) -> dict[str, Any]:
    """An alarm changed its state: note the trouble, and look sooner at the groups to which it is bound."""
    alarm = read_alarm(event.to_dict())
    noted = doors.note_alarm(alarm)
    return {**noted, "hastened": doors.hasten(doors.groups_of_alarm(alarm.name), event.context)}


def _hasten(change: ServiceChanged | None, event: CloudWatchEvent) -> dict[str, Any]:
    if change is None:
        return {"ignored": "no service of ours"}
    return doors.hasten(doors.groups_of_service(change.cluster, change.service), event.context)


# ------------------------------------------------------------------------------------------------ time passes


@app.on_sqs_message(queue_arn=TICK_QUEUE_ARN, batch_size=10)
def rollout_tick(event: SQSEvent) -> dict[str, Any]:
    """Wake messages: run the groups and incidents that they name; a failed one comes again, the others do not."""
    failures, batch = [], doors.Batch(event.context)
    for record in sorted(event, key=lambda each: '"incident"' in each.body):  # no rollout waits for a ticket
        message_id = record.to_dict()["messageId"]
        try:
            batch.run(record.body)
        except BadEventError as error:
            observe.log("event_malformed", error=str(error))
            observe.count("EventMalformed")
        except OpsError as error:
            observe.alert("tick_failed", error=str(error), kind=type(error).__name__, retry=error.retry)
            if error.retry:
                failures.append({"itemIdentifier": message_id})
    return {"batchItemFailures": failures}


@app.schedule(Rate(1, unit=Rate.MINUTES))
def tick_schedule(event: CloudWatchEvent) -> dict[str, Any]:
    """Every minute: pick up what is overdue, should its wake message be lost."""
    return doors.run_due(event.context)


@app.schedule(Rate(5, unit=Rate.MINUTES))
def event_sweep(event: CloudWatchEvent) -> dict[str, Any]:
    """Every five minutes: find pushes and alarms whose event was lost."""
    return doors.sweep(event.context)


# ------------------------------------------------------------------------------------------------ people's words


def _obey(word: Word, payload: Any, context: Any) -> dict[str, Any]:
    """Answer a wrong payload with what is allowed: `chalice invoke` shows it, and nothing was changed."""
    identity = getattr(context, "identity", None)
    by = getattr(identity, "cognito_identity_id", None) or "invoke"
    try:
        return doors.obey(word, payload, context, by=by)
    except BadRequestError as error:
        return {"error": str(error)}


@app.lambda_function()
def rollout(event: Any, context: Any) -> dict[str, Any]:
    """Start a rollout: {"group": "nodes", "image": "2.1.0"}."""
    return _obey(Word.START, event, context)


@app.lambda_function()
def rollback(event: Any, context: Any) -> dict[str, Any]:
    """Take the open rollout back, or return to the release promoted before: {"group": "nodes", "why": "..."}."""
    return _obey(Word.ROLLBACK, event, context)


@app.lambda_function()
def hold(event: Any, context: Any) -> dict[str, Any]:
    """Let nothing new start in a group: {"group": "nodes", "why": "..."}."""
    return _obey(Word.HOLD, event, context)


@app.lambda_function()
def release(event: Any, context: Any) -> dict[str, Any]:
    """Lift a hold and let a HELD rollout go on or back: {"group": "nodes", "then": "resume"}."""
    return _obey(Word.RELEASE, event, context)


@app.lambda_function()
def approve(event: Any, context: Any) -> dict[str, Any]:
    """Approve the rollout that awaits it: {"group": "nodes"}."""
    return _obey(Word.APPROVE, event, context)


@app.lambda_function()
def abort(event: Any, context: Any) -> dict[str, Any]:
    """End the open rollout without condemning its image: {"group": "nodes", "why": "..."}."""
    return _obey(Word.ABORT, event, context)


@app.lambda_function()
def adopt(event: Any, context: Any) -> dict[str, Any]:
    """Judge what runs and record it as stable: {"group": "nodes"}."""
    return _obey(Word.ADOPT, event, context)


@app.lambda_function()
def status(event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Show what runs where and what is under way: {} or {"group": "nodes"}."""
    try:
        return doors.status(event)
    except BadRequestError as error:
        return {"error": str(error)}


@app.lambda_function()
def incidents(event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG001 - Lambda's signature
    """Show the open incidents, what suppresses them, and which tracker fails: {} or {"group": "nodes"}."""
    try:
        return doors.incidents(event)
    except BadRequestError as error:
        return {"error": str(error)}


# ------------------------------------------------------------------------------------------------ the HTTP API

iam = IAMAuthorizer()


@app.route("/rollouts", methods=["POST"], authorizer=iam)
def start_rollout() -> Response:
    """Start a rollout; 202 with the group's state, 400 with what is allowed."""
    return _answer(Word.START, _json_body())


@app.route("/rollouts/{rollout_id}", methods=["GET"], authorizer=iam)
def show_rollout(rollout_id: str) -> Response:
    """Show one rollout with its journal; 404 when there is none."""
    found = doors.rollout_detail(rollout_id)
    return _json(200, found) if found else _json(404, {"error": f"no rollout {rollout_id!r}"})


@app.route("/rollouts/{rollout_id}/rollback", methods=["POST"], authorizer=iam)
def roll_back_rollout(rollout_id: str) -> Response:
    """Take one rollout back while it is open; 400 for a wrong body, 404 when there is none, 409 when it has ended."""
    found = doors.rollout_detail(rollout_id)
    if found is None:
        return _json(404, {"error": f"no rollout {rollout_id!r}"})
    if found["phase"] in ("PROMOTED", "ROLLED_BACK", "REJECTED", "SUPERSEDED"):
        text = f"rollout {rollout_id} has ended: {found['phase']}; POST /rollouts with an earlier image, or invoke rollback"
        return _json(409, {"error": text})
    body = _json_body()
    if not isinstance(body, dict) or set(body) - {"why"}:  # group and rollout are the path's to say
        return _json(400, {"error": 'Allowed: no body, or {"why": "a sentence for people"}'})
    return _answer(Word.ROLLBACK, {**body, "group": found["group"], "rollout": rollout_id})


@app.route("/pictures/{name}", methods=["GET"])
def show_picture(name: str) -> Response:
    """Open a picture of a ticket; its name is the secret that allows it, so that a browser needs no signature."""
    url = doors.picture_url(name)
    if url is None:
        return _json(404, {"error": "no such picture"})
    return Response(body="", status_code=302, headers={"Location": url, "Cache-Control": "no-store"})


def _answer(word: Word, payload: Any) -> Response:
    request = app.current_request
    identity = request.context.get("identity", {}) if request else {}
    try:
        answer = doors.obey(word, payload, app.lambda_context, by=identity.get("userArn") or "http api")
    except BadRequestError as error:
        return _json(400, {"error": str(error)})
    return _json(202, answer)


def _json_body() -> Any:
    request = app.current_request
    raw = request.raw_body if request else b""
    if not raw:
        return {}
    try:
        return json.loads(raw)
    except ValueError:
        return str(raw)[:80]


def _json(status_code: int, body: Any) -> Response:
    return Response(body=json.dumps(body), status_code=status_code, headers={"Content-Type": "application/json"})
