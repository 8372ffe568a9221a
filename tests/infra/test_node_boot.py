"""A node's host takes the volume only when nobody else can hold it, never formats data, and joins the cluster last or not at all.

A host that fails says why before it ends itself; one that joins tells each minute how it, its node and its volume are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "terraform" / "hosts" / "node-boot.sh"
# In raw form. Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-add-user-data.html
USER_DATA_BYTES = 16 * 1024
VOLUME = "vol-0abc"
ME, OLD = "i-me", "i-old"
# One program under many names: it notes each call, and plays AWS on a state that each call may change.
DOUBLE = f"""#!{sys.executable}
import json, os, sys, time
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
state = json.load(open({{state!r}}))
with open({{calls!r}}, "a") as calls:
    calls.write(" ".join([name, *words]) + chr(10))
def answer():
    if name == state.get("fails"):
        sys.exit(1)
    if name == "curl":
        return "token" if "PUT" in words else {ME!r}
    if name != "aws":
        return ""
    if words[0] in ("cloudwatch", "logs") and state.get("hangs"):
        time.sleep(30)
    if words[:2] == ["logs", "put-log-events"]:
        open({{told!r}}, "w").write(sys.stdin.read())
    if words[:2] == ["ec2", "describe-volumes"]:
        return state["holder"] or "None"
    if words[:2] == ["ec2", "describe-instances"]:
        past = state["states"]
        now = past.pop(0) if len(past) > 1 else past[0]
        if now.startswith("error:"):
            sys.stderr.write("An error occurred (" + now[6:] + ") when calling DescribeInstances")
            json.dump(state, open({{state!r}}, "w"))
            sys.exit(254)
        return now
    if words[:2] == ["ec2", "attach-volume"]:
        state["holder"] = {ME!r}
    if words[:2] == ["ec2", "detach-volume"]:
        state["holder"] = None
    return ""
print(answer())
json.dump(state, open({{state!r}}, "w"))
"""


@dataclass
class Host:
    """A fresh host of a node."""

    folder: Path
    state: dict[str, Any] = field(default_factory=lambda: {"holder": None, "states": ["running"]})

    @property
    def device(self) -> Path:
        """The volume, which is a file here: real mkfs and blkid look at it."""
        return self.folder / "dev" / f"nvme-Amazon_Elastic_Block_Store_{VOLUME.replace('-', '')}"

    @property
    def calls(self) -> list[str]:
        """What was called, in order."""
        return (self.folder / "calls").read_text().splitlines()

    @property
    def told(self) -> list[dict[str, Any]]:
        """The events that it wrote to CloudWatch Logs."""
        events: list[dict[str, Any]] = json.loads((self.folder / "told").read_text())
        return events

    @property
    def joined(self) -> bool:
        """Whether it told the agent to start."""
        return "systemctl start --no-block ecs.service" in self.calls

    def boot(self, *, patience: int = 3, tell_within: int = 10) -> int:
        """Run the script; returns its exit code."""
        programs = self.folder / "bin"
        programs.mkdir()
        (self.folder / "state.json").write_text(json.dumps(self.state))
        double = DOUBLE
        for name in ("state", "calls", "told"):
            double = double.replace(
                f"{{{name}!r}}", repr(str(self.folder / name) + (".json" if name == "state" else ""))
            )
        for name in ("aws", "curl", "systemctl", "shutdown", "mount", "chown", "dnf"):
            (programs / name).write_text(double)
            (programs / name).chmod(0o755)
        environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin", "CLUSTER": "xai", "SERVICE": "xai-node-1",
            "VOLUME_ID": VOLUME, "API_PORT": "8080", "AWS_DEFAULT_REGION": "us-east-1", "ROOT": str(self.folder / "root"),
            "MOUNT": str(self.folder / "mount"), "DEVICES": str(self.folder / "dev"), "PATIENCE": str(patience), "PAUSE": "1", "LOOK": str(8 << 20),
            "TELL_WITHIN": str(tell_within), "STOP_SECONDS": "120", "LOG_GROUP": "/ecs/xai/hosts",
        }  # fmt: skip
        done = subprocess.run(
            ["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        (self.folder / "said").write_text(done.stdout + done.stderr)
        return done.returncode


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host beside a blank volume that nobody holds."""
    for program, package in {"mkfs.ext4": "e2fsprogs", "jq": "jq"}.items():
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{program} is not here; Debian's package {package} has it")
    made = Host(tmp_path)
    made.device.parent.mkdir()
    made.device.write_bytes(bytes(8 << 20))
    return made


