"""What holds for any snapshot, and for any order of events: found by search, not by example."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from chalicelib.errors import DeniedError, LostRaceError, OpsError, ThrottledError
from chalicelib.health.model import EMPTY_DIGEST, Answer, Baseline, Endpoint, Reading, Standing
from chalicelib.rollout.decide import decide
from chalicelib.rollout.model import (
    IDLE,
    SMOKE_MARK,
    SMOKE_PASSED,
    TERMINAL,
    Deployment,
    GroupState,
    Hold,
    Origin,
    Phase,
    RestoreStable,
    Rollout,
    ServiceView,
    ShiftService,
    Snapshot,
    Stable,
    Step,
    Task,
    Unmeasured,
    WayBack,
    Word,
)
from chalicelib.rollout.revision import ROLLOUT_TAG
from tests.decide.build import (
    NOW,
    STABLE,
    STABLE_DIGEST,
    TARGET,
    TARGET_DIGEST,
    ago,
    make_baseline,
    make_group,
    make_image,
    make_rollout,
    make_state,
    validator,
)
from tests.fakes.calls import Crash
from tests.run.stage import NEWER, Stage, Talk
from tests.run.stage import TARGET as PUSHED

GROUP = make_group({"n1": validator(1, "a1"), "n2": validator(2, "a2")})
NAMES = ("n1", "n2")
OTHER = "arn:aws:ecs:us-east-1:123456789012:task-definition/{}:9"

moments = st.integers(-4000, 0).map(lambda seconds: NOW + timedelta(seconds=seconds))
maybe_moments = st.none() | moments
heights = st.none() | st.integers(0, 130)
hashes = st.dictionaries(st.sampled_from([90, 93, 97, 99]), st.sampled_from(["x", "y", "h93"]), max_size=3)
digests = st.sampled_from([None, EMPTY_DIGEST, "u1", "u2"])
supplies = st.sampled_from([None, 0.0, 985.0, 1000.0])


def revisions(name: str) -> st.SearchStrategy[str]:
    """Stable, target, or somebody else's."""
    return st.sampled_from([STABLE.format(name), TARGET.format(name), OTHER.format(name)])


def readings(name: str) -> st.SearchStrategy[Reading]:
    """Anything that a node may say."""
    return st.builds(
        Reading, service=st.just(name), at=st.just(NOW),
        answers=st.dictionaries(st.sampled_from(Endpoint), st.sampled_from(Answer), max_size=5),
        height=heights, tip=st.none() | st.just("t"), supply=supplies, utxo_digest=digests,
        digest_tip=st.none() | st.just("t"), hashes=hashes, finalized=st.none() | st.integers(-1, 130),
    )  # fmt: skip


def deployments(name: str) -> st.SearchStrategy[Deployment]:
    """Anything that ECS may show."""
    return st.builds(
        Deployment, id=st.sampled_from(["ecs-svc/1", "ecs-svc/2"]), status=st.sampled_from(["PRIMARY", "ACTIVE"]),
        revision=revisions(name), state=st.sampled_from(["IN_PROGRESS", "COMPLETED", "FAILED"]),
        desired=st.integers(0, 2), running=st.integers(0, 2), pending=st.integers(0, 2),
    )  # fmt: skip


def views(name: str) -> st.SearchStrategy[ServiceView]:
    """A service in any state."""
    return st.builds(
        ServiceView, name=st.just(name), arn=st.just(name), status=st.sampled_from(["ACTIVE", "DRAINING"]),
        desired=st.integers(0, 2), running=st.integers(0, 2), pending=st.integers(0, 2),
        deployments=st.lists(deployments(name), max_size=2).map(tuple), target_groups=st.sampled_from([(), ("tg",)]),
        unplaced=st.sampled_from(["", "was unable to place a task"]), breaker=st.sampled_from(["", "", "it tripped"]),
    )  # fmt: skip


def tasks(name: str | None) -> st.SearchStrategy[Task]:
    """A task in any state, dead of anything."""
    codes = [None, "TaskFailedToStart", "EssentialContainerExited", "ServiceSchedulerInitiated", "SpotInterruption"]
    states = st.sampled_from(["PENDING", "RUNNING", "STOPPED"])
    return st.builds(
        Task, arn=st.sampled_from(["t/1", "t/2", "t/3"]), service=st.just(name), revision=revisions(name or "n1"),
        started_by=st.sampled_from(["ecs-svc/1", f"{SMOKE_MARK}/r0/0", f"{SMOKE_MARK}/r1/0"]), status=states,
        desired=st.sampled_from(["RUNNING", "STOPPED"]), created_at=maybe_moments, started_at=maybe_moments,
        stopped_at=maybe_moments, stop_code=st.sampled_from(codes),
        stopped_reason=st.sampled_from(["", "RESOURCE:ENI", "CannotPullContainerError: not found"]),
        log=st.sampled_from(["", "Integrity check failed"]),
    )  # fmt: skip


