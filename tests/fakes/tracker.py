"""The port `Tracker` in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from chalicelib.errors import TicketGoneError, TicketUnavailableError
from chalicelib.incident.document import Document
from chalicelib.incident.model import Grade, Ticket, TicketState
from chalicelib.incident.ports import Page
from tests.fakes.calls import Called, Calls

GRADES = frozenset(grade.value for grade in Grade)


@dataclass
class FakeTicket:
    """A ticket as people see it."""

    id: str
    marker: str
    title: str
    body: Document
    labels: tuple[str, ...]
    comments: dict[str, Document] = field(default_factory=dict)  # marker -> body
    state: TicketState = TicketState.OPEN

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

    def create(self, page: Page) -> Ticket:
        """See the port."""
        return self._call("tracker.create", lambda: self._create(page))

    def comment(self, ticket: str, body: Document, *, marker: str) -> None:
        """See the port."""
        self._call("tracker.comment", lambda: self._ticket(ticket).comments.setdefault(marker, body))

    def update(self, ticket: str, page: Page, state: TicketState) -> None:
        """See the port."""
        return self._call("tracker.update", lambda: self._update(self._ticket(ticket), page, state))

    def read(self, ticket: str) -> Ticket | None:
        """See the port."""
        return self._call("tracker.read", lambda: self._ticket(ticket).shown())

    def _reached(self) -> None:
        if self.down:
            raise TicketUnavailableError("could not reach the tracker")

    def _ticket(self, ticket: str) -> FakeTicket:
        self._reached()
        found = next((each for each in self.tickets if each.id == ticket), None)
        if found is None:
            raise TicketGoneError(f"the tracker has no ticket {ticket}")
        return found

    def _find(self, marker: str) -> Ticket | None:
        self._reached()
        return next((each.shown() for each in self.tickets if each.marker == marker), None)

    def _create(self, page: Page) -> Ticket:
        self._reached()
        number = str(len(self.tickets) + 1)
        self.tickets.append(FakeTicket(number, page.marker, page.title, page.body, page.labels))
        return self.tickets[-1].shown()

    def _update(self, ticket: FakeTicket, page: Page, state: TicketState) -> None:
        kept = (label for label in ticket.labels if label not in GRADES)
        ticket.title, ticket.labels = page.title, tuple(dict.fromkeys((*kept, *page.labels)))
        ticket.state = state
