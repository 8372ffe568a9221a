"""What Terraform would build, built in the sandbox by plain boto3: table, queue, repositories, services, alarms."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from chalicelib.fleet.model import Fleet, Group, Kind
from sandbox.dataplane.events import ACCOUNT
from sandbox.trackers.desk import TOKENS

FENCE = Path(__file__).parent.parent / "fence" / "fence.py"


class Ground:
    """The base infrastructure of one stage."""

    def __init__(self, url: str, fleet: Fleet) -> None:
        """Talk to the sandbox's cloud."""
        self.url, self.fleet = url, fleet

    def client(self, service: str) -> Any:
        """A boto3 client of the sandbox's cloud, as anyone else would make it."""
        return boto3.client(
            service, endpoint_url=self.url, region_name=self.fleet.region, aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )  # fmt: skip

    @property
    def table(self) -> str:
        """The ops table's name, as .chalice/config.json has it."""
        return f"ops-{self.fleet.environment}"

    @property
    def bucket(self) -> str:
        """The ops bucket's name, likewise."""
        return f"ops-{self.fleet.environment}-{ACCOUNT}"

    @property
    def queue(self) -> str:
        """The tick queue's name, likewise."""
        return f"xai-ops-{self.fleet.environment}-ticks"

    @property
    def queue_url(self) -> str:
        """The tick queue."""
        return f"{self.url}/{ACCOUNT}/{self.queue}"

    def lay(self) -> None:
        """Everything but the services: they need an image."""
        make_table(self.client("dynamodb"), self.table)
        sqs = self.client("sqs")
        sqs.create_queue(QueueName=self.queue, Attributes={"VisibilityTimeout": "60"})
        sqs.create_queue(QueueName=f"xai-ops-{self.fleet.environment}-dead")
        self.client("s3").create_bucket(Bucket=self.bucket)
        secrets = self.client("secretsmanager")
        for name, token in self._tokens().items():
            secrets.create_secret(Name=name, SecretString=json.dumps({"token": token}))
        for tracker in self.fleet.incidents.trackers.values():
            if tracker.type == "sns":
                self.client("sns").create_topic(Name=tracker.topic.rsplit(":", 1)[-1])
        ecr, cloudwatch = self.client("ecr"), self.client("cloudwatch")
        for group in self.fleet.groups.values():
            ecr.create_repository(repositoryName=group.repository)
            for alarm in sorted({alarm for service in group.services.values() for alarm in service.alarms}):
                self._alarm(cloudwatch, alarm)
        self.client("ecs").create_cluster(clusterName=self.fleet.cluster)
        self.client("logs").create_log_group(logGroupName=f"/ecs/{self.fleet.cluster}/containers")

    def leave(self) -> None:
        """Undo what it did to the sandbox itself, when that ends."""

    def _tokens(self) -> dict[str, str]:
        """Each secret that a tracker of the fleet file names, with the token that the loopback tracker takes."""
        found = {}
        for tracker in self.fleet.incidents.trackers.values():
            for key in ("token_secret", "routing_key_secret"):
                secret = getattr(tracker, key, None)
                if secret is not None:
                    found[secret] = TOKENS[tracker.type, key]
        return found

    def deploy(self, stable: Mapping[str, str]) -> None:
        """The services, each on its group's stable image reference."""
        ecs = self.client("ecs")
        for name, group in self.fleet.groups.items():
            if name not in stable:
                continue
            target_group = self._target_group(group, name) if group.kind is Kind.HTTP else None
            for service in group.services:
                definition = self._definition(service, group, stable[name])
                arn = ecs.register_task_definition(**definition)["taskDefinition"]["taskDefinitionArn"]
                ecs.create_service(**self._service(service, group, arn, target_group))

    @staticmethod
    def _alarm(cloudwatch: Any, name: str) -> None:
        namespace, metric, limit, comparison = watched(name)
        cloudwatch.put_metric_alarm(
            AlarmName=name, Namespace=namespace, MetricName=metric, Dimensions=[{"Name": "Alarm", "Value": name}],
            Statistic="Maximum", Period=60, EvaluationPeriods=1, Threshold=limit, ComparisonOperator=comparison,
            TreatMissingData="missing",
        )  # fmt: skip
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="sandbox starts")

    def _target_group(self, group: Group, name: str) -> str:
        vpc = self.client("ec2").describe_vpcs()["Vpcs"][0]["VpcId"]
        created = self.client("elbv2").create_target_group(
            Name=f"{self.fleet.environment[:4]}-{name}"[:32], Protocol="HTTP", Port=group.port, TargetType="ip",
            VpcId=vpc, HealthCheckPath=group.liveness,
        )  # fmt: skip
        return str(created["TargetGroups"][0]["TargetGroupArn"])

    def _definition(self, service: str, group: Group, image: str) -> dict[str, Any]:
        container: dict[str, Any] = {
            "name": group.container,
            "image": image,
            "essential": True,
            "memory": 512,
            "portMappings": [{"containerPort": group.port, "protocol": "tcp"}],
            "environment": [{"name": "XAI_ENV", "value": self.fleet.environment}, {"name": "XAI_NODE_NAME", "value": service}],
            "logConfiguration": {
                "logDriver": "awslogs",
                "options": {
                    "awslogs-group": f"/ecs/{self.fleet.cluster}/containers", "awslogs-region": self.fleet.region,
                    "awslogs-stream-prefix": service,
                },
            },
        }  # fmt: skip
        definition: dict[str, Any] = {
            "family": service,
            "networkMode": "bridge",
            "executionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/{self.fleet.cluster}-node-execution",
            "requiresCompatibilities": ["EC2"],
            "tags": [{"key": "service", "value": service}],
        }
        if group.kind is Kind.NODE:
            container |= {
                "stopTimeout": 120,
                "entryPoint": ["python3", "-c", FENCE.read_text()],
                "mountPoints": [{"sourceVolume": "data", "containerPath": "/data"}],
            }
            definition["volumes"] = [{"name": "data", "host": {"sourcePath": f"volumes/{service}"}}]
        return {**definition, "containerDefinitions": [container]}

    def _service(self, service: str, group: Group, arn: str, target_group: str | None) -> dict[str, Any]:
        stops_first = group.kind is Kind.NODE
        created: dict[str, Any] = {
            "cluster": self.fleet.cluster, "serviceName": service, "taskDefinition": arn, "desiredCount": 1,
            "launchType": "EC2",
            "deploymentConfiguration": {
                "minimumHealthyPercent": 0 if stops_first else 100,
                "maximumPercent": 100 if stops_first else 200,
                "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            },
        }  # fmt: skip
        if target_group is not None:
            created["loadBalancers"] = [
                {"targetGroupArn": target_group, "containerName": group.container, "containerPort": group.port}
            ]
        return created


def watched(alarm: str) -> tuple[str, str, float, str]:
    """Namespace, metric, limit and comparison of an alarm, by the end of its name."""
    above, below = "GreaterThanThreshold", "LessThanThreshold"
    known = {
        "memory-high": ("AWS/ECS", "MemoryUtilization", 85.0, above),
        "height-flat": ("XAI", "BlocksInHalfAnHour", 1.0, below),
        "5xx": ("AWS/ApplicationELB", "HTTPCode_Target_5XX_Count", 10.0, above),
    }
    return next((known[end] for end in known if alarm.endswith(end)), ("XAI", alarm, 1.0, above))


def make_table(dynamodb: Any, name: str) -> None:
    """The ops table."""
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk", "open", "wake_at")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "open",
                "KeySchema": [
                    {"AttributeName": "open", "KeyType": "HASH"},
                    {"AttributeName": "wake_at", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"})
