"""One test for each gap that is closed for Terraform: it fails without its patch, and on the day that moto mends it differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.backup.responses import BackupResponse
from moto.ec2.models.security_groups import SecurityGroupRule

from sandbox.infra_gaps import close_infra_gaps

ACCOUNT = "123456789012"
SERVICE = "service/xai/web"
DIMENSION = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*"}]})
Clients = Callable[..., Any]


@pytest.fixture
def client() -> Iterator[Clients]:
    """Clients of an empty moto whose gaps are closed."""
    undo = close_infra_gaps(lambda resource: resource == SERVICE)
    with mock_aws():
        yield lambda service, region="us-east-1": boto3.client(service, region_name=region)
    undo()


def refused(call: Any, **arguments: Any) -> str:
    """The code of the error."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_what_was_patched_is_given_back() -> None:
    """Undoing leaves moto as it was, what it had not included."""
    before = vars(SecurityGroupRule)["description"]
    undo = close_infra_gaps()
    assert hasattr(BackupResponse, "create_backup_selection")
    assert vars(SecurityGroupRule)["description"] is not before
    undo()
    assert not hasattr(BackupResponse, "create_backup_selection")
    assert vars(SecurityGroupRule)["description"] is before


# ---------------------------------------------------------------------------------------------- alarms, scaling


def test_composite_alarm_is_kept_and_shown_to_who_asks_for_its_kind(client: Clients) -> None:
    """Moto has no PutCompositeAlarm; DescribeAlarms without AlarmTypes shows metric alarms only, as on AWS."""
    cloudwatch = client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="a", Namespace="XAI", MetricName="Height", Period=60, EvaluationPeriods=1, Threshold=1.0,
        ComparisonOperator="LessThanThreshold", Statistic="Maximum",
    )  # fmt: skip
    asked = {
        "AlarmName": "both", "AlarmRule": "ALARM(a)", "AlarmActions": ["arn:aws:sns:us-east-1:123456789012:ops"],
        "ActionsSuppressor": "a", "ActionsSuppressorWaitPeriod": 120, "ActionsSuppressorExtensionPeriod": 60,
    }  # fmt: skip
    cloudwatch.put_composite_alarm(**asked, Tags=[{"Key": "team", "Value": "ops"}])
    shown = cloudwatch.describe_alarms(AlarmNames=["both"], AlarmTypes=["CompositeAlarm"])["CompositeAlarms"][0]
    assert {key: shown[key] for key in asked} == asked
    tags = cloudwatch.list_tags_for_resource(ResourceARN=shown["AlarmArn"])["Tags"]
    assert tags == [{"Key": "team", "Value": "ops"}]
    bare = cloudwatch.describe_alarms()
    assert ([a["AlarmName"] for a in bare["MetricAlarms"]], bare["CompositeAlarms"]) == (["a"], [])
    assert cloudwatch.describe_alarms(AlarmTypes=["CompositeAlarm"])["MetricAlarms"] == []


