"""Load balancer targets, read only. Knows DescribeTargetHealth. Must not know what a state means for a rollout."""

from __future__ import annotations

from chalicelib.aws.errors import translated
from chalicelib.aws.session import Aws


class AlbTargets:
    """The port `Targets`."""

    def __init__(self, aws: Aws) -> None:
        """Read target groups of this region."""
        self._aws = aws

    def states(self, target_group: str) -> tuple[str, ...]:
        """The state of each registered target. Raises NotFoundError when there is no such target group."""
        with translated(missing={"TargetGroupNotFound"}):
            answer = self._aws.client("elbv2").describe_target_health(TargetGroupArn=target_group)
        return tuple(target["TargetHealth"]["State"] for target in answer["TargetHealthDescriptions"])