def test_blank_volume_is_formatted_mounted_and_the_host_joins_last(host: Host) -> None:
    """The first boot of a new node."""
    assert host.boot() == 0
    assert host.device.read_bytes()[0x438:0x43A] == b"\x53\xef"  # ext4's magic number
    assert any(call.startswith(f"mount -o noatime,nodev,nosuid {host.device}") for call in host.calls)
    assert host.calls[0] == "systemctl mask --runtime ecs.service"
    assert host.calls[-1] == "systemctl start --no-block ecs.service"
    config = (host.folder / "root/etc/ecs/ecs.config").read_text()
    assert "ECS_CLUSTER=xai\n" in config
    assert 'ECS_INSTANCE_ATTRIBUTES={"xai.node": "xai-node-1"}\n' in config
    assert "shutdown -h now" not in host.calls


def test_data_on_the_volume_is_left_as_it_is(host: Host) -> None:
    """A replacement's boot formats nothing."""
    subprocess.run(
        ["mkfs.ext4", "-q", str(host.device)],
        check=True,
        env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )
    before = host.device.read_bytes()
    assert host.boot() == 0
    assert host.device.read_bytes() == before
    assert host.joined


def test_volume_that_is_neither_blank_nor_known_is_never_formatted(host: Host) -> None:
    """What blkid cannot name may be somebody's data."""
    host.device.write_bytes(b"\0" * 4096 + b"precious" + bytes(8 << 20))
    before = host.device.read_bytes()
    assert host.boot() != 0
    assert host.device.read_bytes() == before
    assert not host.joined
    assert host.calls[-1] == "shutdown -h now"


@pytest.mark.parametrize("device", ["/proc/self/mem", "short", "wiped"])
def test_volume_that_cannot_be_read_or_had_data_further_on_is_never_formatted(host: Host, device: str) -> None:
    """An error of reading is not a zero, nor is a device that is shorter than what is looked at, nor a head that was wiped."""
    if device == "short":
        host.device.write_bytes(bytes(1 << 20))
    elif device == "wiped":
        content = bytearray(8 << 20)
        content[(8 << 20) - 512 : (8 << 20) - 508] = b"data"
        host.device.write_bytes(content)
    else:
        host.device.unlink()
        host.device.symlink_to(device)
    assert host.boot() != 0
    assert not host.joined
    assert "formatting it" not in (host.folder / "said").read_text()


def test_volume_is_taken_by_force_only_when_the_other_host_is_terminated(host: Host) -> None:
    """Running, then shutting down, then terminated: only the last lets go."""
    host.state = {"holder": OLD, "states": ["running", "shutting-down", "terminated"]}
    assert host.boot(patience=10) == 0
    order = [call.split()[2] for call in host.calls if call.startswith("aws ec2")]
    assert order.count("describe-instances") == 3
    assert order.index("detach-volume") > max(i for i, call in enumerate(order) if call == "describe-instances")
    # From that host alone: if another one has taken it meanwhile, AWS refuses.
    assert any("detach-volume" in call and f"--instance-id {OLD} --force" in call for call in host.calls)
    assert host.joined


def test_host_that_aws_has_forgotten_is_terminated(host: Host) -> None:
    """An hour after its end AWS knows it no more."""
    host.state = {"holder": OLD, "states": ["error:InvalidInstanceID.NotFound"]}
    assert host.boot() == 0
    assert host.joined


@pytest.mark.parametrize(
    "state", ["running", "stopping", "stopped", "error:UnauthorizedOperation", "error:RequestLimitExceeded"]
)
def test_volume_of_a_host_that_may_be_alive_is_never_taken(host: Host, state: str) -> None:
    """Also when AWS does not answer: then this host ends itself, and the next one asks again."""
    host.state = {"holder": OLD, "states": [state]}
    assert host.boot() != 0
    assert not [call for call in host.calls if "detach-volume" in call or "attach-volume" in call]
    assert not host.joined
    assert not (host.folder / "root/etc/ecs/ecs.config").exists()
    assert host.calls[-1] == "shutdown -h now"
    assert f"{VOLUME} was not free within 3 s" in (host.folder / "said").read_text()


def test_volume_whose_device_never_appears_keeps_the_host_out(host: Host) -> None:
    """Nothing joins the cluster without the data."""
    host.device.unlink()
    assert host.boot() != 0
    assert not host.joined
    assert host.calls[-1] == "shutdown -h now"