def test_scalable_target_of_our_own_ecs_has_tags(client: Clients) -> None:
    """Moto asks its own ECS, which knows no service of ours, and lists no tags."""
    scaling = client("application-autoscaling")
    asked = {**DIMENSION, "MinCapacity": 1, "MaxCapacity": 3}
    arn = scaling.register_scalable_target(**asked, ResourceId=SERVICE, Tags={"a": "1"})["ScalableTargetARN"]
    scaling.tag_resource(ResourceARN=arn, Tags={"b": "2"})
    scaling.untag_resource(ResourceARN=arn, TagKeys=["a"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"b": "2"}
    assert refused(scaling.register_scalable_target, **asked, ResourceId="service/xai/none") == "ValidationException"
    assert refused(scaling.list_tags_for_resource, ResourceARN=f"{arn}x") == "ResourceNotFoundException"


def test_launch_template_does_not_pass_on_its_own_tags(client: Clients) -> None:
    """Moto shows the template's own tags within its data, a difference in every plan."""
    ec2 = client("ec2")
    data = {"TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "node"}]}]}
    own = [{"ResourceType": "launch-template", "Tags": [{"Key": "project", "Value": "xai"}]}]
    made = ec2.create_launch_template(LaunchTemplateName="xai", LaunchTemplateData=data, TagSpecifications=own)
    assert made["LaunchTemplate"]["Tags"] == [{"Key": "project", "Value": "xai"}]
    shown = ec2.describe_launch_template_versions(LaunchTemplateName="xai")["LaunchTemplateVersions"][0]
    assert shown["LaunchTemplateData"]["TagSpecifications"] == data["TagSpecifications"]


def test_rule_from_a_group_or_to_a_prefix_list_keeps_its_description(client: Clients) -> None:
    """Moto knows the description of an address range alone."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="g", Description="g", VpcId=vpc)["GroupId"]
    lists = ec2.describe_managed_prefix_lists()["PrefixLists"]
    port = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80}
    pairs, prefixes = (
        {"UserIdGroupPairs": [{"GroupId": group, "Description": "from itself"}]},
        {"PrefixListIds": [{"PrefixListId": lists[0]["PrefixListId"], "Description": "to a service"}]},
    )
    made = [
        ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[{**port, **pairs}]),
        ec2.authorize_security_group_egress(GroupId=group, IpPermissions=[{**port, **prefixes}]),
    ]
    ids = [each["SecurityGroupRules"][0]["SecurityGroupRuleId"] for each in made]
    shown = ec2.describe_security_group_rules(SecurityGroupRuleIds=ids)["SecurityGroupRules"]
    assert {rule["Description"] for rule in shown} == {"from itself", "to a service"}


def test_rule_is_changed_whatever_it_opens_to(client: Clients) -> None:
    """Moto refuses a rule for every protocol, and leaves the group that a rule names as it was."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    one, other = (ec2.create_security_group(GroupName=n, Description=n, VpcId=vpc)["GroupId"] for n in ("one", "other"))
    made = ec2.authorize_security_group_ingress(
        GroupId=one,
        IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": one, "Description": "from itself"}]}],
    )
    rule = made["SecurityGroupRules"][0]["SecurityGroupRuleId"]

    def change(**changed: Any) -> dict[str, Any]:
        asked = {"SecurityGroupRuleId": rule, "SecurityGroupRule": {"IpProtocol": "-1", **changed}}
        ec2.modify_security_group_rules(GroupId=one, SecurityGroupRules=[asked])
        found: dict[str, Any] = ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule])["SecurityGroupRules"][0]
        return found

    changed = change(ReferencedGroupId=other, Description="from the other")
    assert (changed["ReferencedGroupInfo"]["GroupId"], changed["Description"]) == (other, "from the other")
    assert "Description" not in change(ReferencedGroupId=other)


def test_identity_provider_changes_its_clients(client: Clients) -> None:
    """Moto keeps those of the beginning."""
    iam = client("iam")
    arn = iam.create_open_id_connect_provider(
        Url="https://token.example.com", ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40]
    )["OpenIDConnectProviderArn"]
    iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="other")
    iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID="sts.amazonaws.com")
    assert iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["ClientIDList"] == ["other"]


# ---------------------------------------------------------------------------------------------- queues, keys, buckets


def test_queue_keeps_every_policy_that_it_was_given(client: Clients) -> None:
    """Moto forgets RedriveAllowPolicy, and forgets Policy when another attribute is set; it adds spaces to JSON."""
    sqs = client("sqs")
    url = sqs.create_queue(QueueName="dlq")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:{ACCOUNT}:dlq"
    allow, redrive = '{"redrivePermission":"allowAll"}', f'{{"deadLetterTargetArn":"{arn}","maxReceiveCount":5}}'
    given = {"Policy": POLICY, "RedriveAllowPolicy": allow, "RedrivePolicy": redrive}
    for name, value in given.items():
        sqs.set_queue_attributes(QueueUrl=url, Attributes={name: value})
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert {name: shown[name] for name in given} == given
    one = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedriveAllowPolicy"])["Attributes"]
    assert one == {"RedriveAllowPolicy": allow}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": "", "RedriveAllowPolicy": ""})
    assert (
        not {"Policy", "RedriveAllowPolicy"}
        & sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"].keys()
    )


def test_bucket_says_that_its_events_go_to_eventbridge(client: Clients) -> None:
    """Moto keeps it, and does not show it."""
    s3 = client("s3")
    s3.create_bucket(Bucket="xai-b")
    assert "EventBridgeConfiguration" not in s3.get_bucket_notification_configuration(Bucket="xai-b")
    s3.put_bucket_notification_configuration(Bucket="xai-b", NotificationConfiguration={"EventBridgeConfiguration": {}})
    assert s3.get_bucket_notification_configuration(Bucket="xai-b")["EventBridgeConfiguration"] == {}


