"""The scenarios: what goes wrong, and how it must end. Each runs on a sandbox of its own; the end-to-end tests are these.

A scenario pushes an image and may disturb the world while the rollout runs; `check` looks at what is left behind.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import requests

from chalicelib import wiring
from chalicelib.rollout.model import Phase, Rollout
from chalicelib.rollout.render import KINDS
from sandbox import graph
from sandbox.alarm import put_history, set_alarm
from sandbox.follow import await_tickets, follow, summary
from sandbox.lambdas import LambdaKilledError
from sandbox.node import tear
from sandbox.world import EXPLORER_COMMAND, NODE_COMMAND, World

SLOWER = 16.0  # where a real process' own start, half a second of a busy machine, decides how it ends
Step = Callable[[World], None]
Check = Callable[[World, Rollout], str | None]  # what is wrong, None when all is well


def nothing(_world: World) -> None:
    """Leave the world alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One story with its end. `faults` are the pushed stand-in's; `tickets` how many of the release must be in the tracker at the end."""

    name: str
    tells: str
    ends: Phase
    reasons: tuple[str, ...] = ()  # any of these; empty: any reason
    faults: tuple[str, ...] = ()
    environment: str = "staging"
    group: str = "nodes"
    tickets: int | None = None
    severity: str | None = None
    before: Step = nothing
    during: Step = nothing
    checks: tuple[Check, ...] = ()
    adopted: bool = True
    stable_faults: tuple[str, ...] = ()
    scale: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How a scenario ended, and what was wrong with that."""

    scenario: Scenario
    rollout: Rollout
    seconds: float  # real
    wrong: tuple[str, ...] = field(default=())


def run(scenario: Scenario, *, time_scale: float, tell: Callable[[Rollout], None] = lambda _r: None) -> Result:
    """Run one scenario in a sandbox of its own."""
    began = time.monotonic()
    repository = "xai/node" if scenario.group == "nodes" else "xai/explorer"
    base = NODE_COMMAND if scenario.group == "nodes" else EXPLORER_COMMAND
    stable = {repository: ("2.0.0", with_faults(base, scenario.stable_faults))}
    with World(
        environment=scenario.environment,
        time_scale=scenario.scale or time_scale,
        stable=stable,
        adopted=scenario.adopted,
    ) as world:
        scenario.before(world)
        digest = world.push(repository, "2.1.0", with_faults(base, scenario.faults))
        helper = threading.Thread(target=scenario.during, args=(world,), daemon=True)
        helper.start()
        rollout = follow(world, scenario.group, digest, tell)
        helper.join(timeout=60)
        await_tickets(world)
        return Result(
            scenario=scenario, rollout=rollout, seconds=time.monotonic() - began, wrong=_judge(scenario, world, rollout)
        )


def with_faults(command: Sequence[str], faults: Sequence[str]) -> tuple[str, ...]:
    """The stand-in's command with faults."""
    return (*command, *(word for fault in faults for word in ("--fault", fault)))


def _judge(scenario: Scenario, world: World, rollout: Rollout) -> tuple[str, ...]:
    wrong = []
    if rollout.phase is not scenario.ends:
        wrong.append(f"ended {rollout.phase}, not {scenario.ends}: {rollout.reason}: {rollout.why}")
    if scenario.reasons and rollout.reason not in scenario.reasons:
        wrong.append(f"reason {rollout.reason}, not {' or '.join(scenario.reasons)}: {rollout.why}")
    found = summary(world, rollout)
    # Of the release. An alarm that outlasts it has a ticket of its own, sooner or later.
    tickets = [ticket for ticket in found["tickets"] if ticket["kind"] in KINDS.values()]
    if scenario.tickets is not None and len(tickets) != scenario.tickets:
        wrong.append(f"{len(tickets)} tickets, not {scenario.tickets}: {tickets}")
    if scenario.severity is not None and any(ticket["severity"] != scenario.severity for ticket in tickets):
        wrong.append(f"tickets {tickets}, not of severity {scenario.severity}")
    if rollout.phase in (Phase.ROLLED_BACK, Phase.REJECTED):
        off = [n for n, s in found["services"].items() if s["revision"] != s["stable_revision"]]
        if off:
            wrong.append(f"not on stable: {', '.join(off)}")
    if rollout.phase is Phase.PROMOTED:
        off = [n for n, s in found["services"].items() if s["digest"] != rollout.digest]
        if off:
            wrong.append(f"not on the target: {', '.join(off)}")
    smokes = [
        t for t in world.plane.tasks.values() if t.started_by.startswith("xai-ops-smoke") and t.desired != "STOPPED"
    ]
    if smokes:
        wrong.append(f"{len(smokes)} smoke task(s) still run")
    wrong.extend(sorted(set(world.cloud.refused())))
    wrong.extend(complaint for check in scenario.checks if (complaint := check(world, rollout)))
    return tuple(wrong)