baselines = st.builds(
    make_baseline, height=heights, anchor=st.sampled_from([None, 93]), anchor_hash=st.sampled_from([None, "h93"]),
    supply=supplies, utxo_digest=digests, finality_lag=st.none() | st.integers(0, 9),
)  # fmt: skip


@st.composite
def steps(draw: st.DrawFn, name: str, wave: int) -> Step:
    """A step as some earlier tick may have left it."""
    target = draw(st.sampled_from([None, TARGET.format(name)]))
    touched = draw(st.booleans())
    shifted = draw(maybe_moments) if touched and target else None
    return Step(
        service=name, wave=wave, target=target, touched=touched, shifted_at=shifted,
        stable=draw(st.sampled_from([None, *[Stable(revision=STABLE.format(name), digest=STABLE_DIGEST)] * 4])),
        start=draw(st.none() | revisions(name)), restored_at=draw(maybe_moments) if touched else None,
        confirmed=draw(st.booleans()), running_at=draw(maybe_moments), baseline=draw(st.none() | baselines),
        dead=draw(st.sampled_from([(), ("t/1",)])), strikes=draw(st.integers(0, 4)), read_at=draw(maybe_moments),
        answered_at=draw(maybe_moments), height=draw(heights), highest=draw(heights), advanced_at=draw(maybe_moments),
        advanced=draw(st.booleans()), bake_height=draw(heights), marked=draw(st.booleans()),
    )  # fmt: skip


states_of_alarms = st.dictionaries(
    st.sampled_from(["a1", "a2"]), st.sampled_from(["OK", "ALARM", "INSUFFICIENT_DATA"]), max_size=2
)


@st.composite
def rollouts(draw: st.DrawFn, *phases: Phase) -> Rollout:
    """A record in one of these phases, in any if none is given."""
    results = st.sampled_from([None, SMOKE_PASSED, "it did not answer", "cancelled"])
    return make_rollout(
        draw(steps("n1", 0)), draw(steps("n2", 1)), phase=draw(st.sampled_from(phases or tuple(Phase))), origin=draw(st.sampled_from(Origin)),
        since=draw(moments), wave=draw(st.integers(0, 1)), wave_since=draw(maybe_moments),
        bake_since=draw(maybe_moments), smoke_result=draw(results), smoke_tries=draw(st.integers(0, 3)),
        smoke_task=draw(st.sampled_from([None, "t/1"])), alarms=draw(states_of_alarms),
        rollback_since=draw(maybe_moments), repointed=draw(st.booleans()), condemned=draw(st.booleans()),
        held_from=draw(st.none() | st.sampled_from(Phase)), watched_at=draw(maybe_moments),
        resumed_at=draw(maybe_moments), waiting_since=draw(maybe_moments), strays=draw(st.sampled_from([(), ("r0",)])),
        approved_by=draw(st.sampled_from([None, "ann"])),
    )  # fmt: skip


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """The world in any state, parts of it missing."""
    parts = ["services", "tasks", "alarms", "image", "ways_back", "targets n1"]
    ways = st.builds(
        WayBack, service=st.sampled_from(NAMES), revision_status=st.sampled_from(["ACTIVE", "INACTIVE", "MISSING"])
    )
    seen = st.booleans()
    return Snapshot(
        at=NOW,
        services={n: draw(views(n)) for n in NAMES if draw(st.integers(0, 9))},
        tasks=tuple(draw(st.lists(st.sampled_from([*NAMES, None]).flatmap(tasks), max_size=3))),
        readings={n: draw(readings(n)) for n in NAMES if draw(seen)},
        targets={n: draw(st.sampled_from([(), ("healthy",), ("unhealthy", "initial")])) for n in NAMES if draw(seen)},
        alarms=draw(states_of_alarms),
        image=draw(st.none() | st.builds(make_image, exists=st.booleans(), irreversible=st.booleans())),
        ways_back=tuple(draw(st.lists(ways, max_size=2))),
        smoke=draw(st.none() | tasks(None)),
        smoke_answer=draw(st.none() | readings("smoke of nodes")),
        unmeasured=draw(st.dictionaries(st.sampled_from(parts), st.sampled_from(Unmeasured), max_size=2)),
    )


