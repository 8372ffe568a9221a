"""What moto's ElastiCache lacks."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.elasticache.exceptions import ElastiCacheException
from moto.elasticache.models import CacheCluster, CacheSubnetGroup, ElastiCacheBackend, ReplicationGroup, User
from moto.elasticache.responses import ElastiCacheResponse

from sandbox.infra_gaps.tools import Undo, kept, merged, put, undo_all

_CHANGEABLE = {
    "AutoMinorVersionUpgrade": "auto_minor_version_upgrade", "CacheParameterGroupName": "cache_parameter_group_name",
    "EngineVersion": "engine_version", "NotificationTopicArn": "notification_topic_arn",
    "PreferredMaintenanceWindow": "preferred_maintenance_window", "SecurityGroupIds": "security_group_ids",
    "SnapshotWindow": "snapshot_window", "TransitEncryptionEnabled": "transit_encryption_enabled",
    "TransitEncryptionMode": "transit_encryption_mode",
}  # fmt: skip


def cache_users() -> Undo:
    """Change a user of ElastiCache; one that needs no password says so in the answer's word, which is not the request's."""

    def authentication(self: User) -> dict[str, Any]:
        bare = self.no_password_required or self.authentication_type == "no-password-required"
        return {
            "Type": "no-password" if bare else self.authentication_type,
            "PasswordCount": len(self.passwords) or None,
        }

    def modify_user(self: ElastiCacheResponse) -> ActionResult:
        asked = self._get_params()
        user = self.elasticache_backend.describe_users(asked["UserId"])[0]
        user.access_string = asked.get("AccessString", user.access_string)
        if asked.get("AppendAccessString"):
            user.access_string = f"{user.access_string} {asked['AppendAccessString']}"
        user.engine = asked.get("Engine", user.engine).lower()
        mode = asked.get("AuthenticationMode", {})
        passwords = asked.get("Passwords") or mode.get("Passwords")
        if passwords or mode.get("Type") == "password":
            user.passwords, user.authentication_type = passwords or user.passwords, "password"
            user.no_password_required = False
        if asked.get("NoPasswordRequired") or mode.get("Type") in ("no-password-required", "iam"):
            user.passwords, user.authentication_type = [], mode.get("Type", "no-password-required")
            user.no_password_required = user.authentication_type == "no-password-required"
        return ActionResult(user)

    return undo_all(
        put(ElastiCacheResponse, modify_user=modify_user),
        put(User, authentication=property(authentication)),
    )


def cache_groups() -> Undo:
    """ElastiCache's parameter groups and user groups; subnet groups are changed and deleted."""

    def create_cache_parameter_group(self: ElastiCacheResponse) -> ActionResult:
        asked, backend = self._get_params(), self.elasticache_backend
        name = asked["CacheParameterGroupName"].lower()
        if name in kept(backend, "parameter_groups"):
            raise ElastiCacheException(
                "CacheParameterGroupAlreadyExists", f"Cache parameter group {name} already exists."
            )
        group = SimpleNamespace(
            cache_parameter_group_name=name, cache_parameter_group_family=asked["CacheParameterGroupFamily"],
            description=asked["Description"], is_global=False, arn=_cache_arn(backend, "parametergroup", name), changed={},
        )  # fmt: skip
        kept(backend, "parameter_groups")[name] = group
        backend.tagging_service.tag_resource(group.arn, asked.get("Tags", []))
        return ActionResult({"CacheParameterGroup": group})

    def describe_cache_parameter_groups(self: ElastiCacheResponse) -> ActionResult:
        name = self._get_param("CacheParameterGroupName")
        groups = kept(self.elasticache_backend, "parameter_groups")
        return ActionResult({"CacheParameterGroups": [_parameters(self)] if name else list(groups.values())})

    def describe_cache_parameters(self: ElastiCacheResponse) -> ActionResult:
        changed = _parameters(self).changed
        shown = [
            {"ParameterName": key, "ParameterValue": value, "Source": "user", "DataType": "string", "IsModifiable": True}
            for key, value in changed.items()
        ]  # fmt: skip
        return ActionResult({"Parameters": shown if self._get_param("Source") in (None, "user") else []})

    def modify_cache_parameter_group(self: ElastiCacheResponse) -> ActionResult:
        group = _parameters(self)
        asked = self._get_param("ParameterNameValues", [])
        group.changed.update({each["ParameterName"]: each["ParameterValue"] for each in asked})
        return ActionResult({"CacheParameterGroupName": group.cache_parameter_group_name})

    def reset_cache_parameter_group(self: ElastiCacheResponse) -> ActionResult:
        group = _parameters(self)
        named = [each["ParameterName"] for each in self._get_param("ParameterNameValues", [])]
        for key in named or list(group.changed):
            group.changed.pop(key, None)
        return ActionResult({"CacheParameterGroupName": group.cache_parameter_group_name})

    def delete_cache_parameter_group(self: ElastiCacheResponse) -> ActionResult:
        name = _parameters(self).cache_parameter_group_name
        del kept(self.elasticache_backend, "parameter_groups")[name]
        return EmptyResult()

    return undo_all(
        put(
            ElastiCacheResponse, create_cache_parameter_group=create_cache_parameter_group,
            describe_cache_parameter_groups=describe_cache_parameter_groups,
            describe_cache_parameters=describe_cache_parameters,
            modify_cache_parameter_group=modify_cache_parameter_group,
            reset_cache_parameter_group=reset_cache_parameter_group,
            delete_cache_parameter_group=delete_cache_parameter_group,
        ),
        _cache_subnet_groups(), _cache_user_groups(), _cache_arns(),
    )  # fmt: skip


