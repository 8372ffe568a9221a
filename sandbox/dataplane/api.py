"""The ECS API of the sandbox: JSON in, JSON out, with ECS' own codes and limits. What it does not know it refuses."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sandbox.dataplane.events import ACCOUNT, container_of, sidecars_of
from sandbox.dataplane.model import Definition, Deployment, EcsError, Service, Task
from sandbox.dataplane.plane import Plane

Body = dict[str, Any]
READ_ONLY = {"tags", "taskDefinitionArn", "revision", "status", "requiresAttributes", "compatibilities", "registeredAt",
             "deregisteredAt", "deleteRequestedAt", "registeredBy"}  # fmt: skip
# What a service keeps as it was given. Changing one of STARTS_ANEW starts a deployment, says API_UpdateService.
STARTS_ANEW = ("loadBalancers", "networkConfiguration", "platformVersion", "serviceRegistries",
               "serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations")  # fmt: skip
CHANGES_ONLY = ("capacityProviderStrategy", "placementConstraints", "placementStrategy", "healthCheckGracePeriodSeconds",
                "enableExecuteCommand", "enableECSManagedTags", "availabilityZoneRebalancing", "propagateTags")  # fmt: skip
KEPT = (*STARTS_ANEW, *CHANGES_ONLY, "launchType", "schedulingStrategy", "deploymentController")
# What ECS shows of a service even if nobody set it.
UNSET = {"loadBalancers": [], "serviceRegistries": [], "placementConstraints": [], "placementStrategy": [],
         "schedulingStrategy": "REPLICA", "deploymentController": {"type": "ECS"}, "enableECSManagedTags": False,
         "enableExecuteCommand": False, "propagateTags": "NONE"}  # fmt: skip
# What a cluster keeps as it was given, and which word of DescribeClusters' `include` shows it (None: always).
OF_CLUSTER = {"settings": "SETTINGS", "configuration": "CONFIGURATIONS", "capacityProviders": None,
              "defaultCapacityProviderStrategy": None, "serviceConnectDefaults": None}  # fmt: skip
NEW_CLUSTER: Body = {"settings": [{"name": "containerInsights", "value": "disabled"}]}
AMAZONS_CAPACITY = ("FARGATE", "FARGATE_SPOT")  # exist in every account
OVERRIDABLE = ("command", "environment", "memory", "cpu", "memoryReservation")


class EcsApi:
    """ECS' operations on one plane."""

    def __init__(self, plane: Plane) -> None:
        """Serve this plane."""
        self.plane = plane
        self._cluster_given: dict[str, Body] = {}  # by cluster name

    def handle(self, operation: str, body: Body) -> Body:
        """Answer one call. Raises EcsError."""
        name = "_" + re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        method: Callable[[Body, datetime], Body] | None = getattr(self, name, None)
        if method is None:
            raise EcsError("UnsupportedFeatureException", f"the sandbox's ECS has no {operation}")
        with self.plane.lock:
            return method(body, self.plane.clock())

    # ------------------------------------------------------------------------------------------ clusters

    def _create_cluster(self, body: Body, _now: datetime) -> Body:
        name = body.get("clusterName", "default")
        _capacity_exists(body)
        arn = f"arn:aws:ecs:{self.plane.region}:{ACCOUNT}:cluster/{name}"
        if name not in self.plane.clusters:
            self.plane.clusters[name] = arn
            self.plane.cluster_tags[arn] = _tags(body.get("tags"))
            self._cluster_given[name] = _with_settings(NEW_CLUSTER, body)
        return {"cluster": self._cluster_json(name, {"SETTINGS", "CONFIGURATIONS", "TAGS"})}

    def _describe_clusters(self, body: Body, _now: datetime) -> Body:
        names = [_short(c) for c in body.get("clusters") or ["default"]]
        known = [n for n in names if n in self.plane.clusters]
        missing = [{"arn": n, "reason": "MISSING"} for n in names if n not in self.plane.clusters]
        include = set(body.get("include") or [])
        return {"clusters": [self._cluster_json(n, include) for n in known], "failures": missing}

    def _list_clusters(self, _body: Body, _now: datetime) -> Body:
        return {"clusterArns": list(self.plane.clusters.values())}

    def _update_cluster(self, body: Body, _now: datetime) -> Body:
        name = self._cluster(body)
        self._cluster_given[name] = _with_settings(self._given_of(name), body)
        return {"cluster": self._cluster_json(name, {"SETTINGS", "CONFIGURATIONS"})}

    def _update_cluster_settings(self, body: Body, _now: datetime) -> Body:
        name = self._cluster(body)
        self._cluster_given[name] = _with_settings(self._given_of(name), {"settings": body["settings"]})
        return {"cluster": self._cluster_json(name, {"SETTINGS"})}

    def _put_cluster_capacity_providers(self, body: Body, _now: datetime) -> Body:
        name = self._cluster(body)
        _capacity_exists(body)
        providers, strategy = body["capacityProviders"], body["defaultCapacityProviderStrategy"]
        if any(each["capacityProvider"] not in providers for each in strategy):
            raise EcsError(
                "InvalidParameterException",
                "The default capacity provider strategy cannot contain a capacity provider that is not associated with the cluster.",
            )
        self._cluster_given[name] = {**self._given_of(name), **_given_of_cluster(body)}
        return {"cluster": self._cluster_json(name, set())}

    def _describe_capacity_providers(self, body: Body, _now: datetime) -> Body:
        wanted = [_short(each) for each in body.get("capacityProviders") or AMAZONS_CAPACITY]
        found = [
            {"capacityProviderArn": f"arn:aws:ecs:{self.plane.region}:{ACCOUNT}:capacity-provider/{each}", "name": each,
             "status": "ACTIVE"}
            for each in wanted if each in AMAZONS_CAPACITY
        ]  # fmt: skip
        missing = [{"arn": each, "reason": "MISSING"} for each in wanted if each not in AMAZONS_CAPACITY]
        return {"capacityProviders": found, "failures": missing}

    def _delete_cluster(self, body: Body, _now: datetime) -> Body:
        name = self._cluster(body)
        if any(key[0] == name and s.status == "ACTIVE" for key, s in self.plane.services.items()):
            raise EcsError(
                "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."
            )
        shown = {**self._cluster_json(name, set()), "status": "INACTIVE"}
        self.plane.cluster_tags.pop(self.plane.clusters.pop(name), None)
        self._cluster_given.pop(name, None)
        return {"cluster": shown}

    def _cluster_json(self, name: str, include: set[str]) -> Body:
        arn, given = self.plane.clusters[name], self._given_of(name)
        live = [t for t in self.plane.tasks.values() if t.cluster_arn == arn and t.status != "STOPPED"]
        running = sum(1 for t in live if t.status == "RUNNING")
        active = sum(1 for (c, _), s in self.plane.services.items() if c == name and s.status == "ACTIVE")
        shown: Body = {
            "clusterArn": arn, "clusterName": name, "status": "ACTIVE", "runningTasksCount": running,
            "pendingTasksCount": len(live) - running, "activeServicesCount": active,
            "registeredContainerInstancesCount": 0, "statistics": [], "tags": [], "settings": [],
            "capacityProviders": [], "defaultCapacityProviderStrategy": [],
            **{key: given[key] for key, word in OF_CLUSTER.items() if key in given and (word is None or word in include)},
        }  # fmt: skip
        if "TAGS" in include:
            shown["tags"] = _tag_list(self.plane.cluster_tags[arn])
        return shown

    def _given_of(self, name: str) -> Body:
        return self._cluster_given.get(name, NEW_CLUSTER)

    def _cluster(self, body: Body) -> str:
        name = _short(body.get("cluster") or "default")
        if name not in self.plane.clusters:
            raise EcsError("ClusterNotFoundException", "Cluster not found.")
        return name

    # ------------------------------------------------------------------------------------------ definitions

    def _register_task_definition(self, body: Body, now: datetime) -> Body:
        family, containers = body.get("family"), body.get("containerDefinitions")
        if not family or not re.fullmatch(r"[\w-]{1,255}", family):
            raise EcsError("ClientException", "Family name must be 1 to 255 letters, numbers, underscores and hyphens.")
        if not containers or not all(c.get("name") and c.get("image") for c in containers):
            raise EcsError("ClientException", "Container.image and Container.name should not be null or empty.")
        if "FARGATE" in (body.get("requiresCompatibilities") or []) and (why := _against_fargate(body)):
            raise EcsError("ClientException", why)
        revisions = self.plane.definitions.setdefault(family, [])
        number = len(revisions) + 1
        arn = f"arn:aws:ecs:{self.plane.region}:{ACCOUNT}:task-definition/{family}:{number}"
        raw = {key: copy.deepcopy(value) for key, value in body.items() if key not in READ_ONLY}
        definition = Definition(
            arn=arn, family=family, revision=number, raw=raw, tags=_tags(body.get("tags")), registered=now
        )
        revisions.append(definition)
        return {"taskDefinition": _definition_json(definition), "tags": _tag_list(definition.tags)}

    def _describe_task_definition(self, body: Body, _now: datetime) -> Body:
        definition = self._definition(body["taskDefinition"])
        answer: Body = {"taskDefinition": _definition_json(definition)}
        if "TAGS" in body.get("include", []):
            answer["tags"] = _tag_list(definition.tags)
        return answer

    def _deregister_task_definition(self, body: Body, _now: datetime) -> Body:
        definition = self._definition(body["taskDefinition"])
        definition.status = "INACTIVE"
        return {"taskDefinition": _definition_json(definition)}

    def _list_task_definitions(self, body: Body, _now: datetime) -> Body:
        status, family = body.get("status", "ACTIVE"), body.get("familyPrefix")
        arns = [
            d.arn
            for name, revisions in sorted(self.plane.definitions.items())
            if family is None or name == family
            for d in revisions
            if d.status == status
        ]
        if body.get("sort") == "DESC":
            arns.reverse()
        return _page(arns, body, "taskDefinitionArns", 100)

    def _list_task_definition_families(self, body: Body, _now: datetime) -> Body:
        prefix = body.get("familyPrefix", "")
        return {"families": [f for f in sorted(self.plane.definitions) if f.startswith(prefix)]}

    def _definition(self, name: str) -> Definition:
        family, _, number = name.rsplit("/", 1)[-1].partition(":")
        revisions = self.plane.definitions.get(family, [])
        if number:
            found = [d for d in revisions if str(d.revision) == number]
        else:
            found = [d for d in revisions if d.status == "ACTIVE"][-1:]
        if not found:
            raise EcsError("ClientException", "Unable to describe task definition.")
        return found[0]

    # ------------------------------------------------------------------------------------------ services

    def _create_service(self, body: Body, now: datetime) -> Body:
        cluster, name = self._cluster(body), body["serviceName"]
        known = self.plane.services.get((cluster, name))
        if known is not None and known.status == "ACTIVE":
            raise EcsError("InvalidParameterException", "Creation of service was not idempotent.")
        definition = self._startable(body["taskDefinition"])
        _must_agree(definition, body)
        arn = f"arn:aws:ecs:{self.plane.region}:{ACCOUNT}:service/{cluster}/{name}"
        configuration = {"maximumPercent": 200, "minimumHealthyPercent": 100, **body.get("deploymentConfiguration", {})}
        service = Service(
            name=name, arn=arn, cluster=cluster, raw=copy.deepcopy(body), desired=body.get("desiredCount", 1),
            configuration=configuration, created=now, tags=_tags(body.get("tags")),
        )  # fmt: skip
        self.plane.services[(cluster, name)] = service
        self.plane.new_deployment(service, definition, now)
        return {"service": self._service_json(service)}

    def _update_service(self, body: Body, now: datetime) -> Body:
        service = self._service(body)
        if service.status != "ACTIVE":
            raise EcsError("ServiceNotActiveException", "Service was not ACTIVE.")
        definition = self._startable(body["taskDefinition"]) if body.get("taskDefinition") else None
        _must_agree(definition or service.primary.definition, {**service.raw, **body})
        if body.get("desiredCount") is not None:
            service.desired = body["desiredCount"]
        if body.get("deploymentConfiguration"):
            service.configuration = {**service.configuration, **body["deploymentConfiguration"]}
        given = {key: copy.deepcopy(body[key]) for key in (*STARTS_ANEW, *CHANGES_ONLY) if body.get(key) is not None}
        anew = any(key in STARTS_ANEW and value != service.raw.get(key) for key, value in given.items())
        service.raw |= given
        same = definition is None or definition is service.primary.definition
        if not same or anew or body.get("forceNewDeployment"):
            self.plane.new_deployment(service, definition or service.primary.definition, now)
        return {"service": self._service_json(service)}

    def _delete_service(self, body: Body, now: datetime) -> Body:
        service = self._service({**body, "services": None})
        if service.desired and not body.get("force"):
            raise EcsError("InvalidParameterException", "The service cannot be stopped while it is scaled above 0.")
        service.status, service.desired = "INACTIVE", 0
        for deployment in service.deployments:
            for task in self.plane.tasks_of(deployment):
                why = f"Scaling activity initiated by (deployment {deployment.id})"
                self.plane.stop_task(task, now, code="ServiceSchedulerInitiated", reason=why)
        return {"service": self._service_json(service)}

    def _describe_services(self, body: Body, _now: datetime) -> Body:
        cluster, names = self._cluster(body), [_short(s) for s in body["services"]]
        if not names or len(names) > 10:
            raise EcsError("InvalidParameterException", "Services cannot be empty or more than 10.")
        found = [self.plane.services[(cluster, n)] for n in names if (cluster, n) in self.plane.services]
        missing = [
            {"arn": f"arn:aws:ecs:{self.plane.region}:{ACCOUNT}:service/{cluster}/{n}", "reason": "MISSING"}
            for n in names
            if (cluster, n) not in self.plane.services
        ]
        services = [self._service_json(s) for s in found]
        if "TAGS" in body.get("include", []):
            services = [{**shown, "tags": _tag_list(s.tags)} for shown, s in zip(services, found, strict=True)]
        return {"services": services, "failures": missing}

    def _list_services(self, body: Body, _now: datetime) -> Body:
        cluster = self._cluster(body)
        arns = [s.arn for (c, _), s in self.plane.services.items() if c == cluster and s.status == "ACTIVE"]
        return _page(arns, body, "serviceArns", 10)

    def _service(self, body: Body) -> Service:
        cluster, name = self._cluster(body), _short(body["service"])
        service = self.plane.services.get((cluster, name))
        if service is None:
            raise EcsError("ServiceNotFoundException", "Service not found.")
        return service

    def _startable(self, name: str) -> Definition:
        definition = self._definition(name)
        if definition.status != "ACTIVE":
            raise EcsError("ClientException", f"TaskDefinition is inactive: {definition.arn}")
        return definition

    def _service_json(self, service: Service) -> Body:
        live = [t for d in service.deployments for t in self.plane.tasks_of(d) if t.live]
        return {
            "serviceArn": service.arn, "serviceName": service.name, "clusterArn": self.plane.clusters[service.cluster],
            **UNSET,
            **{key: service.raw[key] for key in KEPT if key in service.raw},
            "status": service.status, "desiredCount": service.desired,
            "runningCount": sum(1 for t in live if t.status == "RUNNING"),
            "pendingCount": sum(1 for t in live if t.status != "RUNNING"),
            "taskDefinition": service.primary.definition.arn, "deploymentConfiguration": service.configuration,
            "deployments": [self._deployment_json(service, d) for d in service.deployments],
            "events": service.events, "createdAt": service.created.timestamp(),
        }  # fmt: skip

    def _deployment_json(self, service: Service, deployment: Deployment) -> Body:
        live = [t for t in self.plane.tasks_of(deployment) if t.live]
        return {
            "id": deployment.id, "status": deployment.status, "taskDefinition": deployment.definition.arn,
            "desiredCount": service.desired if deployment.status == "PRIMARY" else 0,
            "runningCount": sum(1 for t in live if t.status == "RUNNING"),
            "pendingCount": sum(1 for t in live if t.status != "RUNNING"), "failedTasks": deployment.failed,
            "createdAt": deployment.created.timestamp(), "updatedAt": deployment.updated.timestamp(),
            "rolloutState": deployment.state, "rolloutStateReason": deployment.reason,
        }  # fmt: skip

    # ------------------------------------------------------------------------------------------ deployments, revisions

    def _list_service_deployments(self, body: Body, _now: datetime) -> Body:
        service = self._service(body)
        shown = [self._service_deployment(service, d) for d in reversed(service.history) if not d.is_rollback]
        keys = (
            "serviceDeploymentArn",
            "serviceArn",
            "clusterArn",
            "createdAt",
            "startedAt",
            "finishedAt",
            "status",
            "statusReason",
            "targetServiceRevisionArn",
        )
        brief = [{k: d[k] for k in keys if k in d} for d in shown]
        wanted = body.get("status")
        return {"serviceDeployments": [d for d in brief if not wanted or d["status"] in wanted]}

    def _describe_service_deployments(self, body: Body, _now: datetime) -> Body:
        known = {
            self._service_deployment(s, d)["serviceDeploymentArn"]: (s, d)
            for s in self.plane.services.values()
            for d in s.history
        }
        found = [self._service_deployment(*known[arn]) for arn in body["serviceDeploymentArns"] if arn in known]
        missing = [{"arn": a, "reason": "MISSING"} for a in body["serviceDeploymentArns"] if a not in known]
        return {"serviceDeployments": found, "failures": missing}

    def _describe_service_revisions(self, body: Body, _now: datetime) -> Body:
        known = {_revision_arn(s, d): (s, d) for s in self.plane.services.values() for d in s.history}
        found = [self._service_revision(arn, *known[arn]) for arn in body["serviceRevisionArns"] if arn in known]
        missing = [{"arn": arn, "reason": "MISSING"} for arn in body["serviceRevisionArns"] if arn not in known]
        return {"serviceRevisions": found, "failures": missing}

    def _service_revision(self, arn: str, service: Service, deployment: Deployment) -> Body:
        main = deployment.definition.main
        image = {"containerName": main["name"], "image": main["image"]}
        if deployment.digest:
            image["imageDigest"] = deployment.digest  # known once its first task has pulled
        return {
            "serviceRevisionArn": arn, "serviceArn": service.arn, "clusterArn": self.plane.clusters[service.cluster],
            "taskDefinition": deployment.definition.arn, "containerImages": [image],
            "createdAt": deployment.created.timestamp(),
        }  # fmt: skip

    def _stop_service_deployment(self, body: Body, now: datetime) -> Body:
        for service in self.plane.services.values():
            for deployment in service.history:
                if (
                    self._service_deployment(service, deployment)["serviceDeploymentArn"]
                    != body["serviceDeploymentArn"]
                ):
                    continue
                if body.get("stopType", "ROLLBACK") != "ROLLBACK":
                    raise EcsError("InvalidParameterException", "stopType must be ROLLBACK.")
                back = service.last_completed
                if deployment is not service.primary or deployment.state != "IN_PROGRESS" or back is None:
                    raise EcsError(
                        "ConflictException", "The service deployment cannot be stopped in its present status."
                    )
                deployment.state, deployment.finished = "FAILED", now
                reason = "Service deployment rolled back because of a StopServiceDeployment request."
                self.plane.new_deployment(service, back.definition, now, reason=reason).is_rollback = True
                return {"serviceDeploymentArn": body["serviceDeploymentArn"]}
        raise EcsError(
            "ServiceDeploymentNotFoundException", "The service deployment ARN that you specified does not exist."
        )

    def _service_deployment(self, service: Service, deployment: Deployment) -> Body:
        back = next((d for d in service.history[service.history.index(deployment) + 1 :]), None)
        back = back if back is not None and back.is_rollback else None
        last = back or deployment
        status = {"COMPLETED": "SUCCESSFUL", "IN_PROGRESS": "IN_PROGRESS", "FAILED": "STOPPED"}[deployment.state]
        if deployment.state == "IN_PROGRESS" and deployment is not service.primary:
            status = "STOPPED"
        shown: Body = {
            "serviceDeploymentArn": service.arn.replace(":service/", ":service-deployment/") + "/" + deployment.id.split("/")[1],
            "serviceArn": service.arn, "clusterArn": self.plane.clusters[service.cluster],
            "createdAt": deployment.created.timestamp(), "startedAt": deployment.created.timestamp(),
            "targetServiceRevisionArn": _revision_arn(service, deployment),
            "updatedAt": last.updated.timestamp(),
            "targetServiceRevision": self._revision_counts(service, deployment),
            "deploymentConfiguration": service.configuration,
            "deploymentCircuitBreaker": {"status": _breaker(service, deployment), "failureCount": deployment.failed,
                                         "threshold": service.threshold},
        }  # fmt: skip
        if last.finished is not None:
            shown["finishedAt"] = last.finished.timestamp()
        if back is not None:
            over = {"COMPLETED": "ROLLBACK_SUCCESSFUL", "FAILED": "ROLLBACK_FAILED"}
            status = over.get(back.state, "ROLLBACK_IN_PROGRESS")
            shown["rollback"] = {"reason": back.reason, "startedAt": back.created.timestamp(),
                                 "serviceRevisionArn": _revision_arn(service, back)}  # fmt: skip
        return {**shown, "status": status, "statusReason": deployment.reason}

    def _revision_counts(self, service: Service, deployment: Deployment) -> Body:
        live = [t for t in self.plane.tasks_of(deployment) if t.live]
        running = sum(1 for t in live if t.status == "RUNNING")
        return {"arn": _revision_arn(service, deployment), "requestedTaskCount": service.desired,
                "runningTaskCount": running, "pendingTaskCount": len(live) - running}  # fmt: skip

    # ------------------------------------------------------------------------------------------ tasks

    def _run_task(self, body: Body, now: datetime) -> Body:
        cluster, definition = self._cluster(body), self._startable(body["taskDefinition"])
        token = body.get("clientToken")
        if token and token in self.plane.tokens:
            again = [self.plane.tasks[arn] for arn in self.plane.tokens[token] if arn in self.plane.tasks]
            return {"tasks": [self._task_json(task) for task in again], "failures": []}
        _must_agree(definition, body)
        if self.plane.faults.no_capacity:
            return {"tasks": [], "failures": [{"arn": self.plane.clusters[cluster], "reason": "RESOURCE:MEMORY"}]}
        tasks = [
            self.plane.new_task(
                definition, cluster=cluster, started_by=body.get("startedBy", ""),
                group=body.get("group", f"family:{definition.family}"), service=None, deployment=None, now=now,
                overrides=_overrides(definition, body),
            )
            for _ in range(body.get("count", 1))
        ]  # fmt: skip
        if token:
            self.plane.tokens[token] = [task.arn for task in tasks]
        for task in tasks:
            task.tags = _tags(body.get("tags"))
        return {"tasks": [self._task_json(task) for task in tasks], "failures": []}

    def _stop_task(self, body: Body, now: datetime) -> Body:
        self._cluster(body)
        task = next((t for a, t in self.plane.tasks.items() if a == body["task"] or _short(a) == body["task"]), None)
        if task is None:
            raise EcsError("InvalidParameterException", "The referenced task was not found.")
        reason = body.get("reason") or "Task stopped by user"
        self.plane.stop_task(task, now, code="UserInitiated", reason=reason)
        return {"task": self._task_json(task)}

    def _describe_tasks(self, body: Body, _now: datetime) -> Body:
        self._cluster(body)
        if len(body["tasks"]) > 100:
            raise EcsError("InvalidParameterException", "Tasks cannot be more than 100.")
        by_id = {_short(arn): task for arn, task in self.plane.tasks.items()}
        found = [by_id[_short(a)] for a in body["tasks"] if _short(a) in by_id]
        missing = [{"arn": a, "reason": "MISSING"} for a in body["tasks"] if _short(a) not in by_id]
        tasks = [self._task_json(task) for task in found]
        if "TAGS" in body.get("include", []):
            tasks = [{**shown, "tags": _tag_list(task.tags)} for shown, task in zip(tasks, found, strict=True)]
        return {"tasks": tasks, "failures": missing}

    def _list_tasks(self, body: Body, _now: datetime) -> Body:
        cluster, wanted = self._cluster(body), body.get("desiredStatus", "RUNNING")
        if body.get("startedBy") and body.keys() & {"desiredStatus", "serviceName", "family", "containerInstance"}:
            raise EcsError("InvalidParameterException", "startedBy must be the only filter that you use.")
        if body.get("serviceName"):
            self._service({**body, "service": body["serviceName"]})
        arns = []
        for task in self.plane.tasks.values():
            if task.cluster_arn != self.plane.clusters[cluster] or task.desired != wanted:
                continue
            if body.get("serviceName") and task.group != f"service:{_short(body['serviceName'])}":
                continue
            if body.get("startedBy") and task.started_by != body["startedBy"]:
                continue
            if body.get("family") and task.definition.family != body["family"]:
                continue
            arns.append(task.arn)
        return _page(arns, body, "taskArns", 100)

    def _task_json(self, task: Task) -> Body:
        container = container_of(task)
        if task.started is not None and task.status != "STOPPED":
            container["networkBindings"] = [
                {
                    "bindIP": "127.0.0.1",
                    "containerPort": inner,
                    "hostPort": self.plane.shown_port(outer),
                    "protocol": "tcp",
                }
                for inner, outer in task.ports.items()
            ]
        container["healthStatus"] = task.health
        shown: Body = {
            "taskArn": task.arn, "clusterArn": task.cluster_arn, "taskDefinitionArn": task.definition.arn,
            "group": task.group, "startedBy": task.started_by, "lastStatus": task.status, "desiredStatus": task.desired,
            "containers": [container, *sidecars_of(task)], "createdAt": task.created.timestamp(), "launchType": _launch_type(task.service), "version": task.version,
            "healthStatus": task.health, "attachments": [],
        }  # fmt: skip
        for key, moment in (("startedAt", task.started), ("stoppingAt", task.stopping), ("stoppedAt", task.stopped)):
            if moment is not None:
                shown[key] = moment.timestamp()
        if task.stop_code:
            shown |= {"stopCode": task.stop_code, "stoppedReason": task.reason}
        return shown

    # ------------------------------------------------------------------------------------------ tags

    def _tag_resource(self, body: Body, _now: datetime) -> Body:
        self._tagged(body["resourceArn"]).update(_tags(body["tags"]))
        return {}

    def _untag_resource(self, body: Body, _now: datetime) -> Body:
        tags = self._tagged(body["resourceArn"])
        for key in body["tagKeys"]:
            tags.pop(key, None)
        return {}

    def _list_tags_for_resource(self, body: Body, _now: datetime) -> Body:
        return {"tags": _tag_list(self._tagged(body["resourceArn"]))}

    def _tagged(self, arn: str) -> dict[str, str]:
        if ":task-definition/" in arn:
            return self._definition(arn).tags
        if arn in self.plane.tasks:
            return self.plane.tasks[arn].tags
        if arn in self.plane.cluster_tags:
            return self.plane.cluster_tags[arn]
        service = next((s for s in self.plane.services.values() if s.arn == arn), None)
        if service is None:
            raise EcsError("ResourceNotFoundException", "The specified resource could not be found.")
        return service.tags