@st.composite
def groups(draw: st.DrawFn) -> GroupState:
    """The group's state."""
    return make_state(
        stable={n: Stable(revision=STABLE.format(n), digest=STABLE_DIGEST) for n in NAMES if draw(st.booleans())},
        active=draw(st.sampled_from([None, "r1", "r0"])),
        hold=draw(st.sampled_from([None, Hold(by="ann", why="", at=NOW)])),
        quarantine=draw(st.sampled_from([{}, {}, {TARGET_DIGEST: "bad"}])),
    )


worlds = st.tuples(rollouts(), snapshots(), groups())
many = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
World = tuple[Rollout, Snapshot, GroupState]


@many
@given(world=worlds, heir=st.booleans())
def test_any_snapshot_gets_one_decision(world: World, heir: bool) -> None:
    """Total and deterministic: no snapshot raises, and the same one is decided the same."""
    first = decide(*world, GROUP, NOW, heir=heir)
    assert decide(*world, GROUP, NOW, heir=heir) == first
    assert first.rollout.id == world[0].id


@many
@given(world=worlds, heir=st.booleans())
def test_every_change_names_the_steps_own_revisions(world: World, heir: bool) -> None:
    """A service goes to its own target or back to its own stable, nowhere else, and only once it may be touched."""
    decision = decide(*world, GROUP, NOW, heir=heir)
    by_name = {step.service: step for step in decision.rollout.steps}
    for action in decision.actions:
        if isinstance(action, ShiftService):
            step = by_name[action.service]
            assert (action.revision, step.wave) == (step.target, decision.rollout.wave)
            assert step.touched and step.shifted_at is not None
        if isinstance(action, RestoreStable):
            step = by_name[action.service]
            assert step.stable is not None
            assert action.revision == step.stable.revision
            assert step.restored_at is not None
    if world[0].phase in {*IDLE, Phase.SMOKING, Phase.HELD}:
        assert not any(isinstance(action, ShiftService | RestoreStable) for action in decision.actions)


@few
@given(record=rollouts(*sorted(TERMINAL)), seen=snapshots(), state=groups())
def test_ended_rollout_does_nothing_more(record: Rollout, seen: Snapshot, state: GroupState) -> None:
    """No action, no wake-up, the same phase."""
    decision = decide(record, seen, state, GROUP, NOW)
    assert (decision.actions, decision.wake_in, decision.rollout.phase) == ((), None, record.phase)


@many
@given(record=rollouts(Phase.SHIFTING, Phase.BAKING), seen=snapshots(), state=groups())
def test_nothing_measured_never_takes_a_rollout_back(record: Rollout, seen: Snapshot, state: GroupState) -> None:
    """Without something measured against it, or ECS' own breaker, a rollout is never rolled back."""
    decision = decide(record, seen, state, GROUP, NOW)
    if decision.rollout.phase is Phase.ROLLING_BACK and decision.rollout.reason != "circuit_breaker":
        assert {f.standing for f in decision.findings} & {Standing.BAD, Standing.NOT_YET}
    if decision.rollout.phase is Phase.PROMOTED:
        assert {f.standing for f in decision.findings} == {Standing.GOOD}


@many
@given(world=worlds, heir=st.booleans())
def test_open_decision_is_looked_at_again_or_awaits_a_person(world: World, heir: bool) -> None:
    """An open rollout that nobody wakes would hang for ever."""
    decision = decide(*world, GROUP, NOW, heir=heir)
    if decision.rollout.open and decision.rollout.phase is not Phase.HELD:
        assert decision.wake_in is not None


@many
@given(world=worlds)
def test_same_snapshot_again_changes_no_service_that_is_there_already(world: World) -> None:
    """The next tick on the same world repeats a change only for a service that does not show it yet."""
    record, seen, state = world
    assume("services" not in seen.unmeasured)
    first = decide(record, seen, state, GROUP, NOW)
    again = decide(first.rollout, seen, state, GROUP, NOW)
    for action in again.actions:
        if isinstance(action, ShiftService | RestoreStable):
            view = seen.services.get(action.service)
            primary = view.primary if view else None
            repeated = action in first.actions
            assert not (repeated and primary is not None and primary.revision == action.revision)