# ---------------------------------------------------------------------------------------------- steps


def await_phase(world: World, group: str, phase: Phase, wave: int = 0, *, seconds: float = 60.0) -> Rollout | None:
    """Wait until the group's active rollout is in a phase and wave."""
    give_up = time.monotonic() + seconds
    ledger = world.ledger
    while time.monotonic() < give_up:
        state, _ = ledger.group(group)
        rollout: Rollout | None = ledger.rollout(state.active) if state.active else None
        if rollout is not None and rollout.phase is phase and rollout.wave >= wave:
            return rollout
        time.sleep(0.05)
    return None


def alarm_in_bake(world: World) -> None:
    """The memory alarm of the first node fires while it bakes."""
    await_phase(world, "nodes", Phase.BAKING)
    set_alarm(world.ground.client("cloudwatch"), "xai-staging-node-1-memory-high", "ALARM", world.now())


def newer_push(world: World) -> None:
    """A newer image is pushed while the first wave moves."""
    await_phase(world, "nodes", Phase.SHIFTING)
    world.push("xai/node", "2.2.0", (*NODE_COMMAND, "--p2p-port", "1"))


def foreign_change(world: World) -> None:
    """Somebody points the first node at a revision of their own while it bakes."""
    await_phase(world, "nodes", Phase.BAKING)
    ecs = world.ground.client("ecs")
    name, cluster = "xai-staging-node-1", world.fleet.cluster
    raw = world.plane.definitions[name][0].raw
    arn = ecs.register_task_definition(
        family=name, containerDefinitions=raw["containerDefinitions"], volumes=raw["volumes"]
    )
    ecs.update_service(cluster=cluster, service=name, taskDefinition=arn["taskDefinition"]["taskDefinitionArn"])


def tracker_down(world: World) -> None:
    """The tracker is down, and stays so until the rollback is over."""
    world.desk.down = True


def no_capacity(world: World) -> None:
    """ECS has no room from the first wave on."""
    await_phase(world, "nodes", Phase.SHIFTING)
    world.faults.no_capacity = True


def blind_probes(world: World) -> None:
    """Our side reaches no container from the first wave on."""
    await_phase(world, "nodes", Phase.SHIFTING)
    world.faults.blackhole_probes = True


def denied_metrics(world: World) -> None:
    """CloudWatch denies us from the first wave on."""
    await_phase(world, "nodes", Phase.SHIFTING)
    world.faults.add("denied", "cloudwatch", "DescribeAlarms")


def bad_weather(world: World) -> None:
    """A fifth of the calls fail: throttled, 500, answers lost."""
    for kind in ("throttle", "error500", "lost_answer"):
        for service in ("ecs", "dynamodb", "ecr", "sqs"):
            world.faults.add(kind, service, None, times=2)

    def again() -> None:
        for _ in range(20):
            time.sleep(0.7)
            for kind in ("throttle", "error500", "lost_answer"):
                world.faults.add(kind, "ecs", None, times=1)
                world.faults.add(kind, "dynamodb", None, times=1)

    threading.Thread(target=again, daemon=True).start()


def lose_events(world: World) -> None:
    """No event arrives any more; the push itself is found by the sweep."""
    world.faults.lose_events = True


def disorder(world: World) -> None:
    """Every event comes twice and late."""
    world.faults.duplicate_events = True
    world.faults.shuffle_events = True


def lambdas_off(world: World) -> None:
    """Our Lambdas are down from the first wave on until ECS' breaker has acted."""
    await_phase(world, "nodes", Phase.SHIFTING)
    _sleep_until_the_breaker_acts(world, revisions=1)


def breaker_elsewhere(world: World) -> None:
    """A newer, bad image takes over after a wave that is COMPLETED for ECS; our Lambdas are down when its breaker acts."""
    await_phase(world, "nodes", Phase.SHIFTING)
    world.push("xai/node", "2.2.0", with_faults(NODE_COMMAND, ("die-after=4@node-1",)))
    _sleep_until_the_breaker_acts(world, revisions=2)


