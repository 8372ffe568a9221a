"""The port `Tracker` in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from chalicelib.errors import TicketUnavailableError
from chalicelib.incident.model import Ticket
from tests.fakes.calls import Called, Calls


@dataclass
class FakeTicket:
    """A ticket as people see it."""

    id: str
    marker: str
    title: str
    body: str
    labels: tuple[str, ...]
    comments: dict[str, str] = field(default_factory=dict)  # marker -> body
    state: str = "open"

    def shown(self) -> Ticket:
        """What the tracker answers."""
        return Ticket(id=self.id, url=f"https://tracker.test/tickets/{self.id}", state=self.state)


class FakeTracker(Called):
    """Tickets in the order in which they were opened; `down` makes every call fail."""

    def __init__(self, calls: Calls | None = None) -> None:
        """No ticket yet."""
        super().__init__(calls)
        self.tickets: list[FakeTicket] = []
        self.down = False

    def find(self, marker: str) -> Ticket | None:
        """See the port."""
        return self._call("tracker.find", lambda: self._find(marker))

    def create(self, *, marker: str, title: str, body: str, labels: tuple[str, ...]) -> Ticket:
        """See the port."""
        return self._call("tracker.create", lambda: self._create(FakeTicket("", marker, title, body, labels)))

    def comment(self, ticket: str, body: str, *, marker: str) -> None:
        """See the port."""
        self._call("tracker.comment", lambda: self._ticket(ticket).comments.setdefault(marker, body))

    def amend(self, ticket: str, *, title: str, labels: tuple[str, ...]) -> None:
        """See the port."""
        return self._call("tracker.amend", lambda: self._amend(ticket, title, labels))

    def _reached(self) -> None:
        if self.down:
            raise TicketUnavailableError("could not reach the tracker: it is down")

    def _ticket(self, ticket: str) -> FakeTicket:
        self._reached()
        return next(each for each in self.tickets if each.id == ticket)

    def _find(self, marker: str) -> Ticket | None:
        self._reached()
        return next((each.shown() for each in self.tickets if each.marker == marker), None)

    def _create(self, ticket: FakeTicket) -> Ticket:
        self._reached()
        ticket.id = str(len(self.tickets) + 1)
        self.tickets.append(ticket)
        return ticket.shown()

    def _amend(self, ticket: str, title: str, labels: tuple[str, ...]) -> None:
        found = self._ticket(ticket)
        found.title, found.labels = title, labels
