"""A Slack workspace with one channel, on loopback, as far as the Web API of messages goes.

Refusals come as Slack's do: status 200 with `{"ok": false, "error": ...}`. Knows nothing of xai-ops.
Source: https://docs.slack.dev/reference/methods
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from sandbox.trackers.service import Answered, Asked, Shown

TOKEN = "sandbox-slack-token"
CHANNEL = "C0SANDBOX01"
TEAM, BOT_USER, BOT, PERSON = "T0SANDBOX1", "U0XAIOPS01", "B0XAIOPS01", "U0PERSON01"
MOST_TEXT = 40_000  # https://docs.slack.dev/changelog/2018-truncating-really-long-messages
MOST_BLOCKS = 50
MOST_BLOCK_TEXT = 12_000  # https://github.com/slackapi/bolt-js/issues/2509
MOST_LIMIT = 999
EDGES = {"header": 150, "section": 3000}
RICH = frozenset({"rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"})
BLOCKS = frozenset({"header", "context", "rich_text", "section", "divider", "image", "markdown"})


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """Slack says no, by this name; `details` go beside it."""

    def __init__(self, error: str, **details: Any) -> None:
        """Keep the name."""
        super().__init__(error)
        self.body = {"ok": False, "error": error, **details}


class Slack:
    """The port `Service`: its API is under `/api`, as at slack.com. Messages are kept as Slack shows them."""

    name = "slack"

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        """An empty channel."""
        self.url = url.rstrip("/")
        self.channel = CHANNEL
        self.messages: list[dict[str, Any]] = []  # threads too, oldest first
        self._clock = clock
        self._fresh: dict[str, set[str]] = {}  # reactions since the app last wrote a message
        self._methods: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
        }

    def answer(self, asked: Asked) -> Answered:
        """Answer one call of the Web API."""
        found = re.fullmatch(r"/api/([\w.]+)", asked.path)
        if found is None:
            return Answered(status=404, body={"ok": False, "error": "not_found"})
        method = self._methods.get(found[1])
        if method is None:
            return Answered(status=200, body={"ok": False, "error": "unknown_method", "req_method": found[1]})
        try:
            _authorise(asked.headers.get("authorization", ""))
            return Answered(status=200, body={"ok": True, **method(_arguments(asked))})
        except Refused as refusal:
            return Answered(status=200, body=refusal.body)

    def shown(self) -> list[Shown]:
        """Every thread, oldest first."""
        return [self._shown(message) for message in self.messages if _is_root(message)]

    def acknowledge(self, ticket: str) -> None:
        """A person reacts with :eyes:."""
        self._react(ticket, "eyes")

    def close(self, ticket: str) -> None:
        """A person reacts with :white_check_mark:."""
        self._react(ticket, "white_check_mark")

    def _auth_test(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        who = {"team": "Sandbox", "user": "xai-ops", "team_id": TEAM, "user_id": BOT_USER, "bot_id": BOT}
        return {"url": f"{self.url}/", **who, "is_enterprise_install": False}

    def _post(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._check(arguments)
        message: dict[str, Any] = {"type": "message", "user": BOT_USER, "bot_id": BOT, "team": TEAM, "ts": self._ts()}
        message |= _content(arguments)
        thread = arguments.get("thread_ts")
        if thread is not None:
            root = self._message(str(thread), "cannot_reply_to_message")
            message |= {"thread_ts": root["ts"], "parent_user_id": root["user"]}
            root |= {"thread_ts": root["ts"], "reply_count": root.get("reply_count", 0) + 1, "subscribed": False}
        if "metadata" in arguments:
            message["metadata"] = _metadata(arguments["metadata"])
        self.messages.append(message)
        return {"channel": self.channel, "ts": message["ts"], "message": _without(message, "metadata")}

    def _update(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._check(arguments)
        message = self._message(str(arguments.get("ts")), "message_not_found")
        if message["user"] != BOT_USER:
            raise Refused("cant_update_message")
        # Text alone takes the blocks away: https://docs.slack.dev/reference/methods/chat.update
        content = _content(arguments)
        if "text" in arguments and "blocks" not in arguments:
            message.pop("blocks", None)
        message |= content
        if "metadata" in arguments:
            message["metadata"] = _metadata(arguments["metadata"])
        self._fresh.pop(message["ts"], None)
        shown = {"text": message["text"], "blocks": message.get("blocks", [])}
        return {"channel": self.channel, "ts": message["ts"], "text": message["text"], "message": shown}

    def _history(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._check(arguments)
        page = _page([m for m in reversed(self.messages) if _is_root(m)], arguments)
        return page | {"pin_count": 0, "channel_actions_ts": None, "channel_actions_count": 0}

    def _replies(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self._check(arguments)
        root = self._message(str(arguments.get("ts")), "thread_not_found")
        thread = [m for m in self.messages if m["ts"] == root["ts"] or m.get("thread_ts") == root["ts"]]
        return _page(thread, arguments)

    def _check(self, arguments: Mapping[str, Any]) -> None:
        if arguments.get("channel") != self.channel:
            raise Refused("channel_not_found")

    def _message(self, ts: str, missing: str) -> dict[str, Any]:
        for message in self.messages:
            if message["ts"] == ts:
                return message
        raise Refused(missing)

    def _ts(self) -> str:
        """Unique and rising, as Slack's are: https://docs.slack.dev/messaging/retrieving-messages#individual_messages."""
        seconds, micros = int(self._clock().timestamp()), 100
        if self.messages:
            newest, last = (int(part) for part in self.messages[-1]["ts"].split("."))
            if newest >= seconds:
                seconds, micros = newest, last + 100
        return f"{seconds:010d}.{micros:06d}"

    def _react(self, ticket: str, name: str) -> None:
        message = self._message(ticket, "message_not_found")
        reactions = message.setdefault("reactions", [])
        if not any(reaction["name"] == name for reaction in reactions):
            reactions.append({"name": name, "users": [], "count": 0})
        for reaction in reactions:
            if reaction["name"] == name:
                # Each time another person: one cannot react twice.
                reaction["users"].append(f"{PERSON}{reaction['count'] or ''}")
                reaction["count"] += 1
        self._fresh.setdefault(ticket, set()).add(name)

    def _shown(self, root: Mapping[str, Any]) -> Shown:
        small = [
            str(e.get("text")) for b in _blocks(root, "context") for e in b["elements"] if e["type"] == "plain_text"
        ]
        titles = [str(block["text"]["text"]) for block in _blocks(root, "header")]
        thread = [m for m in self.messages if m.get("thread_ts") == root["ts"] and m["ts"] != root["ts"]]
        return Shown(
            id=str(root["ts"]),
            title=titles[0] if titles else html.unescape(str(root["text"])),
            state=self._state(root, titles, small),
            labels=tuple(small[0].split(" · ")) if small else (),
            parts=tuple(_html(message) for message in (root, *thread)),
        )

    def _state(self, root: Mapping[str, Any], titles: list[str], small: list[str]) -> str:
        """As a person takes it: what the app wrote last, unless somebody has reacted since."""
        given, fresh = {reaction["name"] for reaction in root.get("reactions", ())}, self._fresh.get(root["ts"], set())
        if "white_check_mark" in fresh or any(title.startswith("Resolved: ") for title in titles):
            return "closed"
        return "acknowledged" if "eyes" in fresh or "Acknowledged" in small or "eyes" in given else "open"