@pytest.mark.parametrize(
    "filtered",
    [
        {"Prefix": ""},
        {"Prefix": "chain/"},
        {"Tag": {"Key": "a", "Value": "1"}},
        {"And": {"Prefix": "chain/", "Tags": [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]}},
        {"And": {"Prefix": "chain/", "Tags": [{"Key": "a", "Value": "1"}]}},
    ],
)
def test_replication_rule_is_shown_as_it_was_put(client: Clients, filtered: dict[str, Any]) -> None:
    """Moto shows no filter but the empty one, no selection, and delete markers always Disabled."""
    s3 = client("s3")
    for bucket in ("xai-from", "xai-to"):
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    minutes = {"Minutes": 15}
    rule = {
        "ID": "dr", "Status": "Enabled", "Priority": 3, "Filter": filtered,
        "DeleteMarkerReplication": {"Status": "Enabled"},
        "SourceSelectionCriteria": {"SseKmsEncryptedObjects": {"Status": "Enabled"}},
        "Destination": {
            "Bucket": "arn:aws:s3:::xai-to", "StorageClass": "STANDARD_IA",
            "EncryptionConfiguration": {"ReplicaKmsKeyID": "arn:aws:kms:us-west-2:123456789012:key/k"},
            "ReplicationTime": {"Status": "Enabled", "Time": minutes},
            "Metrics": {"Status": "Enabled", "EventThreshold": minutes},
        },
    }  # fmt: skip
    given = {"Role": "arn:aws:iam::123456789012:role/r", "Rules": [rule]}
    s3.put_bucket_replication(Bucket="xai-from", ReplicationConfiguration=given)
    assert s3.get_bucket_replication(Bucket="xai-from")["ReplicationConfiguration"] == given


# ---------------------------------------------------------------------------------------------- budgets


def test_budget_has_notifications_subscribers_and_tags(client: Clients) -> None:
    """Moto keeps notifications, but no subscribers that one could list, no change and no tags."""
    budgets = client("budgets")
    budget = {
        "BudgetName": "xai", "BudgetLimit": {"Amount": "500", "Unit": "USD"}, "BudgetType": "COST", "TimeUnit": "MONTHLY",
    }  # fmt: skip
    notice = {"NotificationType": "ACTUAL", "ComparisonOperator": "GREATER_THAN", "Threshold": 80.0}
    mail, other = ({"SubscriptionType": "EMAIL", "Address": f"{name}@example.com"} for name in ("ops", "cfo"))
    tags = [{"Key": "a", "Value": "1"}]
    whose = {"AccountId": ACCOUNT, "BudgetName": "xai"}
    budgets.create_budget(
        AccountId=ACCOUNT, Budget=budget, ResourceTags=tags,
        NotificationsWithSubscribers=[{"Notification": notice, "Subscribers": [mail]}],
    )  # fmt: skip
    named = {**whose, "Notification": {**notice, "ThresholdType": "PERCENTAGE"}}
    assert budgets.describe_subscribers_for_notification(**named)["Subscribers"] == [mail]
    budgets.create_subscriber(**named, Subscriber=other)
    budgets.delete_subscriber(**named, Subscriber=mail)
    assert budgets.describe_subscribers_for_notification(**named)["Subscribers"] == [other]
    budgets.update_notification(**whose, OldNotification=notice, NewNotification={**notice, "Threshold": 90.0})
    assert [n["Threshold"] for n in budgets.describe_notifications_for_budget(**whose)["Notifications"]] == [90.0]
    budgets.update_budget(AccountId=ACCOUNT, NewBudget={**budget, "BudgetLimit": {"Amount": "600", "Unit": "USD"}})
    assert budgets.describe_budget(**whose)["Budget"]["BudgetLimit"]["Amount"] == "600"
    arn = f"arn:aws:budgets::{ACCOUNT}:budget/xai"
    assert budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == tags
    budgets.tag_resource(ResourceARN=arn, ResourceTags=[{"Key": "b", "Value": "2"}])
    budgets.untag_resource(ResourceARN=arn, ResourceTagKeys=["a"])
    assert budgets.list_tags_for_resource(ResourceARN=arn)["ResourceTags"] == [{"Key": "b", "Value": "2"}]
    assert (
        refused(
            budgets.describe_subscribers_for_notification, **{**named, "Notification": {**notice, "Threshold": 1.0}}
        )
        == "NotFoundException"
    )


