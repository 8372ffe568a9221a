"""What moto's RDS lacks."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.rds.models import DBCluster
from moto.rds.responses import RDSResponse

from sandbox.infra_gaps.tools import Undo, put, undo_all

DEFAULT_CA = "rds-ca-rsa2048-g1"


INSIGHTS_DAYS = 7  # of Performance Insights, where nobody said otherwise


def database_insights() -> Undo:
    """Keep Performance Insights; AWS' own CA; a scaling configuration only where there is one."""
    create, modify = RDSResponse.create_db_instance, RDSResponse.modify_db_instance
    scaling = DBCluster.scaling_configuration_info.fget

    def create_db_instance(self: RDSResponse) -> ActionResult:
        answer: ActionResult = create(self)
        _keep_insights(answer, self.params)
        if self.params.get("CACertificateIdentifier") is None:
            answer.result["DBInstance"].ca_certificate_identifier = DEFAULT_CA
        return answer

    def modify_db_instance(self: RDSResponse) -> ActionResult:
        answer: ActionResult = modify(self)
        _keep_insights(answer, self.params)
        return answer

    def scaling_configuration_info(self: DBCluster) -> dict[str, Any] | None:
        return scaling(self) if self.scaling_configuration else None

    return undo_all(
        put(RDSResponse, create_db_instance=create_db_instance, modify_db_instance=modify_db_instance),
        put(DBCluster, scaling_configuration_info=property(scaling_configuration_info)),
    )


def _keep_insights(answer: ActionResult, asked: Any) -> None:
    instance, enabled = answer.result["DBInstance"], asked.get("EnablePerformanceInsights")
    if enabled is not None:
        instance.performance_insights_enabled = enabled
        instance.performance_insights_retention_period = INSIGHTS_DAYS if enabled else None
    for attribute, parameter in (
        ("performance_insights_kms_key_id", "PerformanceInsightsKMSKeyId"),
        ("performance_insights_retention_period", "PerformanceInsightsRetentionPeriod"),
    ):
        if asked.get(parameter) is not None:
            setattr(instance, attribute, asked.get(parameter))