def _authorise(header: str) -> None:
    if not header:
        raise Refused("not_authed")
    if header != f"Bearer {TOKEN}":
        raise Refused("invalid_auth")


def _arguments(asked: Asked) -> Mapping[str, Any]:
    """The query of a GET, the JSON of a POST; Slack reads both."""
    if asked.method == "GET":
        return asked.query
    if asked.raw and asked.body is None:
        raise Refused("invalid_json")
    if asked.body is not None and not isinstance(asked.body, dict):
        raise Refused("json_not_object")
    return {**asked.query, **(asked.body or {})}


def _content(arguments: Mapping[str, Any]) -> dict[str, Any]:
    text, given = arguments.get("text"), arguments.get("blocks")
    if not text and not given:
        raise Refused("no_text")
    content: dict[str, Any] = {} if text is None else {"text": str(text)[:MOST_TEXT]}
    if given is not None:
        _judge(given)
        content["blocks"] = [{"block_id": f"b{number}"} | block for number, block in enumerate(given)]
    return {"text": ""} | content if "text" not in content else content


def _metadata(value: Any) -> dict[str, Any]:
    """Source: https://docs.slack.dev/messaging/message-metadata."""
    if not isinstance(value, dict) or not isinstance(value.get("event_payload"), dict):
        raise Refused("invalid_metadata_format")
    if not re.fullmatch(r"\w+", str(value.get("event_type", ""))):
        raise Refused("invalid_metadata_format")
    if not all(isinstance(each, str | int | bool) for each in value["event_payload"].values()):
        raise Refused("invalid_metadata_schema")
    return {"event_type": value["event_type"], "event_payload": value["event_payload"]}


