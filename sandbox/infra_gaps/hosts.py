"""What moto's EC2, IAM and both kinds of auto scaling lack."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models import launch_templates
from moto.ec2.models.security_groups import SecurityGroupBackend, SecurityGroupRule
from moto.iam.responses import IamResponse

from sandbox.infra_gaps.tools import Undo, asked_of, kept, merged, put, undo_all

ServiceExists = Callable[[str], bool]


def scalable_targets(ecs_service_exists: ServiceExists) -> Undo:
    """Ask our own ECS whether a service exists, and keep a target's tags."""
    plain = ApplicationAutoScalingResponse.register_scalable_target

    def exists(self: ApplicationAutoscalingBackend, r_id: str) -> bool:
        if not ecs_service_exists(r_id):
            raise AWSValidationException(f"ECS service doesn't exist: {r_id}")
        return True

    def register_scalable_target(self: ApplicationAutoScalingResponse) -> str:
        answer: str = plain(self)
        tags = self._get_param("Tags")
        if tags:
            _scaling_tags(self, json.loads(answer)["ScalableTargetARN"]).update(tags)
        return answer

    def list_tags_for_resource(self: ApplicationAutoScalingResponse) -> ActionResult:
        return ActionResult({"Tags": _scaling_tags(self, self._get_param("ResourceARN"))})

    def tag_resource(self: ApplicationAutoScalingResponse) -> ActionResult:
        _scaling_tags(self, self._get_param("ResourceARN")).update(self._get_param("Tags"))
        return EmptyResult()

    def untag_resource(self: ApplicationAutoScalingResponse) -> ActionResult:
        tags = _scaling_tags(self, self._get_param("ResourceARN"))
        for key in asked_of(self)["TagKeys"]:
            tags.pop(key, None)
        return EmptyResult()

    return undo_all(
        put(ApplicationAutoscalingBackend, _ecs_service_exists_for_target=exists),
        put(
            ApplicationAutoScalingResponse, register_scalable_target=register_scalable_target,
            list_tags_for_resource=list_tags_for_resource, tag_resource=tag_resource, untag_resource=untag_resource,
        ),
    )  # fmt: skip


def _scaling_tags(response: ApplicationAutoScalingResponse, arn: str) -> dict[str, str]:
    backend = response.applicationautoscaling_backend
    known = [target.arn for by_id in backend.targets.values() for target in by_id.values()]
    if arn not in known:
        raise JsonRESTError("ResourceNotFoundException", f"Resource not found: {arn}")
    tags: dict[str, str] = kept(backend, "tags").setdefault(arn, {})
    return tags


def launch_template_tags() -> Undo:
    """Keep the tags of the template itself out of its data, where moto adds them."""
    plain = launch_templates.LaunchTemplateBackend.create_launch_template

    def create_launch_template(
        self: Any, name: str, description: str, template_data: dict[str, Any], tag_spec: dict[str, Any]
    ) -> Any:
        given = template_data.get("TagSpecifications", [])
        kept = [each for each in given if each.get("ResourceType") != "launch-template"]
        data = {key: value for key, value in template_data.items() if key != "TagSpecifications"}
        return plain(self, name, description, {**data, "TagSpecifications": kept} if kept else data, tag_spec)

    return put(launch_templates.LaunchTemplateBackend, create_launch_template=create_launch_template)


def security_group_rules() -> Undo:
    """Keep a rule's description whatever it opens to, and change rules other than those of a range of addresses."""
    plain, modify = SecurityGroupRule.__init__, SecurityGroupBackend.modify_security_group_rules

    def __init__(self: SecurityGroupRule, *arguments: Any, **more: Any) -> None:  # noqa: N807 - replaces moto's
        plain(self, *arguments, **more)
        given = inspect.signature(plain).bind(self, *arguments, **more).arguments
        self.prefix_list_description = (given.get("prefix_list_id") or {}).get("Description")

    def description(self: SecurityGroupRule) -> str | None:
        found = self.ip_range.get("Description") or self.source_group.get("Description")
        return found or getattr(self, "prefix_list_description", None)

    def modify_security_group_rules(
        self: SecurityGroupBackend, group_id: str, rules: dict[str, dict[str, Any]]
    ) -> None:
        every = {"FromPort": -1, "ToPort": -1}  # moto refuses a rule without ports, which one for every protocol is
        modify(self, group_id, {key: {**every, **rule} for key, rule in rules.items()})
        group = self.get_security_group_by_name_or_id(group_id)
        for key, changed in rules.items():
            _change_rule(group.get_rule(key), changed, self.account_id)

    return undo_all(
        put(SecurityGroupRule, __init__=__init__, description=property(description)),
        put(SecurityGroupBackend, modify_security_group_rules=modify_security_group_rules),
    )


def _change_rule(rule: SecurityGroupRule, changed: dict[str, Any], account: str) -> None:
    """What moto leaves as it was: the other side of a rule, and no description where there was one."""
    if changed["IpProtocol"] == "-1":
        rule.from_port = rule.to_port = None
    if changed.get("ReferencedGroupId"):
        rule.source_group = {"GroupId": changed["ReferencedGroupId"], "UserId": account, "OwnerId": account}
    if changed.get("PrefixListId"):
        rule.prefix_list_id = changed["PrefixListId"]
    if changed.get("CidrIpv6"):
        rule.ip_range["CidrIpv6"] = changed["CidrIpv6"]
    rule.source_group.pop("Description", None)
    rule.prefix_list_description = None
    rule.ip_range.pop("Description", None)
    if changed.get("Description"):
        rule.ip_range["Description"] = changed["Description"]


def oidc_clients() -> Undo:
    """Add a client to an identity provider, and remove it."""

    def add_client_id_to_open_id_connect_provider(self: IamResponse) -> ActionResult:
        provider = self.backend.get_open_id_connect_provider(self._get_param("OpenIDConnectProviderArn"))
        provider.client_id_list = merged(provider.client_id_list, [self._get_param("ClientID")], [])
        return EmptyResult()

    def remove_client_id_from_open_id_connect_provider(self: IamResponse) -> ActionResult:
        provider = self.backend.get_open_id_connect_provider(self._get_param("OpenIDConnectProviderArn"))
        provider.client_id_list = merged(provider.client_id_list, [], [self._get_param("ClientID")])
        return EmptyResult()

    return put(
        IamResponse,
        add_client_id_to_open_id_connect_provider=add_client_id_to_open_id_connect_provider,
        remove_client_id_from_open_id_connect_provider=remove_client_id_from_open_id_connect_provider,
    )
