"""What moto's AWS Backup lacks."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import moto.backup.urls
from moto.backup.exceptions import ResourceNotFoundException
from moto.backup.responses import BackupResponse
from moto.core.responses import ActionResult, EmptyResult

from sandbox.infra_gaps.tools import Undo, add_paths, asked_of, kept, now, put, undo_all


def backup_tags() -> Undo:
    """List the tags of a vault or plan that is named without a slash at the end, as Go's SDK does."""

    def list_tags(self: BackupResponse) -> ActionResult:
        arn = unquote(self.path.split("/tags/", 1)[1]).rstrip("/")
        return ActionResult({"Tags": self.backup_backend.list_tags(arn)})

    return put(BackupResponse, list_tags=list_tags)


def backup_vault_policies() -> Undo:
    """A vault's access policy and its notifications: put, get, delete."""

    def putting(kind: str) -> Callable[[BackupResponse], ActionResult]:
        def answer(self: BackupResponse) -> ActionResult:
            asked = asked_of(self)
            self.backup_backend.describe_backup_vault(asked["backupVaultName"])
            kept(self.backup_backend, kind)[asked.pop("backupVaultName")] = asked
            return EmptyResult()

        return answer

    def getting(kind: str) -> Callable[[BackupResponse], ActionResult]:
        def answer(self: BackupResponse) -> ActionResult:
            name = asked_of(self)["backupVaultName"]
            vault = self.backup_backend.describe_backup_vault(name)
            if name not in kept(self.backup_backend, kind):
                raise ResourceNotFoundException(f"Failed reading {kind} of backup vault {name}")
            face = {"BackupVaultName": name, "BackupVaultArn": vault.backup_vault_arn}
            return ActionResult({**face, **kept(self.backup_backend, kind)[name]})

        return answer

    def deleting(kind: str) -> Callable[[BackupResponse], ActionResult]:
        def answer(self: BackupResponse) -> ActionResult:
            kept(self.backup_backend, kind).pop(asked_of(self)["backupVaultName"], None)
            return EmptyResult()

        return answer

    vault = "{0}/backup-vaults/(?P<name>[^/]+)/"
    return undo_all(
        add_paths(moto.backup.urls.url_paths, f"{vault}access-policy$", f"{vault}notification-configuration$"),
        put(
            BackupResponse,
            put_backup_vault_access_policy=putting("policy"), get_backup_vault_access_policy=getting("policy"),
            delete_backup_vault_access_policy=deleting("policy"),
            put_backup_vault_notifications=putting("notifications"), get_backup_vault_notifications=getting("notifications"),
            delete_backup_vault_notifications=deleting("notifications"),
        ),
    )  # fmt: skip


def backup_selections() -> Undo:
    """Selections of a plan, and UpdateBackupPlan."""

    def create_backup_selection(self: BackupResponse) -> ActionResult:
        asked = asked_of(self)
        plan = self.backup_backend.get_backup_plan(asked["backupPlanId"], None)
        key = str(uuid.uuid4())
        made = {
            "SelectionId": key, "BackupPlanId": plan.backup_plan_id, "CreationDate": now(),
            "BackupSelection": asked["BackupSelection"], "CreatorRequestId": asked.get("CreatorRequestId"),
        }  # fmt: skip
        kept(self.backup_backend, "selections")[key] = made
        return ActionResult(made)

    def get_backup_selection(self: BackupResponse) -> ActionResult:
        return ActionResult(_selection(self))

    def delete_backup_selection(self: BackupResponse) -> ActionResult:
        del kept(self.backup_backend, "selections")[_selection(self)["SelectionId"]]
        return EmptyResult()

    def list_backup_selections(self: BackupResponse) -> ActionResult:
        plan = asked_of(self)["backupPlanId"]
        shown = [
            {**made["BackupSelection"], **made}
            for made in kept(self.backup_backend, "selections").values()
            if made["BackupPlanId"] == plan
        ]
        return ActionResult({"BackupSelectionsList": shown})

    def update_backup_plan(self: BackupResponse) -> ActionResult:
        asked = asked_of(self)
        plan = self.backup_backend.get_backup_plan(asked["backupPlanId"], None)
        fresh = type(plan)(asked["BackupPlan"], plan.creator_request_id, self.backup_backend)
        plan.backup_plan, plan.version_id = fresh.backup_plan, fresh.version_id
        plan.advanced_backup_settings = fresh.advanced_backup_settings
        return ActionResult(plan.to_dict())

    return put(
        BackupResponse, create_backup_selection=create_backup_selection, get_backup_selection=get_backup_selection,
        delete_backup_selection=delete_backup_selection, list_backup_selections=list_backup_selections,
        update_backup_plan=update_backup_plan,
    )  # fmt: skip


def _selection(response: BackupResponse) -> dict[str, Any]:
    key = asked_of(response)["selectionId"]
    found: dict[str, Any] | None = kept(response.backup_backend, "selections").get(key)
    if found is None:
        raise ResourceNotFoundException(f"Failed reading Backup selection {key}")
    return found