def _parameters(response: ElastiCacheResponse) -> Any:
    name = str(response._get_param("CacheParameterGroupName"))  # noqa: SLF001 - moto has no other door
    return _known_cache(response, "parameter_groups", name, "CacheParameterGroupNotFound")


def _known_cache(response: ElastiCacheResponse, kind: str, name: str, code: str) -> Any:
    found = kept(response.elasticache_backend, kind).get(name.lower())
    if found is None:
        raise ElastiCacheException(code, f"{name} is not found.")
    return found


def _cache_arn(backend: ElastiCacheBackend, kind: str, name: str) -> str:
    return f"arn:aws:elasticache:{backend.region_name}:{backend.account_id}:{kind}:{name}"


def _cache_arns() -> Undo:
    """Tags are listed for parameter groups and user groups as well."""

    def list_tags_for_resource(self: ElastiCacheBackend, arn: str) -> Any:
        return self.tagging_service.list_tags_for_resource(arn)

    return put(ElastiCacheBackend, list_tags_for_resource=list_tags_for_resource)


def _cache_subnet_groups() -> Undo:
    def _found(self: ElastiCacheResponse) -> CacheSubnetGroup:
        return self.elasticache_backend.describe_cache_subnet_groups(self._get_param("CacheSubnetGroupName"))[0]

    def delete_cache_subnet_group(self: ElastiCacheResponse) -> ActionResult:
        name, backend = _found(self).cache_subnet_group_name, self.elasticache_backend
        if any(group.cache_subnet_group_name == name for group in backend.replication_groups.values()):
            raise ElastiCacheException(
                "CacheSubnetGroupInUse", f"Cache subnet group {name} is currently in use by a cache cluster."
            )
        del backend.cache_subnet_groups[name]
        return EmptyResult()

    def modify_cache_subnet_group(self: ElastiCacheResponse) -> ActionResult:
        known, backend = _found(self), self.elasticache_backend
        text = self._get_param("CacheSubnetGroupDescription") or known.cache_subnet_group_description
        ids = self._get_param("SubnetIds") or known.subnet_ids
        fresh = CacheSubnetGroup(
            backend.account_id, backend.region_name, known.cache_subnet_group_name, text, ids, known.tags
        )
        backend.cache_subnet_groups[known.cache_subnet_group_name] = fresh
        return ActionResult({"CacheSubnetGroup": fresh})

    return put(
        ElastiCacheResponse,
        delete_cache_subnet_group=delete_cache_subnet_group,
        modify_cache_subnet_group=modify_cache_subnet_group,
    )


def _cache_user_groups() -> Undo:
    def create_user_group(self: ElastiCacheResponse) -> ActionResult:
        asked, backend = self._get_params(), self.elasticache_backend
        name = asked["UserGroupId"].lower()
        group = SimpleNamespace(
            user_group_id=name, engine=asked["Engine"].lower(), status="active", user_ids=asked.get("UserIds", []),
            arn=_cache_arn(backend, "usergroup", name), minimum_engine_version="6.0",
        )  # fmt: skip
        kept(backend, "user_groups")[name] = group
        backend.tagging_service.tag_resource(group.arn, asked.get("Tags", []))
        return ActionResult(_user_group_face(self, group))

    def describe_user_groups(self: ElastiCacheResponse) -> ActionResult:
        known = kept(self.elasticache_backend, "user_groups")
        found = [_user_group(self)] if self._get_param("UserGroupId") else list(known.values())
        return ActionResult({"UserGroups": [_user_group_face(self, group) for group in found]})

    def modify_user_group(self: ElastiCacheResponse) -> ActionResult:
        group, asked = _user_group(self), self._get_params()
        group.user_ids = merged(group.user_ids, asked.get("UserIdsToAdd", []), asked.get("UserIdsToRemove", []))
        return ActionResult(_user_group_face(self, group))

    def delete_user_group(self: ElastiCacheResponse) -> ActionResult:
        group = _user_group(self)
        del kept(self.elasticache_backend, "user_groups")[group.user_group_id]
        group.status = "deleting"
        return ActionResult(_user_group_face(self, group))

    return put(
        ElastiCacheResponse, create_user_group=create_user_group, describe_user_groups=describe_user_groups,
        modify_user_group=modify_user_group, delete_user_group=delete_user_group,
    )  # fmt: skip