@few
@given(
    record=rollouts(Phase.SHIFTING, Phase.BAKING, Phase.ROLLING_BACK),
    part=st.sampled_from(["services", "tasks"]), why=st.sampled_from(Unmeasured), seen=snapshots(),
)  # fmt: skip
def test_unreadable_ecs_changes_nothing(record: Rollout, part: str, why: Unmeasured, seen: Snapshot) -> None:
    """Denied or down: nothing is judged and no service moved; at the deadline a person is told."""
    decision = decide(record, replace(seen, unmeasured={part: why}), make_state(), GROUP, NOW)
    assert decision.rollout.phase in (record.phase, Phase.HELD)
    assert not any(isinstance(action, ShiftService | RestoreStable) for action in decision.actions)


def test_baseline_is_never_learned_from_the_target() -> None:
    """Once touched, nothing that a node says changes what it is measured by."""
    known = Baseline(height=100, anchor=93, anchor_hash="h93", offered=frozenset({Endpoint.LIVENESS}))
    step = Step(
        service="n1", wave=0, stable=Stable(revision=STABLE.format("n1"), digest=STABLE_DIGEST), touched=True,
        target=TARGET.format("n1"), shifted_at=ago(60), baseline=known,
    )  # fmt: skip
    said = Reading(service="n1", at=NOW, answers={Endpoint.STATS: Answer.MEASURED}, height=500, supply=1.0)
    decision = decide(
        make_rollout(step, phase=Phase.SHIFTING), Snapshot(at=NOW, readings={"n1": said}), make_state(), GROUP, NOW
    )
    assert decision.rollout.steps[0].baseline == known


# ------------------------------------------------------------------------------------------------ any order of events

names = st.integers(0, 1)


