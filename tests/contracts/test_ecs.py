"""The contract of `Services` and `Deployer`: on the fake, and on ECS as the sandbox plays it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pytest

from chalicelib.aws.ecs import MARK_TAG, EcsServices
from chalicelib.aws.ecs_deploy import EcsDeployer
from chalicelib.errors import CapacityError, MisconfiguredError, NotFoundError
from chalicelib.rollout.ports import Deployer, Services
from chalicelib.rollout.revision import ROLLOUT_TAG
from sandbox.dataplane.api import EcsApi
from tests.fakes.ecs import FakeEcs
from tests.fakes.sandbox_fixtures import CLUSTER, LocalCloud

NODE: dict[str, Any] = {
    "family": "node",
    "containerDefinitions": [
        {"name": "node", "image": "r/xai/node@sha256:1", "memory": 64, "portMappings": [{"containerPort": 8080}]}
    ],
    "aFieldThatNoSdkKnows": {"deep": [1, {"x": None}]},
}


class Setup(Protocol):
    """What a test must be able to arrange, whichever ECS it is."""

    @property
    def services(self) -> Services:
        """The reading side."""
        ...

    @property
    def deployer(self) -> Deployer:
        """The writing side."""
        ...

    def register(self, definition: Mapping[str, Any]) -> str:
        """Register a revision as Terraform does."""
        ...

    def create(self, name: str, revision: str) -> None:
        """Create a service."""
        ...

    def fill(self) -> None:
        """Leave no room for a task."""
        ...


@dataclass
class OnFake:
    """The fake."""

    ecs: FakeEcs

    @property
    def services(self) -> Services:
        """The reading side."""
        return self.ecs

    @property
    def deployer(self) -> Deployer:
        """The writing side."""
        return self.ecs

    def register(self, definition: Mapping[str, Any]) -> str:
        """See Setup."""
        return self.ecs.add_revision(definition)

    def create(self, name: str, revision: str) -> None:
        """See Setup."""
        self.ecs.add_service(name, revision)

    def fill(self) -> None:
        """See Setup."""
        self.ecs.no_room = True


@dataclass
class OnSandbox:
    """The adapters, on the sandbox's ECS."""

    cloud: LocalCloud

    @property
    def services(self) -> Services:
        """The reading side."""
        return EcsServices(self.cloud.aws, CLUSTER)

    @property
    def deployer(self) -> Deployer:
        """The writing side."""
        return EcsDeployer(self.cloud.aws, CLUSTER)

    def register(self, definition: Mapping[str, Any]) -> str:
        """See Setup."""
        # Of another SDK's making: straight into the plane, so that unknown fields get there at all.
        answer = EcsApi(self.cloud.plane).handle("RegisterTaskDefinition", dict(definition))
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def create(self, name: str, revision: str) -> None:
        """See Setup."""
        self.cloud.aws.client("ecs").create_service(
            cluster=CLUSTER, serviceName=name, taskDefinition=revision, desiredCount=1, launchType="EC2"
        )

    def fill(self) -> None:
        """See Setup."""
        self.cloud.faults.no_capacity = True


@pytest.fixture(params=["fake", "sandbox"])
def ecs(request: pytest.FixtureRequest) -> Setup:
    """An ECS of either kind, with service `node-1` on revision node:1."""
    setup: Setup = OnFake(FakeEcs()) if request.param == "fake" else OnSandbox(request.getfixturevalue("local_cloud"))
    setup.create("node-1", setup.register(NODE))
    return setup


def revision_of(ecs: Setup, service: str = "node-1") -> str:
    """The revision of the service's primary deployment."""
    primary = ecs.services.describe([service])[service].primary
    assert primary is not None
    return primary.revision


def test_mark_is_the_tag_that_a_rollout_puts_on_its_revisions() -> None:
    """One name, in two rooms that must not import each other."""
    assert MARK_TAG == ROLLOUT_TAG


def test_described_services_are_those_that_exist(ecs: Setup) -> None:
    """A missing service is missing, not an error."""
    found = ecs.services.describe(["node-1", "node-9"])
    assert list(found) == ["node-1"]
    view = found["node-1"]
    assert (view.status, view.desired, view.breaker) == ("ACTIVE", 1, "")
    assert view.arn.endswith(":service/xai-test/node-1")
    assert ecs.services.describe([]) == {}


def test_more_services_than_one_call_takes_are_all_described(ecs: Setup) -> None:
    """Ten a call."""
    names = [f"web-{i}" for i in range(12)]
    for name in names:
        ecs.create(name, revision_of(ecs))
    assert set(ecs.services.describe(names)) == set(names)


def test_revision_is_read_raw_with_fields_that_no_sdk_knows(ecs: Setup) -> None:
    """What Terraform wrote survives."""
    facts = ecs.services.revision(revision_of(ecs))
    assert facts.arn.endswith(":task-definition/node:1")
    assert (facts.status, facts.tags) == ("ACTIVE", {})
    assert facts.definition["aFieldThatNoSdkKnows"] == {"deep": [1, {"x": None}]}


