"""A node's host takes the volume only when nobody else can hold it, never formats data, and joins the cluster last or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "terraform" / "hosts" / "node-boot.sh"
VOLUME = "vol-0abc"
ME, OLD = "i-me", "i-old"
# One program under many names: it notes each call, and plays AWS on a state that each call may change.
DOUBLE = f"""#!{sys.executable}
import json, os, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
state = json.load(open({{state!r}}))
with open({{calls!r}}, "a") as calls:
    calls.write(" ".join([name, *words]) + chr(10))
def answer():
    if name == "curl":
        return "token" if "PUT" in words else {ME!r}
    if name != "aws":
        return ""
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
    def joined(self) -> bool:
        """Whether it told the agent to start."""
        return "systemctl start --no-block ecs.service" in self.calls

    def boot(self, *, patience: int = 3) -> int:
        """Run the script; returns its exit code."""
        programs = self.folder / "bin"
        programs.mkdir()
        paths = {"state": str(self.folder / "state.json"), "calls": str(self.folder / "calls")}
        (self.folder / "state.json").write_text(json.dumps(self.state))
        for name in ("aws", "curl", "systemctl", "shutdown", "mount", "chown", "dnf", "jq"):
            (programs / name).write_text(
                DOUBLE.replace("{state!r}", repr(paths["state"])).replace("{calls!r}", repr(paths["calls"]))
            )
            (programs / name).chmod(0o755)
        environment = {
            **os.environ, "PATH": f"{programs}:{os.environ['PATH']}:/usr/sbin:/sbin", "CLUSTER": "xai", "SERVICE": "xai-node-1",
            "VOLUME_ID": VOLUME, "API_PORT": "8080", "AWS_DEFAULT_REGION": "us-east-1", "ROOT": str(self.folder / "root"),
            "MOUNT": str(self.folder / "mount"), "DEVICES": str(self.folder / "dev"), "PATIENCE": str(patience), "PAUSE": "1",
        }  # fmt: skip
        done = subprocess.run(
            ["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        (self.folder / "said").write_text(done.stdout + done.stderr)
        return done.returncode


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host beside a blank volume that nobody holds."""
    if shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("mkfs.ext4 is not here; Debian's package e2fsprogs has it")
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


def test_volume_is_taken_by_force_only_when_the_other_host_is_terminated(host: Host) -> None:
    """Running, then shutting down, then terminated: only the last lets go."""
    host.state = {"holder": OLD, "states": ["running", "shutting-down", "terminated"]}
    assert host.boot(patience=10) == 0
    order = [call.split()[2] for call in host.calls if call.startswith("aws ec2")]
    assert order.count("describe-instances") == 3
    assert order.index("detach-volume") > max(i for i, call in enumerate(order) if call == "describe-instances")
    assert any("detach-volume" in call and "--force" in call for call in host.calls)
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


def test_published_metrics_are_what_the_alarms_ask_for(host: Host, tmp_path: Path) -> None:
    """Height and peers of the node, room on the volume; of a node that says nothing the room alone."""
    jq = shutil.which("jq")
    if jq is None:
        pytest.skip("jq is not here; Debian's package jq has it")
    host.boot()
    script = host.folder / "root/usr/local/bin/xai-metrics"
    programs, sent = tmp_path / "metrics", tmp_path / "sent"
    programs.mkdir()
    stats = '{"chain_height": 41, "peers": 3, "is_mining": true}'
    tasks = (
        '{"Tasks": [{"Family": "xai-node-1-smoke", "KnownStatus": "RUNNING", "Containers": [{"Networks": [{"IPv4Addresses": ["10.0.0.9"]}]}]},'
        '{"Family": "xai-node-1", "KnownStatus": "RUNNING", "Containers": [{"Networks": [{"IPv4Addresses": ["10.0.0.5"]}]}]}]}'
    )
    curl = f"case \"$*\" in *51678*) echo '{tasks}';; *10.0.0.5:8080/stats*) [ -z \"$MUTE\" ] && echo '{stats}' || exit 7;; *) exit 7;; esac"
    for name, body in {
        "curl": curl,
        "aws": f'echo "$*" >{sent}; cat /dev/stdin >>{sent}',
        "df": "printf 'Use%%\\n 37%%\\n'",
    }.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)

    def published(mute: str) -> dict[str, float]:
        subprocess.run(
            [str(script)], check=True, env={"PATH": f"{programs}:{os.environ['PATH']}", "MUTE": mute}, timeout=30
        )
        call, _, data = sent.read_text().partition("\n")
        assert "put-metric-data --namespace XAI/Chain" in call
        metrics = json.loads(data)
        wanted = [{"Name": "Cluster", "Value": "xai"}, {"Name": "Service", "Value": "xai-node-1"}]
        assert all(metric["Dimensions"] == wanted for metric in metrics)
        return {metric["MetricName"]: metric["Value"] for metric in metrics}

    assert published("") == {"BlockHeight": 41, "Peers": 3, "DiskFreePercent": 63}
    assert published("1") == {"DiskFreePercent": 63}


def test_script_has_no_finding_of_shellcheck() -> None:
    """Quoting and unset variables are what ruins such a night."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "shellcheck"), "-s", "bash", str(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
