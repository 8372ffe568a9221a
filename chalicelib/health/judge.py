"""Numbers against limits: what the readings of a service mean. Pure.

Each `judge_*` looks at one aspect and returns findings with the number and the limit in the text; `verdict_of`
(model.py) folds them. A thing that could not be measured is UNKNOWN, never sick. Nodes are judged against *what they
said themselves on stable* (the baseline) and against the rest of the fleet, never by their own clock.
Must not know where readings come from, or phases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chalicelib.fleet.model import Limits
from chalicelib.health.death import Cause, cause_of_death, epitaph, is_certain
from chalicelib.health.model import EMPTY_DIGEST, Answer, Baseline, Endpoint, Finding, Reading, Standing
from chalicelib.rollout.model import ServiceView, Step, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One node's case: what it says now, said before, and may be granted.

    `others` are the readings of the group's other nodes at the same moment; `trusted` names those that still run (or
    again run) stable. `chain_stands` tells that no trusted node advanced lately either.
    """

    step: Step
    reading: Reading | None
    others: Sequence[Reading]
    trusted: frozenset[str]
    chain_stands: bool
    may_sync: bool  # within its sync allowance
    may_pause: bool  # within the announced finality pause


def judge_tasks(
    service: str,
    dead: Sequence[Task],
    *,
    desired: int,
    limits: Limits,
    damage: Sequence[str],
    known: Sequence[str] = (),
) -> Finding:
    """Judge tasks that died on the revision under judgement.

    `known` are the ARNs of those that died of the version so far: our own count, because ECS forgets them within hours
    and its own count starts anew. Up to the limit they are not held against the release, as long as others run.
    """
    fatal = [task for task in dead if cause_of_death(task, damage) is Cause.VERSION]
    torn = [task for task in dead if cause_of_death(task, damage) is Cause.DATA]
    if torn:
        return _finding("data_damaged", service, Standing.DAMAGED, f"refuses its own data: {epitaph(torn[-1])}")
    count = len({*known, *(task.arn for task in fatal)})
    if count == 0:
        return _finding("tasks_died", service, Standing.GOOD, "no task died of the version")
    allowed = 0 if desired <= 1 else limits.max_failed_tasks
    certain = any(is_certain(task) for task in fatal)
    last = epitaph(fatal[-1]) if fatal else "ECS does not show them any more"
    text = f"{count} task(s) died of the version (limit {0 if certain else allowed}): {last}"
    return _finding("tasks_died", service, Standing.BAD if certain or count > allowed else Standing.GOOD, text)


def judge_counts(view: ServiceView, revision: str) -> Finding:
    """Judge whether ECS runs what it should on this revision; missing capacity says nothing about the version."""
    primary = view.primary
    if view.desired == 0:
        return _finding(
            "no_tasks_wanted", view.name, Standing.UNKNOWN, "scaled to 0: nothing runs that could be judged"
        )
    if primary is not None and primary.revision == revision and view.steady:
        return _finding("tasks_running", view.name, Standing.GOOD, f"{view.running} of {view.desired} tasks running")
    text = (
        f"{view.running} of {view.desired} tasks running, {view.pending} pending, {len(view.deployments)} deployment(s)"
    )
    if view.running < view.desired and view.unplaced:
        return _finding("no_capacity", view.name, Standing.UNKNOWN, f"{text}; no capacity: {view.unplaced}")
    return _finding("tasks_running", view.name, Standing.NOT_YET, text)


def judge_targets(view: ServiceView, states: Sequence[str] | None, *, patient: bool) -> Finding | None:
    """Judge the load balancer's view; None when the service has no target group."""
    if not view.target_groups:
        return None
    if states is None:
        return _finding("targets_healthy", view.name, Standing.UNKNOWN, "target health could not be read")
    healthy, wanted = states.count("healthy"), view.desired
    text = f"{healthy} of {wanted} targets healthy ({', '.join(sorted(states)) or 'none registered'})"
    if healthy >= wanted:
        return _finding("targets_healthy", view.name, Standing.GOOD, text)
    return _finding("targets_healthy", view.name, Standing.NOT_YET if patient else Standing.BAD, text)


def judge_alarms(
    service: str, bound: Sequence[str], states: Mapping[str, str] | None, at_start: Mapping[str, str]
) -> tuple[Finding, ...]:
    """Judge the alarms bound to a service against their state at the start: an old alarm is not the release's."""
    findings = []
    for name in bound:
        state = None if states is None else states.get(name)
        if state is None:
            findings.append(_finding("alarm", service, Standing.UNKNOWN, f"alarm {name} could not be read"))
        elif state != "ALARM":
            findings.append(_finding("alarm", service, Standing.GOOD, f"alarm {name} is {state}"))
        elif at_start.get(name) == "ALARM":
            findings.append(_finding("alarm", service, Standing.GOOD, f"alarm {name} was in ALARM before the rollout"))
        else:
            text = f"alarm {name} went from {at_start.get(name, 'unknown')} to ALARM"
            findings.append(_finding("alarm", service, Standing.BAD, text))
    return tuple(findings)


