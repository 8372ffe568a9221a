"""A group on fakes, advanced tick by tick with a hand-moved clock: what use-case tests stand on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from chalicelib.errors import LostRaceError
from chalicelib.fleet.load import load
from chalicelib.fleet.model import Fleet
from chalicelib.health.model import Answer, Endpoint, Reading
from chalicelib.incident.document import Document
from chalicelib.incident.model import Incident
from chalicelib.incident.run import Desk, advance_incidents
from chalicelib.rollout.act import Hands
from chalicelib.rollout.look import Eyes
from chalicelib.rollout.model import Phase, Promotion, Request, Rollout, Stable, Word
from chalicelib.rollout.ports import Ask
from chalicelib.rollout.run import Outcome, Room, advance_group
from tests.fakes.calls import Calls, Crash
from tests.fakes.ecr import FakeEcr
from tests.fakes.ecs import START, FakeEcs
from tests.fakes.ledger import FakeLedger
from tests.fakes.tracker import FakeTracker
from tests.fakes.watch import FakeAlarms, FakeLogs, FakeNodes, FakeQueue, FakeTargets

FLEETS = Path(__file__).parents[2] / "chalicelib" / "fleet"
REPOSITORY = "xai/node"
STABLE = "sha256:" + "a" * 64
TARGET = "sha256:" + "b" * 64
NEWER = "sha256:" + "c" * 64


def block_hash(height: int, chain: str = "xai") -> str:
    """The hash of a block on a chain."""
    return hashlib.sha256(f"{chain}/{height}".encode()).hexdigest()


@dataclass
class Talk:
    """What a node says: a chain that rises by a block every ten seconds, unless told otherwise."""

    chain: str = "xai"
    stands_since: datetime | None = None
    lag: int = 0
    supply: float | None = 1_000_000.0
    answers: Mapping[Endpoint, Answer] = field(default_factory=dict)
    only_on: str | None = None  # these faults show on this revision only

    def reading(self, ask: Ask, now: datetime) -> Reading:
        """Answer as a node would."""
        at = min(now, self.stands_since) if self.stands_since else now
        height = 100 + int((at - START).total_seconds() // 10) - self.lag
        answers = {e: self.answers.get(e, Answer.MEASURED) for e in ask.endpoints}
        tip = block_hash(height - 1, self.chain)
        known = {h: block_hash(h, self.chain) for h in ask.heights if h < height}
        lost = not self.supply
        digest = (
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" if lost else block_hash(height, "utxo")
        )
        measured = answers.get(Endpoint.STATS) is Answer.MEASURED
        return Reading(
            service=ask.service, at=now, answers=answers, height=height if measured else None,
            tip=tip if measured else None, supply=self.supply if measured else None,
            utxo_digest=digest if measured else None, digest_tip=tip if measured else None,
            hashes=known if measured else {}, finalized=height - 3 if measured else None,
        )  # fmt: skip


def _with_nodes(fleet: Fleet, number: int) -> Fleet:
    group = fleet.groups["nodes"]
    first = next(iter(group.services.values()))
    services = {f"node-{i}": first.model_copy(update={"wave": i}) for i in range(1, number + 1)}
    limits = group.limits.model_copy(update={"max_services": number})
    group = group.model_copy(update={"services": services, "limits": limits})
    return fleet.model_copy(update={"groups": {**fleet.groups, "nodes": group}})


class Stage:
    """One environment's node group on fakes, adopted on STABLE."""

    def __init__(self, environment: str = "staging", *, adopted: bool = True, nodes: int | None = None) -> None:
        """Services steady on stable, a good image pushed, nothing under way; `nodes`: so many, a wave each."""
        self.calls = Calls()
        self.fleet: Fleet = load(FLEETS / f"{environment}.yaml")
        if nodes is not None:
            self.fleet = _with_nodes(self.fleet, nodes)
        self.group = self.fleet.groups["nodes"]
        self.names = list(self.group.services)
        self.now = START + timedelta(hours=1)
        self.ecs, self.ecr, self.ledger = FakeEcs(self.calls, now=self.now), FakeEcr(self.calls), FakeLedger(self.calls)
        self.alarms, self.targets = FakeAlarms(self.calls), FakeTargets(self.calls)
        self.logs, self.nodes, self.queue = FakeLogs(self.calls), FakeNodes(self.calls), FakeQueue(self.calls)
        self.trackers = {name: FakeTracker(self.calls) for name in self.fleet.incidents.trackers}
        self.tracker = self.trackers["github"]
        self.talks: dict[str, Talk] = {name: Talk() for name in self.names}
        self.bad: dict[str, Talk] = {}  # what a node says while it runs the target
        self.ticks = 0
        for digest, tag in ((STABLE, "2.0.0"), (TARGET, "2.1.0"), (NEWER, "2.2.0")):
            self.ecr.push(REPOSITORY, digest, tag)
        for name in self.names:
            definition = {
                "family": name,
                "containerDefinitions": [
                    {"name": "node", "image": self.ecr.reference(REPOSITORY, STABLE), "unheardOf": {"kept": True}},
                    {"name": "envoy", "image": "public.ecr.aws/envoy:1"},
                ],
                "volumes": [{"name": "data", "host": {"sourcePath": f"/volumes/{name}"}}],
            }
            self.ecs.add_service(name, self.ecs.add_revision(definition))
            self.nodes.all[name] = self._says
        self.nodes.all["smoke of nodes"] = Talk().reading
        for alarm in {alarm for service in self.group.services.values() for alarm in service.alarms}:
            self.alarms.all[alarm] = "OK"
        if adopted:
            self.adopt()

    def _says(self, ask: Ask, now: datetime) -> Reading:
        world = self.ecs.services[ask.service]
        target = not world.primary.revision.endswith(":1")
        talk = self.bad.get(ask.service) if target else None
        return (talk or self.talks[ask.service]).reading(ask, now)

    @property
    def room(self) -> Room:
        """What a tick needs."""
        eyes = Eyes(
            services=self.ecs,
            images=self.ecr,
            alarms=self.alarms,
            targets=self.targets,
            logs=self.logs,
            nodes=self.nodes,
        )
        hands = Hands(services=self.ecs, deployer=self.ecs, images=self.ecr)
        return Room(fleet=self.fleet, ledger=self.ledger, eyes=eyes, hands=hands, queue=self.queue, lease_seconds=90)

    @property
    def desk(self) -> Desk:
        """What a tick of incidents needs."""
        return Desk(
            outbox=self.ledger, trackers=self.trackers, policy=self.fleet.incidents, circumstances=self, alarms=self.alarms,
            evidence=self, lease_seconds=90,
        )  # fmt: skip

    def explain(self, incident: Incident, now: datetime) -> None:
        """The port `Circumstances`: nothing explains anything."""

    def gather(self, incident: Incident, now: datetime) -> Document:
        """The port `Evidence`: none."""
        return ()

    # ------------------------------------------------------------------------------------------ words

    def adopt(self) -> None:
        """Record what runs as stable."""
        self.say(Word.ADOPT)

    def push(self, digest: str = TARGET, tag: str = "2.1.0", *, later: float = 0.0) -> bool:
        """An ECR push arrives, and the tick that it causes runs."""
        pushed = self.now + timedelta(seconds=later)
        request = Request(
            word=Word.START, group="nodes", by="ecr push", at=self.now, repository=REPOSITORY, digest=digest, tag=tag,
            pushed_at=pushed,
        )  # fmt: skip
        fresh = self.ledger.put_request(request, now=self.now)
        self.tick()
        return fresh

    def say(self, word: Word, **more: object) -> Outcome:
        """A person's word, and its tick."""
        request = replace(Request(word=word, group="nodes", by="ann", at=self.now, why="because"), **more)  # type: ignore[arg-type]
        self.ledger.put_request(request, now=self.now)
        return self.tick()

    # ------------------------------------------------------------------------------------------ time

    def tick(self) -> Outcome:
        """One tick, now; the tracker is told afterwards."""
        self.ticks += 1
        self.ecs.now = self.ecr.now = self.now
        outcome = advance_group("nodes", self.room, owner=f"tick-{self.ticks}", now=self.now)
        advance_incidents(self.desk, now=self.now)
        return outcome

    def pass_time(self, seconds: float, *, settle: bool = True) -> None:
        """Let time pass without a tick; ECS finishes what it was doing."""
        self.now += timedelta(seconds=seconds)
        self.ecs.now = self.ecr.now = self.now
        if settle:
            self.ecs.settle()

    def run(
        self,
        *,
        until: Callable[[Rollout], bool] = lambda r: not r.open or r.phase is Phase.HELD,
        step: float = 10.0,
        most: int = 600,
        settle: bool = True,
        digest: str = TARGET,
    ) -> Rollout:
        """Tick on until the rollout of a digest is where it should be."""
        for _ in range(most):
            rollout = self.rollout(digest)
            if rollout is not None and until(rollout):
                return rollout
            self.pass_time(step, settle=settle)
            try:
                self.tick()
            except (Crash, LostRaceError):
                self.pass_time(100.0, settle=settle)
        raise AssertionError(f"no end after {most} ticks: {self.rollout(digest)}")

    def rollout(self, digest: str = TARGET) -> Rollout | None:
        """The newest rollout of a digest."""
        found = self.ledger._newest("nodes")
        return next((r for r in found if r.digest == digest), None)

    # ------------------------------------------------------------------------------------------ facts

    def digests(self) -> list[str]:
        """What each service's primary runs."""
        found = []
        for name in self.names:
            definition = self.ecs.revisions[self.ecs.services[name].primary.revision].definition
            found.append(definition["containerDefinitions"][0]["image"].rsplit("@", 1)[-1])
        return found

    def stable(self) -> dict[str, Stable]:
        """What the ledger says is stable."""
        return dict(self.ledger.group("nodes")[0].stable)

    def history(self) -> tuple[Promotion, ...]:
        """What was promoted."""
        return self.ledger.group("nodes")[0].history