class AnyOrder(RuleBasedStateMachine):
    """A rollout on fakes, to which anything happens in any order; in the end everything must be in order."""

    @initialize(start=st.sampled_from(["pushed", "slow smoke", *["first wave", "first bake", "second bake"] * 2]))
    def begin(self, start: str) -> None:
        """A good image is pushed, and is on its way."""
        self.stage = Stage()
        self.pushed_at = self.stage.now
        self.all_nodes = dict(self.stage.nodes.all)
        self.theirs: set[str] = set()
        if start == "slow smoke":
            del self.stage.nodes.all["smoke of nodes"]
        self.stage.push()
        if start == "first wave":
            self.stage.run(until=lambda r: bool(r.touched))
        elif start not in {"pushed", "slow smoke"}:
            wave = int(start == "second bake")
            self.stage.run(until=lambda r: r.phase is Phase.BAKING and r.wave == wave)

    def safely(self, action: Callable[[], object]) -> None:
        """A tick may die anywhere, and a person may be told to try again."""
        try:
            action()
        except (Crash, LostRaceError, OpsError):
            self.stage.pass_time(100)

    @rule(seconds=st.sampled_from([2, 10, 60, 290, 1000]), settle=st.booleans())
    def pass_time(self, seconds: int, settle: bool) -> None:
        """Time passes and a tick comes."""
        self.stage.pass_time(seconds, settle=settle)
        self.safely(self.stage.tick)

    @rule(ticks=st.integers(5, 40))
    def go_on(self, ticks: int) -> None:
        """Nothing happens for a while."""
        for _ in range(ticks):
            self.pass_time(10, settle=True)

    @rule()
    def same_push_again(self) -> None:
        """At least once means twice."""
        later = (self.pushed_at - self.stage.now).total_seconds()
        self.safely(lambda: self.stage.push(later=later))

    @rule()
    def newer_push(self) -> None:
        """Somebody pushes again."""
        self.safely(lambda: self.stage.push(NEWER, "2.2.0", later=1))

    @rule(which=names)
    def crash(self, which: int) -> None:
        """A task dies."""
        self.stage.ecs.crash(self.stage.names[which])

    @rule(which=names, talk=st.sampled_from([Talk(supply=0.0), Talk(chain="other"), Talk(lag=50)]))
    def sick_on_target(self, which: int, talk: Talk) -> None:
        """The release is bad."""
        self.stage.bad[self.stage.names[which]] = talk

    @rule(which=names)
    def hangs(self, which: int) -> None:
        """Nobody reaches it."""
        self.stage.nodes.all.pop(self.stage.names[which], None)

    @rule()
    def answers_again(self) -> None:
        """All do."""
        self.stage.nodes.all = dict(self.all_nodes)

    @rule(state=st.sampled_from(["OK", "ALARM", "INSUFFICIENT_DATA"]))
    def alarm(self, state: str) -> None:
        """An alarm changes."""
        self.stage.alarms.all[min(self.stage.alarms.all)] = state

    @rule(times=st.integers(1, 20), error=st.sampled_from([DeniedError("no"), ThrottledError("slow")]))
    def alarms_unreadable(self, times: int, error: OpsError) -> None:
        """Metrics are denied, for a while."""
        self.stage.calls.fail("alarms.states", error, times=times)

    @rule(at=st.integers(1, 25), after=st.booleans())
    def kill(self, at: int, after: bool) -> None:
        """The Lambda dies at one of the next calls."""
        self.stage.calls.fail(None, Crash(), at=at, after=after)

    @rule(word=st.sampled_from([Word.ABORT, Word.ROLLBACK, Word.RELEASE, Word.APPROVE]))
    def person(self, word: Word) -> None:
        """Somebody says a word."""
        self.safely(lambda: self.stage.say(word))

    @precondition(lambda self: self.on_target())
    @rule()
    def breaker(self) -> None:
        """ECS takes a service back to stable by itself."""
        name = self.on_target()[0]
        stable = self.stage.ledger.groups["nodes"].state.stable[name].revision
        self.stage.ecs.roll_back(name, stable)

    @rule(which=names)
    def foreign_change(self, which: int) -> None:
        """Somebody deploys past us."""
        name = self.stage.names[which]
        stable = self.stage.ledger.groups["nodes"].state.stable[name].revision
        theirs = self.stage.ecs.add_revision(self.stage.ecs.revisions[stable].definition)
        self.theirs.add(theirs)
        self.safely(lambda: self.stage.ecs.point(name, theirs))

    def on_target(self) -> list[str]:
        """The services that moved away from stable."""
        stable = self.stage.ledger.groups["nodes"].state.stable
        return [n for n in self.stage.names if self.stage.ecs.services[n].primary.revision != stable[n].revision]

    def teardown(self) -> None:
        """With time moving and nothing failing, every rollout ends or awaits a person, and nothing lies about."""
        if not hasattr(self, "stage"):
            return
        stage = self.stage
        stage.calls.heal()
        for _ in range(700):
            rollouts = stage.ledger.all_rollouts.values()
            if stage.ledger.groups["nodes"].owner is None and all(self.at_rest(r) for r in rollouts):
                break
            stage.pass_time(20)
            stage.tick()
        for _ in range(3):
            stage.pass_time(20)
            stage.tick()
        self.ends_in_order()

    def at_rest(self, rollout: Rollout) -> bool:
        """Ended, or a person must say how it goes on with this one or the one before it."""
        state = self.stage.ledger.groups["nodes"].state
        active = self.stage.ledger.all_rollouts[state.active] if state.active else None
        behind = rollout.id == state.queued and active is not None and active.phase is Phase.HELD
        return not rollout.open or rollout.phase is Phase.HELD or (behind and rollout.phase is Phase.WAITING)

    def ends_in_order(self) -> None:
        """The invariants of any end."""
        stage, state = self.stage, self.stage.ledger.groups["nodes"].state
        rollouts = stage.ledger.all_rollouts
        for rollout in rollouts.values():
            assert self.at_rest(rollout), f"{rollout.id} hangs: {rollout.phase} {rollout.reason} {rollout.why}"
        for name in stage.names:
            runs, stable = stage.ecs.services[name].primary.revision, state.stable[name].revision
            owner = rollouts[state.active] if state.active else None
            allowed = {stable, *self.theirs} | (
                {s.target for s in owner.steps} | {s.start for s in owner.steps} if owner else set()
            )
            assert runs in allowed, f"{name} runs {runs}; allowed {allowed}"
        markers = [ticket.marker for ticket in stage.tracker.tickets]
        assert len(markers) == len(set(markers)) <= len(rollouts)
        marks = [
            (found.tags[ROLLOUT_TAG], found.definition["family"])
            for found in stage.ecs.revisions.values() if ROLLOUT_TAG in found.tags
        ]  # fmt: skip
        assert len(marks) == len(set(marks)), "the same rollout registered a revision twice"
        assert {mark for mark, _ in marks} <= set(rollouts)
        for task in stage.ecs.all_tasks.values():
            assert task.service is not None or task.status == "STOPPED", f"{task.started_by} still runs"
        if rollout := stage.rollout(PUSHED):
            pushes = [r for r in rollouts.values() if r.digest == PUSHED and r.origin is Origin.IMAGE]
            assert len(pushes) == 1, f"{rollout.id} and another were started by one push"


AnyOrder.TestCase.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