# ---------------------------------------------------------------------------------------------- backup


def test_backup_vault_has_a_policy_and_notifications(client: Clients) -> None:
    """Moto knows neither; a vault without them answers ResourceNotFoundException."""
    backup = client("backup")
    backup.create_backup_vault(BackupVaultName="v")
    vault = {"BackupVaultName": "v"}
    assert refused(backup.get_backup_vault_access_policy, **vault) == "ResourceNotFoundException"
    assert (
        refused(backup.put_backup_vault_access_policy, BackupVaultName="none", Policy="{}")
        == "ResourceNotFoundException"
    )
    backup.put_backup_vault_access_policy(**vault, Policy=POLICY)
    assert backup.get_backup_vault_access_policy(**vault)["Policy"] == POLICY
    topic, events = "arn:aws:sns:us-east-1:123456789012:ops", ["BACKUP_JOB_FAILED"]
    backup.put_backup_vault_notifications(**vault, SNSTopicArn=topic, BackupVaultEvents=events)
    shown = backup.get_backup_vault_notifications(**vault)
    assert (shown["SNSTopicArn"], shown["BackupVaultEvents"]) == (topic, events)
    backup.delete_backup_vault_access_policy(**vault)
    backup.delete_backup_vault_notifications(**vault)
    assert refused(backup.get_backup_vault_notifications, **vault) == "ResourceNotFoundException"


def a_plan(backup: Any, *, keep_days: int = 35) -> dict[str, Any]:
    """A backup plan's document."""
    rule = {"RuleName": "daily", "TargetBackupVaultName": "v", "Lifecycle": {"DeleteAfterDays": keep_days}}
    return {"BackupPlanName": "xai", "Rules": [rule]}


def test_backup_plan_selects_resources_and_is_changed(client: Clients) -> None:
    """Moto has no selections and no UpdateBackupPlan."""
    backup = client("backup")
    plan = backup.create_backup_plan(BackupPlan=a_plan(backup))["BackupPlanId"]
    selection = {
        "SelectionName": "tagged", "IamRoleArn": "arn:aws:iam::123456789012:role/r",
        "ListOfTags": [{"ConditionType": "STRINGEQUALS", "ConditionKey": "backup", "ConditionValue": "daily"}],
    }  # fmt: skip
    made = backup.create_backup_selection(BackupPlanId=plan, BackupSelection=selection)["SelectionId"]
    named = {"BackupPlanId": plan, "SelectionId": made}
    assert backup.get_backup_selection(**named)["BackupSelection"] == selection
    assert [s["SelectionName"] for s in backup.list_backup_selections(BackupPlanId=plan)["BackupSelectionsList"]] == [
        "tagged"
    ]
    before = backup.get_backup_plan(BackupPlanId=plan)["VersionId"]
    backup.update_backup_plan(BackupPlanId=plan, BackupPlan=a_plan(backup, keep_days=40))
    shown = backup.get_backup_plan(BackupPlanId=plan)
    assert shown["VersionId"] != before
    assert shown["BackupPlan"]["Rules"][0]["Lifecycle"] == {"DeleteAfterDays": 40}
    backup.delete_backup_selection(**named)
    assert refused(backup.get_backup_selection, **named) == "ResourceNotFoundException"


def test_tags_of_a_vault_are_listed_without_a_slash_at_the_end(client: Clients) -> None:
    """Go's SDK asks for /tags/ARN, and moto finds nothing there; boto3 asks for /tags/ARN/."""
    backup = client("backup")
    arn = backup.create_backup_vault(BackupVaultName="v", BackupVaultTags={"a": "1"})["BackupVaultArn"]
    assert backup.list_tags(ResourceArn=arn)["Tags"] == {"a": "1"}

    def as_go_asks(request: Any, **_: Any) -> None:
        request.url = request.url.rstrip("/")

    backup.meta.events.register_first("before-send.backup.ListTags", as_go_asks)
    assert backup.list_tags(ResourceArn=arn)["Tags"] == {"a": "1"}


# ---------------------------------------------------------------------------------------------- databases