def test_restarted_host_finds_its_volume_and_joins(host: Host) -> None:
    """It is attached already."""
    host.state["holder"] = ME
    assert host.boot() == 0
    assert not [call for call in host.calls if "attach-volume" in call]
    assert host.joined


def test_docker_gives_containers_as_long_as_ecs_does(host: Host) -> None:
    """A host that is replaced while it runs ends its node as a rollout does; what Docker was told before stays."""
    daemon = host.folder / "root/etc/docker/daemon.json"
    daemon.parent.mkdir(parents=True)
    daemon.write_text('{"log-driver": "journald", "shutdown-timeout": 15}')
    assert host.boot() == 0
    assert json.loads(daemon.read_text()) == {"log-driver": "journald", "shutdown-timeout": 120}
    stop = (host.folder / "root/etc/systemd/system/docker.service.d/stop.conf").read_text()
    assert stop == "[Service]\nTimeoutStopSec=150\n"
    assert "ECS_CONTAINER_STOP_TIMEOUT=120s\n" in (host.folder / "root/etc/ecs/ecs.config").read_text()
    restart = host.calls.index("systemctl restart docker.service")
    assert host.calls[restart - 1] == "systemctl daemon-reload"
    assert restart < host.calls.index("systemctl unmask --runtime ecs.service")


def test_docker_without_a_configuration_gets_one(host: Host) -> None:
    """As the image of today has none."""
    assert host.boot() == 0
    assert json.loads((host.folder / "root/etc/docker/daemon.json").read_text()) == {"shutdown-timeout": 120}


def test_docker_that_was_told_nonsense_keeps_the_host_out(host: Host) -> None:
    """Its configuration is left for who reads it, not overwritten."""
    daemon = host.folder / "root/etc/docker/daemon.json"
    daemon.parent.mkdir(parents=True)
    daemon.write_text("{nonsense")
    assert host.boot() != 0
    assert daemon.read_text() == "{nonsense"
    assert not host.joined
    assert host.calls[-1] == "shutdown -h now"


def test_images_are_taken_from_the_host_and_old_ones_still_removed(host: Host) -> None:
    """The agent removes none under prefer-cached, and the root disk fills."""
    host.boot()
    assert "ECS_IMAGE_PULL_BEHAVIOR=once\n" in (host.folder / "root/etc/ecs/ecs.config").read_text()


def test_failed_boot_leaves_its_reason(host: Host) -> None:
    """A metric for the alarm, and what was said for who reads it; then the host ends itself."""
    host.device.write_bytes(b"\0" * 4096 + b"precious" + bytes(8 << 20))
    before = time.time() * 1000
    assert host.boot() != 0
    told = [call for call in host.calls if call.startswith(("aws cloudwatch", "aws logs"))]
    assert told == [
        "aws cloudwatch put-metric-data --namespace XAI/Chain --metric-name BootFailed --value 1 --dimensions Cluster=xai,Service=xai-node-1",
        f"aws logs create-log-stream --log-group-name /ecs/xai/hosts --log-stream-name xai-node-1/{ME}",
        f"aws logs put-log-events --log-group-name /ecs/xai/hosts --log-stream-name xai-node-1/{ME} --log-events file:///dev/stdin",
    ]
    (event,) = host.told
    assert before - 1000 <= event["timestamp"] <= time.time() * 1000
    assert f"node-boot: {VOLUME} has no file system that is known, and is not blank" in event["message"]
    assert event["message"].endswith("node-boot: failed with 1: this host ends itself\n")
    assert host.calls[-1] == "shutdown -h now"


def test_what_programs_said_is_in_the_reason(host: Host) -> None:
    """Their errors, not our words alone."""
    (host.folder / "mount").write_text("a file where a folder must be")
    assert host.boot() != 0
    assert "mkdir: " in host.told[0]["message"]


@pytest.mark.parametrize("trouble", [{"hangs": True}, {"fails": "aws"}, {"fails": "curl"}], ids=str)
def test_nothing_keeps_a_failed_host_from_ending_itself(host: Host, trouble: dict[str, Any]) -> None:
    """Neither an AWS that does not answer, nor one that answers with errors, nor a host that does not know its own name."""
    host.device.unlink()
    host.state |= trouble
    started = time.monotonic()
    assert host.boot(tell_within=1) != 0
    assert time.monotonic() - started < 20
    assert not host.joined
    assert host.calls[-1] == "shutdown -h now"


def test_host_that_does_not_know_its_name_tells_all_the_same(host: Host) -> None:
    """Under its node's name."""
    host.state["fails"] = "curl"
    assert host.boot() != 0
    assert any("--log-stream-name xai-node-1/unknown" in call for call in host.calls)
    assert "node-boot: failed with" in host.told[0]["message"]


