"""The port `Tracker` on Slack: one thread in a channel for each incident.

The root message is the ticket, its timestamp the ticket's id; comments are replies. Markers are message metadata, which
people do not see. People take an incident on with the reaction :eyes: on the root message and close it with
:white_check_mark:. Slack answers most refusals with 200 and `{"ok": false}`: those become TicketUnavailableError too.
Must not know incidents' lives or where the token is kept.
Source: https://docs.slack.dev/reference/methods
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from chalicelib.errors import TicketGoneError, TicketUnavailableError
from chalicelib.incident.document import Document
from chalicelib.incident.model import Ticket, TicketState
from chalicelib.incident.ports import Page
from chalicelib.tickets.http import RATE_LIMIT_SECONDS, Caller
from chalicelib.tickets.slack_blocks import BlockKit, blocks, context, escape, fallback, header, plain

A_PAGE = 200  # "We recommend no more than 200 results at a time": https://docs.slack.dev/apis/web-api/pagination
MOST_PAGES = 10
EYES = "eyes"
CHECK = "white_check_mark"
TICKET_EVENT = "xai_ops_incident"
COMMENT_EVENT = "xai_ops_comment"
HOW_TO = {"type": "mrkdwn", "text": f"React with :{EYES}: to take it on, with :{CHECK}: to close it."}
STRIPPED = "give the app the scope metadata.message:read"
RENEW = "renew the secret named by the tracker's token_secret"
GONE = frozenset({"message_not_found", "thread_not_found"})
ADVICE: Mapping[str, str] = MappingProxyType(
    {
        "account_inactive": f"the app's account was deactivated: {RENEW}",
        "cant_update_message": "the message belongs to another app: the token's app has to stay the same",
        "channel_not_found": "no such channel, or a private one that the app is not in: check the tracker's channel",
        "edit_window_closed": "the workspace does not let messages be edited any more",
        "invalid_auth": f"the token is wrong: {RENEW}",
        "invalid_blocks": "Slack refuses what we sent",
        "is_archived": "the channel was archived: restore it or change the tracker's channel",
        "message_not_found": "the ticket's message was deleted",
        "missing_scope": "the app needs chat:write, and channels:history or for a private channel groups:history",
        "msg_blocks_too_long": "Slack refuses what we sent: too long",
        "msg_too_long": "Slack refuses what we sent: too long",
        "no_permission": "the app needs chat:write, and channels:history or for a private channel groups:history",
        "not_allowed_token_type": "the token has to be the app's bot token, xoxb-...",
        "not_authed": f"no token came through: {RENEW}",
        "not_in_channel": "invite the app into the channel: /invite @its-name",
        "org_login_required": "the workspace is being moved to an organisation",
        "restricted_action": "the workspace does not let the app write in this channel",
        "thread_not_found": "the ticket's message was deleted",
        "token_expired": f"the token has expired: {RENEW}",
        "token_revoked": f"the token was revoked or the app removed: {RENEW}",
    }
)
# Source: https://docs.slack.dev/apis/web-api/rate-limits
LIMITS = frozenset({"rate_limited", "ratelimited", "message_limit_exceeded"})
TROUBLES = frozenset({"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org"})
STATUS_ADVICE: Mapping[int, str] = MappingProxyType({404: "check the tracker's api_url", 403: "Slack refuses us"})
WORDS: Mapping[TicketState, str] = MappingProxyType(
    {TicketState.OPEN: "Open", TicketState.ACKNOWLEDGED: "Acknowledged", TicketState.CLOSED: "Resolved"}
)


@dataclass(frozen=True, slots=True)
class _Me:
    """Who the token makes us."""

    url: str  # of the workspace
    user: str


class SlackThread:
    """The port `Tracker`.

    The app's bot token needs the scopes chat:write and channels:history, or for a private channel groups:history, and the
    app has to be in the channel. Give it metadata.message:read too: no method asks for it, but Slack says that it is what
    shows metadata to an app. Rate limits: 50 calls a minute and method, and one message a second.

    `find` looks through the newest 2,000 messages of the channel (10 pages of 200; Slack gives commercially distributed
    apps outside its marketplace pages of 15): threads do not count, so a channel of its own reaches back years. It sees a
    message as soon as it exists. `comment` looks for its marker in the first 2,000 replies of the thread.
    Reactions of people cannot be taken away: those that a reopened ticket carries already stop counting, so that whoever
    takes on or closes it again has to react anew, or to take the reaction back first if it is their own.
    """

    def __init__(self, *, api_url: str = "https://slack.com/api", channel: str, token: Callable[[], str]) -> None:
        """Keep tickets in this channel, named by its id; `token` is asked at every request."""
        self._channel = channel
        self._me: _Me | None = None
        self._caller = Caller(
            name="Slack",
            api_url=api_url,
            token=token,
            headers=lambda secret: {
                "Authorization": f"Bearer {secret}",
                # Without a charset Slack warns: https://docs.slack.dev/apis/web-api/#posting_json
                "Content-Type": "application/json; charset=utf-8",
            },
            advice=STATUS_ADVICE,
            said=lambda body: body.get("error") if isinstance(body, dict) else None,
        )

    def find(self, marker: str) -> Ticket | None:
        """Find the ticket that carries this marker among the newest 2,000 messages. Raises TicketUnavailableError."""
        me = self._who()
        for message in self._pages("conversations.history"):
            if message.get("user") != me.user:
                continue
            if _payload(message, TICKET_EVENT).get("marker") == marker:
                return self._ticket(message)
            if _stripped(message):  # else each retry would open one more ticket
                raise TicketUnavailableError(f"Slack shows our messages without their metadata: {STRIPPED}")
        return None

    def create(self, page: Page) -> Ticket:
        """Open a thread whose first message carries the marker. Raises TicketUnavailableError."""
        self._who()  # before the message: an error later would hide that it exists
        message = {
            "text": escape(_title(page, TicketState.OPEN)),
            "blocks": [*_top(page, TicketState.OPEN), *blocks(page.body)],
            "metadata": _metadata(page.marker, TicketState.OPEN, {}),
        }
        posted = self._post(message)
        if not isinstance(posted.get("ts"), str):
            raise TicketUnavailableError("Slack's answer names no ts")
        return self._ticket({"ts": posted["ts"], "metadata": message["metadata"]})

    def comment(self, ticket: str, body: Document, *, marker: str) -> None:
        """Reply in the thread, unless a reply carries the marker. Raises TicketUnavailableError."""
        me = self._who()
        replies = self._pages("conversations.replies", ts=ticket)
        if any(r.get("user") == me.user and _payload(r, COMMENT_EVENT).get("marker") == marker for r in replies):
            return
        metadata = {"event_type": COMMENT_EVENT, "event_payload": {"marker": marker}}
        said = {"text": fallback(body), "blocks": blocks(body)}
        self._post({"thread_ts": ticket, "metadata": metadata, **said})

    def update(self, ticket: str, page: Page, state: TicketState) -> None:
        """Replace the title and the line of grade, labels and state; every other block goes back as it was read."""
        root = self._root(ticket)
        body = [_anew(block) for block in _dicts(root.get("blocks"))]
        while body and body[0].get("type") in ("header", "context"):
            body.pop(0)
        message = {
            "ts": ticket,
            "text": escape(_title(page, state)),
            "blocks": [*_top(page, state), *body],
            "metadata": _metadata(page.marker, state, _outdated(root, state)),
        }
        self._call("chat.update", {"channel": self._channel, "parse": "none", **message})

    def read(self, ticket: str) -> Ticket:
        """The ticket as people left it: a new :white_check_mark: closes it, a new :eyes: acknowledges it."""
        return self._ticket(self._root(ticket))

    def _ticket(self, message: Mapping[str, Any]) -> Ticket:
        # The form of a permalink: https://docs.slack.dev/reference/methods/chat.getPermalink
        ts = str(message.get("ts") or "")
        url = f"{self._who().url.rstrip('/')}/archives/{self._channel}/p{ts.replace('.', '')}"
        return Ticket(id=ts, url=url, state=_state(message))

    def _root(self, ticket: str) -> Mapping[str, Any]:
        """The thread's first message; Slack shows one that was deleted under its replies as a tombstone."""
        for message in self._pages("conversations.replies", ts=ticket, limit=1):
            if message.get("ts") == ticket and message.get("subtype") != "tombstone":
                return message
            break
        raise TicketGoneError(f"Slack does not show message {ticket}: {ADVICE['message_not_found']}")

    def _who(self) -> _Me:
        if self._me is None:
            answer = self._call("auth.test", None)
            url, user = answer.get("url"), answer.get("user_id")
            if not isinstance(url, str) or not isinstance(user, str):
                raise TicketUnavailableError("auth.test of Slack does not say who we are")
            self._me = _Me(url, user)
        return self._me

    def _pages(self, method: str, *, limit: int = A_PAGE, **query: str) -> Iterator[Mapping[str, Any]]:
        cursor = ""
        for _ in range(MOST_PAGES):
            asked = {"channel": self._channel, **query, "include_all_metadata": "true", "limit": limit}
            answer = self._call(method, None, asked | ({"cursor": cursor} if cursor else {}))
            if not isinstance(answer.get("messages"), list):
                raise TicketUnavailableError(f"{method} of Slack answered without messages")
            yield from _dicts(answer["messages"])
            following = answer.get("response_metadata")
            cursor = str(following.get("next_cursor") or "") if isinstance(following, dict) else ""
            if not cursor:
                return

    def _post(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        how = {"unfurl_links": False, "unfurl_media": False, "parse": "none"}
        return self._call("chat.postMessage", {"channel": self._channel, **how, **message})

    def _call(
        self, method: str, payload: Mapping[str, Any] | None, query: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        path = f"/{method}?{urlencode(query)}" if query else f"/{method}"
        answer = self._caller.call("GET" if payload is None else "POST", path, payload)
        if not isinstance(answer, dict):
            raise TicketUnavailableError(f"{method} of Slack answered with something that is no object")
        if answer.get("ok") is not True:
            raise _refused(method, answer)
        return answer


def _top(page: Page, state: TicketState) -> list[BlockKit]:
    """Title and small print: what an update replaces."""
    labels = " · ".join(dict.fromkeys((page.grade.value, *page.labels)))
    return [header(_title(page, state)), context(plain(labels), plain(WORDS[state]), HOW_TO)]


def _title(page: Page, state: TicketState) -> str:
    return f"{WORDS[state]}: {page.title}" if state is TicketState.CLOSED else page.title


def _anew(block: Mapping[str, Any]) -> BlockKit:
    """A block without the id that Slack gave it: "If a message is updated, use a new block_id".

    Source: https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
    """
    return {key: value for key, value in block.items() if key != "block_id"}


def _metadata(marker: str, state: TicketState, outdated: Mapping[str, int]) -> dict[str, Any]:
    """The marker, the state as we left it, and how many reactions of each kind do not count.

    Flat, as Slack asks for: https://docs.slack.dev/messaging/message-metadata
    """
    payload = {"marker": marker, "state": state.value, EYES: outdated.get(EYES, 0), CHECK: outdated.get(CHECK, 0)}
    return {"event_type": TICKET_EVENT, "event_payload": payload}


def _payload(message: Mapping[str, Any], event: str) -> Mapping[str, Any]:
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("event_type") != event:
        return {}
    payload = metadata.get("event_payload")
    return payload if isinstance(payload, dict) else {}


def _stripped(message: Mapping[str, Any]) -> bool:
    """Whether this is a ticket of ours whose metadata Slack keeps from us."""
    top = [block.get("type") for block in _dicts(message.get("blocks"))[:2]]
    return top == ["header", "context"] and "metadata" not in message


def _state(message: Mapping[str, Any]) -> TicketState:
    """What people did since we last set the state, else the state that we set."""
    left = _payload(message, TICKET_EVENT)
    if left.get("state") == TicketState.CLOSED or _counts(message, CHECK):
        return TicketState.CLOSED
    if left.get("state") == TicketState.ACKNOWLEDGED or _counts(message, EYES):
        return TicketState.ACKNOWLEDGED
    return TicketState.OPEN


def _counts(message: Mapping[str, Any], name: str) -> bool:
    """Whether more people gave this reaction than did when it stopped counting."""
    return _reactions(message).get(name, 0) > _number(_payload(message, TICKET_EVENT).get(name))


def _outdated(root: Mapping[str, Any], state: TicketState) -> dict[str, int]:
    """How many reactions of each kind do not count: those that a ticket had when it was reopened.

    Fewer when somebody took one back meanwhile. An :eyes: on an open ticket goes on counting: it may be newer than what
    the caller knows.
    """
    given, known = _reactions(root), _payload(root, TICKET_EVENT)
    if _state(root) is TicketState.CLOSED and state is not TicketState.CLOSED:
        return {name: given.get(name, 0) for name in (EYES, CHECK)}
    return {name: min(given.get(name, 0), _number(known.get(name))) for name in (EYES, CHECK)}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _reactions(message: Mapping[str, Any]) -> dict[str, int]:
    """How many people gave each reaction. Source: https://docs.slack.dev/reference/events/message."""
    found = {str(reaction.get("name")): reaction.get("count") for reaction in _dicts(message.get("reactions"))}
    return {name: count for name, count in found.items() if isinstance(count, int)}


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _refused(method: str, answer: Mapping[str, Any]) -> TicketUnavailableError:
    """Say what Slack said, and what to do."""
    error = str(answer.get("error") or "no error named")[:80]
    if error in LIMITS:
        text = f"{method} of Slack answered 200 {error}: rate limit, to be tried again in {RATE_LIMIT_SECONDS:.0f} s"
        return TicketUnavailableError(text, retry_after=RATE_LIMIT_SECONDS)
    other = "Slack is in trouble" if error in TROUBLES else "not what we know of Slack"
    needed = f" (needed: {str(answer['needed'])[:80]})" if isinstance(answer.get("needed"), str) else ""
    kind = TicketGoneError if error in GONE else TicketUnavailableError
    return kind(f"{method} of Slack answered 200 {error}: {ADVICE.get(error, other)}{needed}")