def _sleep_until_the_breaker_acts(world: World, *, revisions: int) -> None:
    """Kill every Lambda from the first node's deployment after `revisions` others on, until ECS has rolled it back."""
    service = world.plane.services[(world.fleet.cluster, "xai-staging-node-1")]
    give_up = time.monotonic() + 120

    def dead(_name: str) -> None:
        raise LambdaKilledError

    while time.monotonic() < give_up and len(service.history) <= revisions:
        time.sleep(0.02)
    world.lambdas.crash = dead
    while time.monotonic() < give_up and not service.primary.by_breaker:
        time.sleep(0.05)
    world.lambdas.crash = lambda _name: None


def torn_volume(world: World) -> None:
    """The first node's volume is torn while it is down between the two revisions."""
    await_phase(world, "nodes", Phase.SHIFTING)
    give_up = time.monotonic() + 30
    volume = world.root / "volumes" / "xai-staging-node-1"
    while time.monotonic() < give_up:
        mine = [t for t in world.plane.tasks.values() if t.service and t.service.name == "xai-staging-node-1"]
        if any(t.status == "STOPPED" and t.stop_code == "ServiceSchedulerInitiated" for t in mine):
            tear(volume)
            return
        time.sleep(0.01)


def way_back_broken(world: World) -> None:
    """The stable image is lost while the target bakes: the way back cannot be taken."""
    rollout = await_phase(world, "nodes", Phase.BAKING)
    if rollout is not None and rollout.steps[0].stable is not None:
        world.images.delete("xai/node", rollout.steps[0].stable.digest)
    set_alarm(world.ground.client("cloudwatch"), "xai-staging-node-1-memory-high", "ALARM", world.now())


def person_rolls_back(world: World) -> None:
    """A person says: roll back."""
    await_phase(world, "nodes", Phase.BAKING)
    world.invoke("rollback", {"group": "nodes", "why": "customers report wrong balances"})


def approve_it(world: World) -> None:
    """A person approves."""
    await_phase(world, "nodes", Phase.AWAITING_APPROVAL)
    world.invoke("approve", {"group": "nodes"})


def kill_often(world: World) -> None:
    """Every third Lambda dies at one of its AWS calls; its claim frees itself when its lease runs out."""
    count = 0

    def hook(**_: object) -> None:
        nonlocal count
        count += 1
        if count % 157 == 0 and threading.current_thread().name.startswith("lambda"):
            raise LambdaKilledError

    session = wiring.house().aws._session  # noqa: SLF001 - the scenario reaches into its own process
    session.get_component("event_emitter").register("before-send", hook)
    for client in wiring.house().aws._clients.values():  # noqa: SLF001
        client.meta.events.register("before-send", hook)


def storm(world: World) -> None:
    """Every alarm of every service fires, clears and fires again while nothing is rolled out; a rollout comes after it."""
    client = world.ground.client("cloudwatch")
    names = sorted({a for g in world.fleet.groups.values() for s in g.services.values() for a in s.alarms})
    graph.prepare()
    for name in names:
        put_history(client, name, world.now())
    for state in ("ALARM", "OK", "ALARM", "ALARM"):
        for name in names:
            set_alarm(client, name, state, world.now())


# ---------------------------------------------------------------------------------------------- checks


def revisions_at_most(number: int) -> Check:
    """No orphan revisions: each node's family has at most this many."""

    def check(world: World, _rollout: Rollout) -> str | None:
        many = {f: len(r) for f, r in world.plane.definitions.items() if len(r) > number and not f.endswith("-smoke")}
        return f"orphan revisions: {many}" if many else None

    return check


def untouched(world: World, _rollout: Rollout) -> str | None:
    """No service was ever updated."""
    changed = world.cloud.calls().get("ecs:UpdateService", 0)
    return f"{changed} UpdateService calls" if changed else None


def updates(number: int) -> Check:
    """Exactly so many changes of a service."""

    def check(world: World, _rollout: Rollout) -> str | None:
        found = world.cloud.calls().get("ecs:UpdateService", 0)
        return f"{found} UpdateService calls, not {number}" if found != number else None

    return check


