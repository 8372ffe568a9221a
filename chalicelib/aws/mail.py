"""The port `Tracker` on SNS e-mail: it can only speak, so it is the fallback when every tracker fails.

Knows SNS and its limits. Must not know any tracker's markup: how a document becomes plain text is handed in.
Source: https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws
from chalicelib.errors import OpsError, TicketUnavailableError
from chalicelib.incident.document import Document, Paragraph, line
from chalicelib.incident.model import Ticket, TicketState
from chalicelib.incident.ports import Page

# "Must be ASCII text that begins with a letter, number, or punctuation mark; must not include line breaks or control
# characters; and must be less than 100 characters long": https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MOST_SUBJECT = 99
MOST_BYTES = 262_144  # "at most 256 KB in size (262,144 bytes, not 262,144 characters)": the same page
CUT = "\n(cut: too long for SNS)"
MISSING = frozenset({"NotFound", "NotFoundException"})


class SnsMail:
    """The port `Tracker`: every call that tells something is an e-mail to the topic's subscribers.

    Nothing can be found again or read back: a call whose answer was lost is told twice.
    The role needs sns:Publish on the topic, and kms:GenerateDataKey and kms:Decrypt where it is encrypted.
    """

    def __init__(self, aws: Aws, topic_arn: str, *, render: Callable[[Document], str]) -> None:
        """Publish to this topic; `render` makes plain text of a document."""
        self._aws = aws
        self._topic_arn = topic_arn
        self._render = render

    def find(self, marker: str) -> Ticket | None:  # noqa: ARG002 - the port's
        """None: sent mail cannot be looked through."""
        return None

    def create(self, page: Page) -> Ticket:
        """Send the page. The ticket's id is the episode's short name, which the subjects of its e-mails end with."""
        ticket = _short(page.marker)
        # What stands in the text could become a link in a mail program: the renderer sees to that.
        title = self._render((Paragraph(line(page.title)),))
        self._send(page.title, ticket, _text(title, _facts(page), self._render(page.body)))
        return Ticket(id=ticket, url="")

    def comment(self, ticket: str, body: Document, *, marker: str) -> None:
        """Send the comment under the ticket's short name; its marker tells readers that two are the same."""
        text, end = self._render(body).strip() or "(no text)", f"\n\nMarker: {marker}"
        self._send(f"Update: {text}", ticket, _cut(text, MOST_BYTES - len(end.encode())) + end)

    def update(self, ticket: str, page: Page, state: TicketState) -> None:
        """Nothing: a comment said it, and a second e-mail without words would say no more."""

    def read(self, ticket: str) -> Ticket | None:  # noqa: ARG002 - the port's
        """None: e-mail tells nobody what people did."""
        return None

    def _send(self, subject: str, ticket: str, text: str) -> None:
        try:
            with translated(missing=MISSING):
                self._aws.client("sns").publish(
                    TopicArn=self._topic_arn, Subject=_subject(subject, ticket), Message=text
                )
        except OpsError as error:
            # Whether AWS would call it permanent or not: the outbox keeps what was not told.
            raise TicketUnavailableError(f"could not send e-mail by {self._topic_arn}: {error}") from error


def _short(marker: str) -> str:
    """A name of an episode that fits a subject: a marker may be longer than all of it."""
    return f"xai-{hashlib.sha256(marker.encode()).hexdigest()[:10]}"


def _subject(text: str, ticket: str) -> str:
    """ASCII on one line; the ticket's name is never cut, so that a mail client can gather what belongs together."""
    end = f" [{_ascii(ticket, 40)}]"
    return (_ascii(text, MOST_SUBJECT - len(end)) or "Incident") + end


def _ascii(text: str, most: int) -> str:
    printable = "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text)
    return " ".join(printable.split())[:most].rstrip()


def _facts(page: Page) -> str:
    return f"Grade: {page.grade}\nLabels: {', '.join(page.labels) or 'none'}\nMarker: {page.marker}"


def _text(*parts: str) -> str:
    """SNS refuses an empty message: the facts are never empty, and stand before what may be cut."""
    return _cut("\n\n".join(part for part in parts if part.strip()))


def _cut(text: str, most: int = MOST_BYTES) -> str:
    """Cut to bytes, between characters."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= most:
        return encoded.decode()
    return encoded[: most - len(CUT)].decode(errors="ignore") + CUT