def _user_group(response: ElastiCacheResponse) -> Any:
    name = str(response._get_param("UserGroupId"))  # noqa: SLF001 - moto has no other door
    return _known_cache(response, "user_groups", name, "UserGroupNotFound")


def _user_group_face(response: ElastiCacheResponse, group: Any) -> dict[str, Any]:
    users = response.elasticache_backend.replication_groups.values()
    return {**vars(group), "replication_groups": [
        each.replication_group_id for each in users if group.user_group_id in each.user_group_ids
    ]}  # fmt: skip


def cache_members() -> Undo:
    """Make the cache clusters of a replication group, as many as asked; change them and delete them with it."""
    create, modify = ElastiCacheBackend.create_replication_group, ElastiCacheResponse.modify_replication_group

    def create_replication_group(self: ElastiCacheBackend, **asked: Any) -> ReplicationGroup:
        if asked.get("num_cache_clusters") and not asked.get("replicas_per_node_group"):
            asked["replicas_per_node_group"] = asked["num_cache_clusters"] - 1
        group: ReplicationGroup = create(self, **asked)
        for name in group.member_clusters:
            self.cache_clusters[name] = _member(self, name, group)
        return group

    def modify_replication_group(self: ElastiCacheResponse) -> ActionResult:
        answer: ActionResult = modify(self)
        asked, backend = self._get_params(), self.elasticache_backend
        group = backend.replication_groups[asked["ReplicationGroupId"]]
        for parameter, attribute in _CHANGEABLE.items():
            if parameter in asked:
                setattr(group, attribute, asked[parameter])
        group.user_group_ids = merged(
            group.user_group_ids, asked.get("UserGroupIdsToAdd", []), asked.get("UserGroupIdsToRemove", [])
        )
        group.auth_token_enabled = group.auth_token_enabled or bool(asked.get("AuthToken"))
        for name in group.member_clusters:
            backend.cache_clusters[name] = _member(backend, name, group)
        return answer

    def delete_replication_group(
        self: ElastiCacheBackend, replication_group_id: str, retain_primary_cluster: bool | None
    ) -> ReplicationGroup:
        group = self.describe_replication_groups(replication_group_id)[0]
        del self.replication_groups[replication_group_id]
        for name in group.member_clusters[1 if retain_primary_cluster else 0 :]:
            self.cache_clusters.pop(name, None)
        group.status = "deleting"
        found: ReplicationGroup = group
        return found

    return undo_all(
        put(
            ElastiCacheBackend,
            create_replication_group=create_replication_group,
            delete_replication_group=delete_replication_group,
        ),
        put(ElastiCacheResponse, modify_replication_group=modify_replication_group),
    )


def _member(backend: ElastiCacheBackend, name: str, group: ReplicationGroup) -> CacheCluster:
    empty = dict.fromkeys(CacheCluster.__init__.__code__.co_varnames[1 : CacheCluster.__init__.__code__.co_argcount])
    version = group.engine_version or "7.1"
    parameters = group.cache_parameter_group_name or f"default.{group.engine}{version.split('.')[0]}"
    member = CacheCluster(**{
        **empty, "account_id": backend.account_id, "region_name": backend.region_name, "cache_cluster_id": name,
        "cache_node_type": group.cache_node_type, "replication_group_id": group.replication_group_id,
        "engine": group.engine, "engine_version": version if version.count(".") > 1 else f"{version}.0",
        "cache_subnet_group_name": group.cache_subnet_group_name, "port": group.port, "num_cache_nodes": 1,
        "transit_encryption_enabled": group.transit_encryption_enabled, "snapshot_window": group.snapshot_window,
        "preferred_maintenance_window": group.preferred_maintenance_window,
        "auto_minor_version_upgrade": group.auto_minor_version_upgrade, "tags": copy.copy(group.tags),
        "snapshot_retention_limit": group.snapshot_retention_limit, "preferred_availability_zone": f"{backend.region_name}a",
    })  # fmt: skip
    member.replication_group_id, member.num_cache_nodes = group.replication_group_id, 1
    member.transit_encryption_mode = group.transit_encryption_mode
    member.at_rest_encryption_enabled, member.auth_token_enabled = (
        group.at_rest_encryption_enabled,
        group.auth_token_enabled,
    )
    member.security_groups = [{"SecurityGroupId": key, "Status": "active"} for key in group.security_group_ids or []]
    member.cache_parameter_group = {"CacheParameterGroupName": parameters, "ParameterApplyStatus": "in-sync"}
    if group.notification_topic_arn:
        member.notification_configuration = {"TopicArn": group.notification_topic_arn, "TopicStatus": "active"}
    return member