def _judge(blocks: Any) -> None:
    """Refuse blocks as Slack does, naming the place."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise Refused("invalid_blocks_format")
    wrong = [f"no more than {MOST_BLOCKS} items allowed [json-pointer:/blocks]"] if len(blocks) > MOST_BLOCKS else []
    for number, block in enumerate(blocks):
        wrong += [f"{what} [json-pointer:/blocks/{number}]" for what in _wrong(block)]
    if wrong:
        raise Refused("invalid_blocks", errors=wrong, response_metadata={"messages": [f"[ERROR] {w}" for w in wrong]})
    if sum(len(text) for text in _texts(blocks)) > MOST_BLOCK_TEXT:
        raise Refused("msg_blocks_too_long")


def _wrong(block: Mapping[str, Any]) -> Iterable[str]:
    kind = block.get("type")
    if kind not in BLOCKS:
        yield f"unsupported type: {kind}"
    if kind in EDGES and not 1 <= len(str(block.get("text", {}).get("text", ""))) <= EDGES[kind]:
        yield f"must be 1 to {EDGES[kind]} characters"
    if kind == "header" and block.get("text", {}).get("type") != "plain_text":
        yield "must be plain_text"
    if kind == "context" and not 1 <= len(block.get("elements", ())) <= 10:
        yield "must have 1 to 10 elements"
    if kind == "rich_text" and not {element.get("type") for element in block.get("elements", ())} <= RICH:
        yield "unsupported element"
    if any(text == "" for text in _texts(block)):
        yield "must be more than 0 characters"


def _texts(value: Any) -> Iterable[str]:
    """Every text in blocks, however deep."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from [each] if key == "text" and isinstance(each, str) else _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _page(messages: list[dict[str, Any]], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """One page by cursor. Source: https://docs.slack.dev/apis/web-api/pagination."""
    start, limit = _cursor(str(arguments.get("cursor") or "")), str(arguments.get("limit", 100))
    if not limit.isdigit() or not 1 <= int(limit) <= MOST_LIMIT:
        raise Refused("invalid_limit")
    end = start + int(limit)
    all_metadata = str(arguments.get("include_all_metadata", "")).lower() in ("true", "1")
    shown = [message if all_metadata else _without(message, "metadata") for message in messages[start:end]]
    more = end < len(messages)
    following = base64.b64encode(f"next:{end}".encode()).decode() if more else ""
    return {
        "messages": json.loads(json.dumps(shown)),
        "has_more": more,
        "response_metadata": {"next_cursor": following},
    }


def _cursor(value: str) -> int:
    if not value:
        return 0
    try:
        return int(base64.b64decode(value).decode().removeprefix("next:"))
    except ValueError as error:
        raise Refused("invalid_cursor") from error


def _is_root(message: Mapping[str, Any]) -> bool:
    return bool(message.get("thread_ts", message["ts"]) == message["ts"])


def _without(message: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != key}


def _blocks(message: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [block for block in message.get("blocks", ()) if block["type"] == kind]


def _html(message: Mapping[str, Any]) -> str:
    """A message as its reader sees it: blocks, or the text where there are none."""
    given = " ".join(_emoji(f":{each['name']}: {each['count']}") for each in message.get("reactions", ()))
    below = f"<p><small>{given}</small></p>" if given else ""
    blocks = message.get("blocks")
    if not blocks:
        return f"<p>{html.escape(html.unescape(str(message['text'])))}</p>{below}"
    return "".join(_html_of(block) for block in blocks) + below


def _emoji(text: str) -> str:
    """Text in which the two reactions are pictures, as in Slack."""
    return html.escape(text).replace(":eyes:", "&#128064;").replace(":white_check_mark:", "&#9989;")


def _html_of(node: Mapping[str, Any]) -> str:
    """One block or element; whatever it holds is escaped."""
    inside = "".join(_html_of(each) for each in node.get("elements", ()))
    match node["type"]:
        case "header":
            return f"<h2>{html.escape(node['text']['text'])}</h2>"
        case "context":
            return f"<p><small>{inside}</small></p>"
        case "rich_text":
            return inside
        case "rich_text_section":
            return f"<p>{inside}</p>"
        case "rich_text_list":
            return "<ul>" + "".join(f"<li>{_html_of(each)}</li>" for each in node["elements"]) + "</ul>"
        case "rich_text_preformatted":
            return f"<pre>{inside}</pre>"
        case "link":
            return f'<a href="{html.escape(node["url"])}" rel="noreferrer">{_styled(node)}</a>'
        case "plain_text":
            return f"<span>{html.escape(str(node['text']))}</span> "
        case "mrkdwn":
            return f"<span>{_emoji(str(node['text']))}</span> "
        case _:
            return _styled(node)


def _styled(node: Mapping[str, Any]) -> str:
    text = html.escape(str(node.get("text", ""))).replace("\n", "<br>" if node.get("type") == "text" else " ")
    style = node.get("style", {})
    text = f"<b>{text}</b>" if style.get("bold") else text
    return f"<i>{text}</i>" if style.get("italic") else text