def test_database_instance_keeps_performance_insights_and_has_amazons_ca(client: Clients) -> None:
    """Moto forgets Performance Insights, and knows a CA by a name that AWS has not."""
    rds = client("rds")
    aurora = {"Engine": "aurora-postgresql", "DBClusterIdentifier": "xai"}
    rds.create_db_cluster(**aurora, EngineMode="provisioned", MasterUsername="xai", ManageMasterUserPassword=True)
    named = {"DBInstanceIdentifier": "xai-0"}
    key = "arn:aws:kms:us-east-1:123456789012:key/k"
    rds.create_db_instance(
        **aurora,
        **named,
        DBInstanceClass="db.serverless",
        EnablePerformanceInsights=True,
        PerformanceInsightsKMSKeyId=key,
    )

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = rds.describe_db_instances(**named)["DBInstances"][0]
        return found

    assert (shown()["PerformanceInsightsEnabled"], shown()["PerformanceInsightsRetentionPeriod"]) == (True, 7)
    assert (shown()["PerformanceInsightsKMSKeyId"], shown()["CACertificateIdentifier"]) == (key, "rds-ca-rsa2048-g1")
    rds.modify_db_instance(**named, EnablePerformanceInsights=False)
    assert shown()["PerformanceInsightsEnabled"] is False


def test_provisioned_cluster_has_no_scaling_configuration(client: Clients) -> None:
    """Moto shows one full of nothing; a provider takes it for one to be filled."""
    rds = client("rds")
    made = rds.create_db_cluster(
        Engine="aurora-postgresql", DBClusterIdentifier="xai", EngineMode="provisioned", MasterUsername="xai",
        ManageMasterUserPassword=True, ServerlessV2ScalingConfiguration={"MinCapacity": 0.5, "MaxCapacity": 4.0},
    )["DBCluster"]  # fmt: skip
    assert "ScalingConfigurationInfo" not in made
    assert made["ServerlessV2ScalingConfiguration"] == {"MinCapacity": 0.5, "MaxCapacity": 4.0}


# ---------------------------------------------------------------------------------------------- caches


def test_cache_parameter_group_keeps_what_was_changed(client: Clients) -> None:
    """Moto has no parameter groups of ElastiCache."""
    cache = client("elasticache")
    named = {"CacheParameterGroupName": "xai"}
    arn = cache.create_cache_parameter_group(
        **named, CacheParameterGroupFamily="redis7", Description="d", Tags=[{"Key": "a", "Value": "1"}]
    )["CacheParameterGroup"]["ARN"]
    pair = {"ParameterName": "maxmemory-policy", "ParameterValue": "allkeys-lru"}
    cache.modify_cache_parameter_group(**named, ParameterNameValues=[pair])
    shown = cache.describe_cache_parameters(**named, Source="user")["Parameters"]
    assert [{key: each[key] for key in pair} for each in shown] == [pair]
    assert cache.list_tags_for_resource(ResourceName=arn)["TagList"] == [{"Key": "a", "Value": "1"}]
    cache.reset_cache_parameter_group(**named, ParameterNameValues=[pair])
    assert cache.describe_cache_parameters(**named)["Parameters"] == []
    assert [
        g["CacheParameterGroupFamily"] for g in cache.describe_cache_parameter_groups(**named)["CacheParameterGroups"]
    ] == ["redis7"]
    cache.delete_cache_parameter_group(**named)
    assert refused(cache.describe_cache_parameter_groups, **named) == "CacheParameterGroupNotFound"


def test_cache_user_is_changed(client: Clients) -> None:
    """Moto has no ModifyUser."""
    cache = client("elasticache")
    cache.create_user(
        UserId="ops", UserName="ops", Engine="redis", AccessString="off ~* -@all",
        AuthenticationMode={"Type": "no-password-required"},
    )  # fmt: skip
    changed = cache.modify_user(UserId="ops", AccessString="on ~* +@read", Passwords=["a" * 16, "b" * 16])
    assert (changed["AccessString"], changed["Authentication"]) == (
        "on ~* +@read",
        {"Type": "password", "PasswordCount": 2},
    )
    cache.modify_user(UserId="ops", AuthenticationMode={"Type": "iam"})
    assert cache.describe_users(UserId="ops")["Users"][0]["Authentication"]["Type"] == "iam"
    bare = {"UserId": "bare", "UserName": "default", "Engine": "redis", "AccessString": "off -@all"}
    made = cache.create_user(**bare, AuthenticationMode={"Type": "no-password-required"})
    assert made["Authentication"]["Type"] == "no-password"


