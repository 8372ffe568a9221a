"""What moto lacks and Terraform's AWS provider needs: each a small named patch of moto; `close_infra_gaps` undoes all.

composite_alarms        PutCompositeAlarm; DescribeAlarms shows the kinds that were asked for
scalable_targets        Application Auto Scaling knows our ECS' services, and tags its targets
redrive_allow_policies  a queue keeps its RedriveAllowPolicy, and its other policies when one of them is set
launch_template_tags    the tags of a launch template are no tags of what it launches
security_group_rules    a security group rule keeps its description, and is changed whatever it opens to
oidc_clients            an identity provider's clients are added and removed
budget_notifications    a budget's notifications, their subscribers, its tags and its changes
bucket_events           a bucket says that its events go to EventBridge
bucket_replication      a replication rule is shown as it was put
backup_tags             the tags of vaults and plans are listed whether or not a slash follows their ARN
backup_vault_policies   a backup vault's policy and notifications
backup_selections       what a backup plan selects; a plan may be changed
database_insights       an instance keeps Performance Insights and has AWS' CA; only Serverless v1 has a scaling configuration
cache_users             a user's password, engine and access string are changed
cache_groups            ElastiCache's parameter groups and user groups; subnet groups are changed and deleted
cache_members           the cache clusters of a replication group are found, and go with it

State is kept on moto's own backends, so that moto's reset forgets it. Knows nothing of xai-ops.
"""

from __future__ import annotations

from sandbox.infra_gaps.alarms import budget_notifications, composite_alarms
from sandbox.infra_gaps.backups import backup_selections, backup_tags, backup_vault_policies
from sandbox.infra_gaps.caches import cache_groups, cache_members, cache_users
from sandbox.infra_gaps.databases import database_insights
from sandbox.infra_gaps.hosts import (
    ServiceExists,
    launch_template_tags,
    oidc_clients,
    scalable_targets,
    security_group_rules,
)
from sandbox.infra_gaps.stores import bucket_events, bucket_replication, redrive_allow_policies
from sandbox.infra_gaps.tools import Undo, undo_all


def close_infra_gaps(ecs_service_exists: ServiceExists = lambda _resource_id: True) -> Undo:
    """Patch moto; call what it returns to undo. `ecs_service_exists` is asked about `service/CLUSTER/NAME`."""
    return undo_all(
        composite_alarms(),
        scalable_targets(ecs_service_exists),
        redrive_allow_policies(),
        launch_template_tags(),
        security_group_rules(),
        oidc_clients(),
        budget_notifications(),
        bucket_events(),
        bucket_replication(),
        backup_tags(),
        backup_vault_policies(),
        backup_selections(),
        database_insights(),
        cache_users(),
        cache_groups(),
        cache_members(),
    )