def judge_answers(step: Step, reading: Reading | None, *, reaches_others: bool, limits: Limits) -> Finding:
    """Judge whether a service answers at all, and rightly: a few wrong answers in a row are sick, one is not."""
    name = step.service
    if reading is None:
        return _finding("answers", name, Standing.UNKNOWN, "has no running task that could be asked")
    asked = needed_answers(step.baseline, reading)
    notes = "; ".join(f"GET {e.value}: {reading.notes.get(e, a.value)}" for e, a in asked.items() if a != "measured")
    wrong = {answer for answer in asked.values() if answer in (Answer.SICK, Answer.TIMED_OUT)}
    if not wrong:
        if Answer.OUR_FAULT in asked.values():
            return _finding("answers", name, Standing.UNKNOWN, f"we asked too often: {notes}")
        if not reading.measured(Endpoint.LIVENESS):
            return _finding("answers", name, Standing.UNKNOWN, f"liveness was not measured: {notes}")
        return _finding("answers", name, Standing.GOOD, "answers")
    if wrong == {Answer.TIMED_OUT} and not reaches_others and step.answered_at is None:
        return _finding("answers", name, Standing.UNKNOWN, f"times out, and so does every other service: {notes}")
    text = f"{step.strikes} wrong answers in a row (limit {limits.probe_failures}): {notes}"
    return _finding("answers", name, Standing.BAD if step.strikes >= limits.probe_failures else Standing.NOT_YET, text)


def needed_answers(baseline: Baseline | None, reading: Reading) -> dict[Endpoint, Answer]:
    """The answers that count: liveness, and every question that stable answered and this release still offers."""
    offered = baseline.offered if baseline else frozenset()
    return {
        endpoint: answer
        for endpoint, answer in reading.answers.items()
        if endpoint is Endpoint.LIVENESS or (endpoint in offered and answer is not Answer.NOT_OFFERED)
    }


def judge_chain(node: Node, limits: Limits) -> tuple[Finding, ...]:
    """Judge what a node says of its chain; see each check for the rule."""
    reading, baseline = node.reading, node.step.baseline or Baseline()
    if reading is None or not reading.reached:
        return ()
    checks = (
        _height_known(node, reading, baseline),
        _regressed(node, reading, baseline, limits),
        _advancing(node, reading, limits),
        _lagging(node, reading, limits),
        _anchored(node, reading, baseline),
        _forked(node, reading),
        _supply(node, reading, baseline, limits),
        _digest(node, reading, baseline),
        _finality(node, reading, baseline, limits),
    )
    return tuple(finding for finding in checks if finding is not None)


def settled_height(height: int, finalized: int | None, reorg_depth: int) -> int:
    """The newest block index that can no longer change: finalised, or reorg_depth under the tip where none is."""
    if finalized is not None and 0 <= finalized < height:
        return finalized
    return max(0, height - 1 - reorg_depth)


def _height_known(node: Node, reading: Reading, baseline: Baseline) -> Finding | None:
    if reading.height is None and baseline.height is not None:
        return _finding("height_measured", node.step.service, Standing.UNKNOWN, "height could not be measured")
    return None


def _regressed(node: Node, reading: Reading, baseline: Baseline, limits: Limits) -> Finding | None:
    """Height may fall by a reorg, not further: a node that lost blocks lost them to this release."""
    highest = max((h for h in (node.step.highest, baseline.height) if h is not None), default=None)
    if reading.height is None or highest is None:
        return None
    text = f"height {reading.height}, highest seen {highest} (reorg limit {limits.reorg_depth})"
    if reading.height >= highest - limits.reorg_depth:
        return _finding("height_kept", node.step.service, Standing.GOOD, text)
    return _finding("height_regressed", node.step.service, Standing.BAD, text)


def _advancing(node: Node, reading: Reading, limits: Limits) -> Finding | None:
    """A node that advanced on stable must advance on the target; a chain that stands everywhere is not one node's."""
    if reading.height is None or node.step.advanced_at is None:
        return None
    still = (reading.at - node.step.advanced_at).total_seconds()  # a reading says nothing of the time after it
    text = f"height {reading.height}, last rise {still:.0f} s ago (limit {limits.stall_seconds} s)"
    if still > limits.stall_seconds:
        if node.chain_stands:
            return _finding(
                "chain_stands", node.step.service, Standing.NOT_YET, f"{text}; no node of stable rises either"
            )
        return _finding("height_stalled", node.step.service, Standing.BAD, text)
    return _finding(
        "height_advancing", node.step.service, Standing.GOOD if node.step.advanced else Standing.NOT_YET, text
    )


def _lagging(node: Node, reading: Reading, limits: Limits) -> Finding | None:
    best = max((r.height for r in node.others if r.height is not None), default=None)
    if reading.height is None or best is None:
        return None
    lag = max(0, best - reading.height)
    text = f"lag {lag} blocks behind {best} (limit {limits.max_lag_blocks})"
    if lag <= limits.max_lag_blocks:
        return _finding("lag", node.step.service, Standing.GOOD, text)
    return _finding("lag", node.step.service, Standing.NOT_YET if node.may_sync else Standing.BAD, text)