def _given_of_cluster(body: Body) -> Body:
    return {key: copy.deepcopy(body[key]) for key in OF_CLUSTER if body.get(key) is not None}


def _with_settings(known: Body, body: Body) -> Body:
    """What a cluster keeps after a call; a setting that the call names replaces the one of its name, others stay."""
    by_name = {each["name"]: each for each in [*known["settings"], *(body.get("settings") or [])]}
    return {**known, **_given_of_cluster(body), "settings": list(by_name.values())}


def _capacity_exists(body: Body) -> None:
    unknown = [each for each in body.get("capacityProviders") or [] if _short(each) not in AMAZONS_CAPACITY]
    if unknown:
        raise EcsError(
            "InvalidParameterException",
            "The specified capacity provider was not found. Specify a valid name or ARN and try again.",
        )


def _must_agree(definition: Definition, asked: Body) -> None:
    """Refuse a task definition that does not go with the service or the task that it is for."""
    if definition.raw.get("networkMode") == "awsvpc" and not asked.get("networkConfiguration"):
        raise EcsError(
            "InvalidParameterException",
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        )
    if asked.get("launchType") == "FARGATE" and _against_fargate(definition.raw):
        raise EcsError("InvalidParameterException", "Task definition does not support launch_type FARGATE.")


def _against_fargate(raw: Body) -> str:
    """Why Fargate does not take this task definition; empty: it does."""
    if raw.get("networkMode") != "awsvpc":
        return "Fargate only supports network mode 'awsvpc'."
    for need in ("cpu", "memory"):
        if not raw.get(need):
            return f"Fargate requires that '{need}' be defined at the task level."
    if any((volume.get("host") or {}).get("sourcePath") for volume in raw.get("volumes") or []):
        return "Fargate does not support host sourcePath of a volume."
    return ""