def test_boot_that_succeeds_tells_of_no_failure(host: Host) -> None:
    """The alarm on BootFailed stays quiet."""
    assert host.boot() == 0
    assert not [call for call in host.calls if "BootFailed" in call or call.startswith("aws logs")]


def test_user_data_is_within_what_ec2_takes() -> None:
    """The script and the lines that nodes.tf writes before it, with names as long as names get."""
    nodes = (SCRIPT.parents[1] / "nodes.tf").read_text()
    found = re.search(
        r'user_data = base64encode\(join\("\\n", \[\n(.*?)file\("\$\{path.module\}/hosts/node-boot.sh"\)',
        nodes,
        re.DOTALL,
    )
    assert found is not None
    head, values = re.subn(r"\$\{[^}]*\}", "x" * 128, found[1])
    assert values >= 7
    assert len(head) + SCRIPT.stat().st_size <= USER_DATA_BYTES


@dataclass(frozen=True, kw_only=True)
class Minute:
    """How a host is when it tells CloudWatch."""

    agent: bool = True
    stats: str | None = '{"chain_height": 41, "peers": 3, "is_mining": true}'
    used: str = "37%"


HOST_METRICS = {"DiskFreePercent": 63, "RootDiskFreePercent": 88}


@pytest.mark.parametrize(
    ("minute", "metrics"),
    [
        (Minute(), {"BlockHeight": 41, "Peers": 3, **HOST_METRICS, "AgentUp": 1}),
        (Minute(stats=None), {**HOST_METRICS, "AgentUp": 1}),
        (Minute(stats="<html>"), {**HOST_METRICS, "AgentUp": 1}),
        (Minute(stats='{"chain_height": 41, "peers": "many"}'), {"BlockHeight": 41, **HOST_METRICS, "AgentUp": 1}),
        (Minute(stats="[41]"), {**HOST_METRICS, "AgentUp": 1}),
        (Minute(agent=False), {**HOST_METRICS, "AgentUp": 0}),
        (Minute(used=""), {"BlockHeight": 41, "Peers": 3, "RootDiskFreePercent": 88, "AgentUp": 1}),
    ],
    ids=str,
)
def test_published_metrics_are_what_the_alarms_ask_for(
    host: Host, tmp_path: Path, minute: Minute, metrics: dict[str, float]
) -> None:
    """Height and peers of the node, room on both disks, whether the agent answers; what is not known is left out, and nothing else."""
    host.boot()
    script = host.folder / "root/usr/local/bin/xai-metrics"
    programs, sent = tmp_path / "metrics", tmp_path / "sent"
    programs.mkdir()
    tasks = (
        '{"Tasks": [{"Family": "xai-node-1-smoke", "KnownStatus": "RUNNING", "Containers": [{"Networks": [{"IPv4Addresses": ["10.0.0.9"]}]}]},'
        '{"Family": "xai-node-1", "KnownStatus": "RUNNING", "Containers": [{"Networks": [{"IPv4Addresses": ["10.0.0.5"]}]}]}]}'
    )
    answers = {"*:51678/v1/metadata": "{}", "*:51678/v1/tasks": tasks} if minute.agent else {}
    if minute.stats is not None:
        answers["*10.0.0.5:8080/stats"] = minute.stats
    cases = " ".join(f"{asked}) echo '{said}';;" for asked, said in answers.items())
    for name, body in {
        "curl": f'case "$*" in {cases} *) exit 7;; esac',
        "aws": f'echo "$*" >{sent}; cat /dev/stdin >>{sent}',
        "df": f"""case "$*" in *' /') echo ' 12%';; *) echo 'Use%'; echo ' {minute.used}';; esac""",
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    subprocess.run([str(script)], check=True, env={"PATH": f"{programs}:{os.environ['PATH']}"}, timeout=30)
    call, _, data = sent.read_text().partition("\n")
    assert "put-metric-data --namespace XAI/Chain" in call
    published = json.loads(data)
    wanted = [{"Name": "Cluster", "Value": "xai"}, {"Name": "Service", "Value": "xai-node-1"}]
    assert all(metric["Dimensions"] == wanted for metric in published)
    assert {metric["MetricName"]: metric["Value"] for metric in published} == metrics


def test_script_has_no_finding_of_shellcheck() -> None:
    """Quoting and unset variables are what ruins such a night."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "shellcheck"), "-s", "bash", str(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