def few_changes(world: World, rollout: Rollout) -> str | None:
    """At most 15 changing calls for each service moved, outside ledger and queue."""
    changing = (
        "PutImage",
        "RunTask",
        "StopTask",
        "RegisterTaskDefinition",
        "UpdateService",
        "TagResource",
        "DeregisterTaskDefinition",
    )
    found = sum(n for call, n in world.cloud.calls().items() if call.split(":")[1] in changing)
    most = 15 * max(1, len(rollout.touched))
    return f"{found} changing calls, more than {most}" if found > most else None


def not_quarantined(world: World, rollout: Rollout) -> str | None:
    """The digest is not condemned: it was not the version."""
    state, _ = world.ledger.group(rollout.group)
    return "the digest is in quarantine" if rollout.digest in state.quarantine else None


def newer_promoted(world: World, _rollout: Rollout) -> str | None:
    """The newer push goes on to its own end, and the group is not split."""
    digest = world.images._by_tag("xai/node", "2.2.0")  # noqa: SLF001
    if digest is None:
        return "the newer image was not pushed"
    newer = follow(world, "nodes", digest)
    if newer.phase is not Phase.PROMOTED:
        return f"the newer rollout ended {newer.phase}: {newer.why}"
    off = [n for n, s in summary(world, newer)["services"].items() if s["digest"] != digest]
    return f"split: {', '.join(off)} not on the newer digest" if off else None


def ticket_arrives(world: World, _rollout: Rollout) -> str | None:
    """The ticket is sent when the tracker is back."""
    world.desk.down = False
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and not world.desk.tickets():
        time.sleep(0.2)
    await_tickets(world)
    found = [name for name, _ in world.desk.tickets()]
    wanted = sorted(world.fleet.incidents.trackers)
    return None if sorted(found) == wanted else f"tickets in {found}, not one in each of {wanted}"


def rolled_back_while_down(world: World, _rollout: Rollout) -> str | None:
    """The rollback did not wait for the tracker."""
    return f"{len(world.desk.tickets())} tickets while they were down" if world.desk.tickets() else None


def breaker_acted(world: World, _rollout: Rollout) -> str | None:
    """It was really the breaker."""
    service = world.plane.services[(world.fleet.cluster, "xai-staging-node-1")]
    return None if any(d.by_breaker for d in service.history) else "the breaker never acted"


def newer_taken_back(world: World, rollout: Rollout) -> str | None:
    """The breaker went to the release before, which was never promoted; we went on to stable, and nothing is split."""
    digest = world.images._by_tag("xai/node", "2.2.0")  # noqa: SLF001
    newer = follow(world, "nodes", digest or "")
    if (newer.phase, newer.reason) != (Phase.ROLLED_BACK, "circuit_breaker"):
        return f"the newer rollout ended {newer.phase}: {newer.reason}: {newer.why}"
    service = world.plane.services[(world.fleet.cluster, "xai-staging-node-1")]
    went = next((d.definition.arn for d in service.history if d.by_breaker), None)
    if went != rollout.steps[0].target:
        return f"the breaker went to {went}, not to the release before"
    off = [n for n, s in summary(world, newer)["services"].items() if s["revision"] != s["stable_revision"]]
    return f"not on stable: {', '.join(off)}" if off else None


def ticket_for_each_cause(world: World, _rollout: Rollout) -> str | None:
    """One ticket a kind and group, which names its members, in each tracker."""
    give_up = time.monotonic() + 30
    wanted = {"api_errors", "height_flat", "memory_high"}
    while time.monotonic() < give_up:
        if wanted <= {title for _, shown in world.desk.tickets() for title in wanted if title in shown.title}:
            break
        time.sleep(0.2)
    titles = [shown.title for name, shown in world.desk.tickets() if name == "github"]
    for kind in wanted:
        if sum(kind in title for title in titles) != 1:
            return f"{kind} is not one ticket in {titles}"
    both = next(title for title in titles if "memory_high" in title)
    return None if "2 in all" in both else f"{both!r} does not name both nodes"


def graph_opens(world: World, _rollout: Rollout) -> str | None:
    """The ticket shows the metric that crossed its limit: its address leads through our HTTP API to a picture."""
    pages = (part for name, shown in world.desk.tickets() if name == "github" for part in shown.parts)
    found = next((re.search(r'<img src="([^"]+)"', part) for part in pages if "<img" in part), None)
    if found is None:
        return "no ticket shows a graph"
    answer = requests.get(found[1], timeout=10)
    is_picture = answer.headers.get("Content-Type") == "image/png" and answer.content.startswith(b"\x89PNG")
    return None if is_picture else f"{found[1]} answers {answer.status_code} {answer.headers.get('Content-Type')}"