def _compatibilities(raw: Body) -> list[str]:
    return ["EC2"] if _against_fargate(raw) else ["EC2", "FARGATE"]


def _launch_type(service: Service | None) -> str:
    return str(service.raw.get("launchType", "EC2")) if service else "EC2"


def _definition_json(definition: Definition) -> Body:
    return {
        "volumes": [], "placementConstraints": [],  # ECS shows them even if nobody set them
        **definition.raw, "taskDefinitionArn": definition.arn, "revision": definition.revision,
        "status": definition.status, "registeredAt": definition.registered.timestamp(),
        "compatibilities": _compatibilities(definition.raw), "requiresAttributes": [],
    }  # fmt: skip


def _revision_arn(service: Service, deployment: Deployment) -> str:
    return service.arn.replace(":service/", ":service-revision/") + "/" + deployment.id.split("/")[1]


def _breaker(service: Service, deployment: Deployment) -> str:
    if not service.configuration.get("deploymentCircuitBreaker", {}).get("enable"):
        return "DISABLED"
    if deployment.tripped:
        return "TRIGGERED"
    return "MONITORING" if deployment.state == "IN_PROGRESS" else "MONITORING_COMPLETE"


def _overrides(definition: Definition, body: Body) -> Body:
    """RunTask's overrides of the container that is run; its environment is added to, as ECS does."""
    main = definition.main
    given: list[Body] = (body.get("overrides") or {}).get("containerOverrides") or []
    found = {
        key: value for o in given if o.get("name") == main["name"] for key, value in o.items() if key in OVERRIDABLE
    }
    if "environment" in found:
        ours = {pair["name"] for pair in found["environment"]}
        kept = [pair for pair in main.get("environment") or [] if pair["name"] not in ours]
        found["environment"] = [*kept, *found["environment"]]
    return found


def _short(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _tags(pairs: list[dict[str, str]] | None) -> dict[str, str]:
    return {pair["key"]: pair.get("value", "") for pair in pairs or []}


def _tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def _page(items: list[str], body: Body, key: str, most: int) -> Body:
    token = body.get("nextToken") or "0"
    if not token.isdecimal():
        raise EcsError("InvalidParameterException", "Invalid token.")
    start = int(token)
    size = min(body.get("maxResults") or most, 100)
    answer: Body = {key: items[start : start + size]}
    if start + size < len(items):
        answer["nextToken"] = str(start + size)
    return answer