def _anchored(node: Node, reading: Reading, baseline: Baseline) -> Finding | None:
    """The hash at a settled height never changes, whoever else shares the new one."""
    if baseline.anchor is None or baseline.anchor_hash is None:
        return None
    found = reading.hashes.get(baseline.anchor)
    if found is None:
        text = f"hash at {baseline.anchor} could not be measured"
        return _finding("anchor_hash", node.step.service, Standing.UNKNOWN, text)
    if found == baseline.anchor_hash:
        return _finding("anchor_hash", node.step.service, Standing.GOOD, f"hash at {baseline.anchor} is as on stable")
    text = f"hash at settled height {baseline.anchor} is {found[:12]}, on stable it was {baseline.anchor_hash[:12]}"
    return _finding("forked", node.step.service, Standing.BAD, text)


def _forked(node: Node, reading: Reading) -> Finding | None:
    """Deeper than a reorg all nodes agree; with no majority the nodes on stable decide."""
    common = [h for h in reading.hashes if sum(h in r.hashes for r in node.others)]
    if not common:
        return None
    height = max(common)
    votes = Counter(r.hashes[height] for r in (*node.others, reading) if height in r.hashes)
    (winner, count), *rest = votes.most_common()
    if rest and rest[0][1] == count:  # no majority
        stable_says = {r.hashes[height] for r in node.others if r.service in node.trusted and height in r.hashes}
        winner = (
            next(iter(stable_says))
            if len(stable_says) == 1
            else next(r.hashes[height] for r in node.others if height in r.hashes)
        )
    if reading.hashes[height] == winner:
        return _finding("same_chain", node.step.service, Standing.GOOD, f"hash at {height} as the fleet's")
    text = f"hash at {height} is {reading.hashes[height][:12]}, the fleet's is {winner[:12]}"
    return _finding("forked", node.step.service, Standing.BAD, text)


def _supply(node: Node, reading: Reading, baseline: Baseline, limits: Limits) -> Finding | None:
    if not baseline.supply or baseline.supply <= 0:
        return None
    if reading.supply is None:
        return _finding("supply", node.step.service, Standing.UNKNOWN, "supply could not be measured")
    floor = baseline.supply * (1 - limits.max_supply_drop_ratio)
    text = f"supply {reading.supply:,.10g}, on stable {baseline.supply:,.10g} (lowest allowed {floor:,.10g})"
    return _finding("supply", node.step.service, Standing.GOOD if reading.supply >= floor else Standing.BAD, text)


def _digest(node: Node, reading: Reading, baseline: Baseline) -> Finding | None:
    """The UTXO digest is never that of an empty set, and equal on nodes with an equal tip."""
    if baseline.utxo_digest in (None, EMPTY_DIGEST):
        return None
    name = node.step.service
    if reading.utxo_digest is None:
        return _finding("utxo_digest", name, Standing.UNKNOWN, "utxo_digest could not be measured")
    if reading.utxo_digest == EMPTY_DIGEST:
        return _finding("utxo_lost", name, Standing.BAD, "utxo_digest is that of an empty set: the UTXO set is lost")
    twins = [r for r in node.others if r.digest_tip is not None and r.digest_tip == reading.digest_tip]
    unlike = [r for r in twins if r.utxo_digest not in (None, EMPTY_DIGEST, reading.utxo_digest)]
    like = [r for r in twins if r.utxo_digest == reading.utxo_digest]
    if len(unlike) > len(like):
        text = f"utxo_digest {reading.utxo_digest[:12]} differs from {unlike[0].service}'s at the same tip"
        return _finding("utxo_digest", name, Standing.BAD, text)
    return _finding("utxo_digest", name, Standing.GOOD, f"utxo_digest {reading.utxo_digest[:12]}")


def _finality(node: Node, reading: Reading, baseline: Baseline, limits: Limits) -> Finding | None:
    """Finality may pause while a validator restarts, for a bounded time; an endpoint not offered is not measured."""
    if baseline.finality_lag is None or reading.height is None or not reading.measured(Endpoint.FINALITY):
        return None
    lag = reading.height - 1 - (reading.finalized if reading.finalized is not None else -1)
    allowed = max(limits.max_finality_lag_blocks, baseline.finality_lag)
    text = f"finality {lag} blocks behind (limit {allowed})"
    stands = baseline.finality_rises and not node.step.finality_rose
    if stands:
        text = f"{text}; it went on upon stable, and has not since this revision runs"
    if lag <= allowed and not stands:
        return _finding("finality", node.step.service, Standing.GOOD, text)
    if node.may_pause:
        return _finding(
            "finality", node.step.service, Standing.NOT_YET, f"{text}; the announced pause is not held against it"
        )
    return _finding("finality", node.step.service, Standing.BAD, text)


def _finding(check: str, service: str, standing: Standing, text: str) -> Finding:
    return Finding(check=check, service=service, standing=standing, text=f"{service}: {text}")