def person_is_heard(world: World, _rollout: Rollout) -> str | None:
    """Somebody takes a ticket on by the button on its page; the other trackers are told."""
    shown = next(shown for name, shown in world.desk.tickets() if name == "slack" and "memory_high" in shown.title)
    requests.post(
        f"{world.desk.url}/tickets/slack/{shown.id}", data={"do": "acknowledge"}, timeout=10
    ).raise_for_status()
    give_up = time.monotonic() + world.clock.to_real(world.fleet.incidents.read_back_seconds) + 30
    while time.monotonic() < give_up:
        if any(
            "taken on in slack" in part
            for name, each in world.desk.tickets()
            if name == "github"
            for part in each.parts
        ):
            return None
        time.sleep(0.2)
    return "the other tracker does not know who took it on"


def both_waves_went_back(world: World, rollout: Rollout) -> str | None:
    """Two services were moved and both were restored."""
    restored = [s for s in rollout.steps if s.restored_at]
    return None if len(restored) == 2 else f"{len(restored)} restored, not 2"


def told(text: str) -> Check:
    """The reason names what a person must know."""

    def check(_world: World, rollout: Rollout) -> str | None:
        return None if text in rollout.why else f"{text!r} is not in: {rollout.why}"

    return check


P, R, H, J, S = Phase.PROMOTED, Phase.ROLLED_BACK, Phase.HELD, Phase.REJECTED, Phase.SUPERSEDED
SCENARIOS: Mapping[str, Scenario] = {
    s.name: s
    for s in (
        Scenario(name="good", tells="a good push reaches every node", ends=P, tickets=0, checks=(few_changes, revisions_at_most(2))),
        Scenario(name="good-development", tells="a fleet of one", ends=P, environment="development", tickets=0),
        Scenario(name="good-explorer", tells="a good push of the explorer, behind a load balancer", ends=P, group="explorers", tickets=0),
        Scenario(name="bad-explorer", tells="an explorer that answers 500 after a minute", ends=R, group="explorers",
                 faults=("error5xx-after=150",), tickets=1),
        Scenario(name="dies-at-start", tells="cannot even import: refused at smoke, nothing touched", ends=J,
                 reasons=("smoke_failed",), faults=("die-at-start",), tickets=1, checks=(untouched,)),
        Scenario(name="dies-later", tells="dies a minute in", ends=R, reasons=("tasks_died",), faults=("die-after=60",), tickets=1,
                 checks=(revisions_at_most(2),)),
        Scenario(name="stalls", tells="its height stops rising", ends=R, reasons=("height_stalled", "lag"), faults=("stall",), tickets=1),
        Scenario(name="stalls-alone", tells="a fleet of one stalls", ends=R, reasons=("height_stalled",), faults=("stall",),
                 environment="development", tickets=1),
        Scenario(name="forks", tells="mines a chain of its own", ends=R, reasons=("forked",), faults=("fork",), tickets=1),
        Scenario(name="forks-deep", tells="rewrites settled blocks", ends=R, faults=("fork-deep",), tickets=1),
        Scenario(name="loses-supply", tells="loses the UTXO set, the volume stays intact", ends=R,
                 reasons=("supply", "utxo_lost"), faults=("lose-utxo",), tickets=1),
        Scenario(name="deletes-utxo", tells="really deletes the UTXO set: stable is sick too", ends=H,
                 reasons=("way_back_fails", "data_damaged"), faults=("delete-utxo",), tickets=1, severity="P1",
                 checks=(told("xai-staging-node-1"),)),
        Scenario(name="answers-500", tells="answers 500 after two minutes", ends=R, reasons=("answers",),
                 faults=("error5xx-after=130",), tickets=1),
        Scenario(name="hangs", tells="stops answering in its bake", ends=R, reasons=("answers",), faults=("hang-after=150",), tickets=1),
        Scenario(name="slow-start", tells="slow, but inside its start period", ends=P, faults=("slow-start=45",), tickets=0,
                 scale=SLOWER),
        Scenario(name="regresses", tells="starts from genesis", ends=R, faults=("regress",), tickets=1),
        Scenario(name="lags", tells="always 30 blocks behind", ends=R, faults=("lag=30",), tickets=1),
        Scenario(name="stops-finality", tells="mines on, but finality never goes on", ends=R, reasons=("finality", "deadline"),
                 faults=("finality-stuck",), tickets=1),
        Scenario(name="rate-limited", tells="we ask too often: not the node's fault", ends=H, reasons=("not_measured",),
                 faults=("rate-limit=3",), tickets=1),
        Scenario(name="older-api", tells="a release without /finality/status", ends=P, faults=("no-finality",), tickets=0),
        Scenario(name="reorg", tells="a reorg of two blocks in the bake is normal", ends=P, faults=("reorg-at=30",), tickets=0),
        Scenario(name="cannot-measure", tells="probes time out from our side", ends=H, reasons=("not_measured",),
                 during=blind_probes, tickets=1, checks=(not_quarantined,)),
        Scenario(name="metrics-denied", tells="CloudWatch denies us", ends=H, reasons=("not_measured",), during=denied_metrics,
                 tickets=1, checks=(not_quarantined,)),
        Scenario(name="breaker-first", tells="our Lambdas are down, ECS' breaker acts: agreed with", ends=R,
                 reasons=("circuit_breaker",), faults=("die-after=4@node-1",), during=lambdas_off, tickets=1,
                 checks=(breaker_acted, updates(1)), scale=SLOWER),
        Scenario(name="breaker-elsewhere", tells="ECS' breaker returns to a release that was never promoted: corrected to stable",
                 ends=S, reasons=("newer_push",), during=breaker_elsewhere, checks=(newer_taken_back,)),
        Scenario(name="alarm-in-bake", tells="an alarm of the node fires", ends=R, reasons=("alarm",), during=alarm_in_bake, tickets=1),
        Scenario(name="alarm-storm", tells="every alarm fires, clears and fires again: one ticket for each cause", ends=P,
                 before=storm, checks=(ticket_for_each_cause, graph_opens, person_is_heard)),
        Scenario(name="second-wave", tells="the second wave fails: the first goes back too", ends=R,
                 faults=("lose-utxo@node-2",), tickets=1, checks=(both_waves_went_back,)),
        Scenario(name="newer-push", tells="a newer push takes over at the wave boundary", ends=S, reasons=("newer_push",),
                 during=newer_push, tickets=0, checks=(newer_promoted,)),
        Scenario(name="events-lost", tells="no event arrives at all", ends=P, before=lose_events, tickets=0),
        Scenario(name="events-twice", tells="every event comes twice, late and shuffled", ends=P, before=disorder, tickets=0,
                 checks=(revisions_at_most(2),)),
        Scenario(name="bad-weather", tells="AWS throttles, fails and loses answers", ends=P, during=bad_weather, tickets=0,
                 checks=(revisions_at_most(2),)),
        Scenario(name="lambdas-die", tells="Lambdas die at their AWS calls", ends=R, faults=("lose-utxo",), before=kill_often,
                 tickets=1, checks=(revisions_at_most(2),)),
        Scenario(name="tracker-down", tells="every tracker is down: the rollback does not wait", ends=R, faults=("lose-utxo",),
                 before=tracker_down, checks=(rolled_back_while_down, ticket_arrives)),
        Scenario(name="foreign-change", tells="somebody changes the service mid-way: not fought", ends=H,
                 reasons=("foreign_change",), during=foreign_change, tickets=1),
        Scenario(name="nothing-stable", tells="the first deployment ever", ends=H, reasons=("nothing_stable",), adopted=False,
                 tickets=1, checks=(untouched,)),
        Scenario(name="no-capacity", tells="ECS has no room: waits, then held", ends=H, reasons=("no_capacity",),
                 during=no_capacity, tickets=1, checks=(not_quarantined,)),
        Scenario(name="way-back-fails", tells="stable cannot be pulled any more", ends=H, reasons=("way_back_fails",),
                 during=way_back_broken, tickets=1, severity="P1"),
        Scenario(name="torn-volume", tells="a good image on damaged data: not the version", ends=H, reasons=("data_damaged",),
                 during=torn_volume, tickets=1, severity="P1", checks=(not_quarantined,)),
        Scenario(name="person", tells="a person takes it back", ends=R, reasons=("rollback_requested",), during=person_rolls_back,
                 tickets=1),
    )
}  # fmt: skip