def test_cache_user_group_changes_its_members(client: Clients) -> None:
    """Moto has users, and no groups of them."""
    cache = client("elasticache")
    cache.create_user_group(UserGroupId="xai", Engine="redis", UserIds=["default"])
    cache.modify_user_group(UserGroupId="xai", UserIdsToAdd=["reader"], UserIdsToRemove=["default"])
    shown = cache.describe_user_groups(UserGroupId="xai")["UserGroups"][0]
    assert (shown["Status"], shown["UserIds"], shown["Engine"]) == ("active", ["reader"], "redis")
    cache.delete_user_group(UserGroupId="xai")
    assert refused(cache.describe_user_groups, UserGroupId="xai") == "UserGroupNotFound"


def a_subnet_group(client: Clients) -> str:
    """A cache subnet group of one subnet; returns its name."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
    client("elasticache").create_cache_subnet_group(
        CacheSubnetGroupName="xai", CacheSubnetGroupDescription="d", SubnetIds=[subnet]
    )
    return "xai"


def test_cache_subnet_group_is_changed_and_deleted(client: Clients) -> None:
    """Moto only creates it."""
    cache, name = client("elasticache"), a_subnet_group(client)
    cache.modify_cache_subnet_group(CacheSubnetGroupName=name, CacheSubnetGroupDescription="other")
    shown = cache.describe_cache_subnet_groups(CacheSubnetGroupName=name)["CacheSubnetGroups"][0]
    assert (shown["CacheSubnetGroupDescription"], len(shown["Subnets"])) == ("other", 1)
    cache.delete_cache_subnet_group(CacheSubnetGroupName=name)
    assert refused(cache.describe_cache_subnet_groups, CacheSubnetGroupName=name) == "CacheSubnetGroupNotFoundFault"


def test_replication_group_has_members_that_are_found_change_and_go_with_it(client: Clients) -> None:
    """Moto makes one member whatever was asked, finds none of them, and never ends deleting."""
    cache, subnets = client("elasticache"), a_subnet_group(client)
    cache.create_replication_group(
        ReplicationGroupId="xai", ReplicationGroupDescription="d", Engine="redis", EngineVersion="7.1",
        CacheNodeType="cache.t4g.small", NumCacheClusters=2, CacheSubnetGroupName=subnets, SecurityGroupIds=["sg-1"],
        TransitEncryptionEnabled=True, TransitEncryptionMode="required", AuthToken="a" * 16, CacheParameterGroupName="mine",
        PreferredMaintenanceWindow="sun:05:00-sun:06:00",
    )  # fmt: skip
    named = {"ReplicationGroupId": "xai"}
    group = cache.describe_replication_groups(**named)["ReplicationGroups"][0]
    assert group["MemberClusters"] == ["xai-001", "xai-002"]
    member = cache.describe_cache_clusters(CacheClusterId="xai-002", ShowCacheNodeInfo=True)["CacheClusters"][0]
    assert (member["EngineVersion"], member["CacheSubnetGroupName"]) == ("7.1.0", "xai")
    assert member["SecurityGroups"] == [{"SecurityGroupId": "sg-1", "Status": "active"}]
    assert member["TransitEncryptionMode"] == "required"
    assert (member["CacheParameterGroup"]["CacheParameterGroupName"], member["AuthTokenEnabled"]) == ("mine", True)
    assert refused(cache.delete_cache_subnet_group, CacheSubnetGroupName=subnets) == "CacheSubnetGroupInUse"
    cache.modify_replication_group(**named, SecurityGroupIds=["sg-2"], PreferredMaintenanceWindow="mon:05:00-mon:06:00")
    member = cache.describe_cache_clusters(CacheClusterId="xai-001")["CacheClusters"][0]
    assert (member["SecurityGroups"][0]["SecurityGroupId"], member["PreferredMaintenanceWindow"]) == (
        "sg-2",
        "mon:05:00-mon:06:00",
    )
    cache.delete_replication_group(**named)
    assert refused(cache.describe_replication_groups, **named) == "ReplicationGroupNotFoundFault"
    assert refused(cache.describe_cache_clusters, CacheClusterId="xai-001") == "CacheClusterNotFound"
