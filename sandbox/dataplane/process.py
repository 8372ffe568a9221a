"""A container as a real local process: started without a shell, its output kept as log lines."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Tail:
    """The last lines of an output, and how many there were: a program that talks without end must not fill the memory."""

    MOST = 1000

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._lines: deque[str] = deque(maxlen=self.MOST)
        self.total = 0

    def append(self, line: str) -> None:
        """One more line."""
        self._lines.append(line)
        self.total += 1

    def after(self, number: int) -> list[str]:
        """The lines behind the first `number`, as far as they are kept; what is not is said."""
        fresh = self.total - number
        kept = list(self._lines)[-fresh:] if fresh else []
        return [f"({fresh - len(kept)} lines left out)", *kept] if fresh > len(kept) else kept

    def last(self, number: int) -> list[str]:
        """The last lines."""
        return list(self._lines)[-number:]


class ContainerProcess:
    """One running container. Stopping it is what ECS does: TERM to its first process, later KILL to all of it."""

    def __init__(self, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Callable[[str], None]) -> None:
        """Start it; raises OSError when it cannot be executed."""
        self._process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # SIGINT must work in the container even if the sandbox itself was started with it ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._log = log
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"log-{self._process.pid}")
        self._reader.start()

    def exit_code(self) -> int | None:
        """None while it runs; 128 + n when a signal ended it."""
        code = self._process.poll()
        if code is None:
            return None
        self._reader.join(timeout=1.0)
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """SIGTERM to the first process."""
        if self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """SIGKILL to all of it."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait()

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        for line in stream:
            self._log(line.decode(errors="replace").rstrip("\n")[:2000])


def clean_environment(container: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """PATH, HOME and LANG of this machine, the container's environment, and the sandbox's own."""
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return {**inherited, **container, **extra}


def kill_all_under(root: Path) -> None:
    """Kill what containers left behind in sessions of their own: their environment names a folder of ours."""
    mark = str(root).encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue  # it ended meanwhile, or is not ours to look at