def test_revision_that_does_not_exist_is_not_found(ecs: Setup) -> None:
    """A gone way back has a name."""
    with pytest.raises(NotFoundError):
        ecs.services.revision(revision_of(ecs).replace("node:1", "node:99"))


def test_registered_revision_carries_everything_over_and_its_tags(ecs: Setup) -> None:
    """A read definition goes back as it came, without what only AWS may write."""
    stable = ecs.services.revision(revision_of(ecs))
    arn = ecs.deployer.register_once(stable.definition, {"xai-ops:digest": "sha256:2"}, mark="r-1")
    target = ecs.services.revision(arn)
    assert arn.endswith("node:2")
    assert target.tags == {"xai-ops:digest": "sha256:2", MARK_TAG: "r-1"}
    own = ("containerDefinitions", "aFieldThatNoSdkKnows", "family")
    assert {key: target.definition[key] for key in own} == {key: stable.definition[key] for key in own}


def test_registering_again_with_the_same_mark_finds_the_revision(ecs: Setup) -> None:
    """An answer that was lost costs no second revision."""
    first = ecs.deployer.register_once(NODE, {}, mark="r-1")
    assert ecs.deployer.register_once(NODE, {}, mark="r-1") == first
    assert ecs.deployer.register_once(NODE, {}, mark="r-2") != first
    assert ecs.deployer.register_once({**NODE, "family": "node-smoke"}, {}, mark="r-1") != first


def test_newest_revision_is_the_newest_that_no_rollout_registered(ecs: Setup) -> None:
    """The template of a change of configuration is Terraform's."""
    by_terraform = ecs.register(NODE)
    ecs.deployer.register_once(NODE, {}, mark="r-1")
    assert ecs.services.newest_revision("node") == by_terraform
    with pytest.raises(NotFoundError):
        ecs.services.newest_revision("web")


def test_pointed_service_moves_to_the_revision_and_keeps_its_count(ecs: Setup) -> None:
    """Only the revision is sent; doing it twice is one deployment."""
    arn = ecs.deployer.register_once(NODE, {}, mark="r-1")
    ecs.deployer.point("node-1", arn)
    ecs.deployer.point("node-1", arn)
    view = ecs.services.describe(["node-1"])["node-1"]
    assert revision_of(ecs) == arn
    assert (view.desired, view.steady) == (1, False)
    assert len([d for d in view.deployments if d.status == "PRIMARY"]) == 1


def test_pointing_at_what_does_not_exist_is_an_error(ecs: Setup) -> None:
    """Neither the service nor the revision is made up."""
    with pytest.raises(NotFoundError):
        ecs.deployer.point("node-9", revision_of(ecs))
    with pytest.raises(MisconfiguredError):
        ecs.deployer.point("node-1", revision_of(ecs).replace("node:1", "node:99"))


def test_lone_task_is_run_once_and_belongs_to_no_service(ecs: Setup) -> None:
    """Repeating it finds the task, alive or stopped."""
    arn = ecs.deployer.run_alone(revision_of(ecs), like="node-1", started_by="xai-ops/r-1")
    assert ecs.deployer.run_alone(revision_of(ecs), like="node-1", started_by="xai-ops/r-1") == arn
    (task,) = [t for t in ecs.services.tasks(container="node", port=8080) if t.started_by == "xai-ops/r-1"]
    assert (task.arn, task.service, task.revision) == (arn, None, revision_of(ecs))
    ecs.deployer.stop(arn, "smoke is over")
    (stopped,) = [t for t in ecs.services.tasks(container="node", port=8080) if t.started_by == "xai-ops/r-1"]
    assert stopped.desired == "STOPPED"
    assert ecs.deployer.run_alone(revision_of(ecs), like="node-1", started_by="xai-ops/r-1") == arn


def test_lone_task_without_room_is_a_capacity_error(ecs: Setup) -> None:
    """It says nothing about the image."""
    ecs.fill()
    with pytest.raises(CapacityError):
        ecs.deployer.run_alone(revision_of(ecs), like="node-1", started_by="xai-ops/r-1")


def test_lone_task_like_a_service_that_does_not_exist_is_not_found(ecs: Setup) -> None:
    """There is no network to take."""
    with pytest.raises(NotFoundError):
        ecs.deployer.run_alone(revision_of(ecs), like="node-9", started_by="xai-ops/r-1")


def test_stopping_a_task_that_is_gone_is_fine(ecs: Setup) -> None:
    """Each call is safe to repeat."""
    ecs.deployer.stop("arn:aws:ecs:us-east-1:123456789012:task/xai-test/0123456789abcdef0123456789abcdef", "over")


def test_tag_is_added_to_those_that_are_there(ecs: Setup) -> None:
    """A bad revision is marked and stays what it was."""
    arn = ecs.deployer.register_once(NODE, {}, mark="r-1")
    ecs.deployer.tag(arn, {"xai-ops:bad": "height stalled"})
    assert ecs.services.revision(arn).tags == {MARK_TAG: "r-1", "xai-ops:bad": "height stalled"}


def test_breaker_that_did_nothing_says_nothing(ecs: Setup) -> None:
    """An ordinary deployment is no finding."""
    assert ecs.services.breaker("node-1") == ""
