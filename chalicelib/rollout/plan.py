"""In which order a group's services move, and how many at once. Pure.

Knows the fleet file. Must not know what runs.
"""

from __future__ import annotations

from dataclasses import dataclass

from chalicelib.fleet.model import Group, Kind, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The waves, each a tuple of services that move together, and what people should know of them."""

    waves: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def wave_of(self, service: str) -> int:
        """The index of the wave in which a service moves."""
        return next(index for index, wave in enumerate(self.waves) if service in wave)


def plan_waves(group: Group) -> Plan:
    """Order the services by the fleet file's waves, never more validators at once than finality can spare.

    Where finality can spare none (3 validators at 0.67 need all 3), validators go one at a time, and the plan says
    that finality pauses meanwhile: the judge does not hold that announced pause against the release.
    """
    spare = group.validators_may_be_down
    most = max(1, spare)
    waves: list[tuple[str, ...]] = []
    for number in sorted({service.wave for service in group.services.values()}):
        names = [name for name, service in group.services.items() if service.wave == number]
        validators = [name for name in names if group.services[name].role is Role.VALIDATOR]
        others = [name for name in names if name not in validators]
        batches = [validators[i : i + most] for i in range(0, len(validators), most)] or [[]]
        batches[0] = others + batches[0]
        waves.extend(tuple(batch) for batch in batches)
    notes = []
    if group.kind is Kind.NODE and spare == 0:
        limit = group.limits.finality_pause_max_seconds
        notes.append(
            f"finality pauses while a validator restarts (at most {limit} s each): the quorum needs all of them"
        )
    if len(waves) > len({service.wave for service in group.services.values()}):
        notes.append(f"waves were split: at most {most} validator(s) may be down at once")
    return Plan(waves=tuple(waves), notes=tuple(notes))
