"""The fence of a node's volume: one process at a time, whatever the scheduler does.

ECS starts a replacement while the stopped task is still inside its stopTimeout, and two nodes on one data directory
corrupt it. This runs as the container's entryPoint (`["python3", "-c", <this text>]`, the command behind it): it takes an
exclusive lock on $XAI_DATA_DIR/.fence, starts the command with the lock inherited, so that the lock lives exactly as
long as the node does, turns TERM into the INT that the node understands, and ends with the node's own exit code.
Standard library only; Linux.
"""

import fcntl
import os
import signal
import subprocess
import sys


def main(argv):
    """Hold the fence for the life of the command."""
    lock = open(os.path.join(os.environ.get("XAI_DATA_DIR", "."), ".fence"), "a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
        print("fence: another process holds this volume; waiting for it to end", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    child, asked = None, []

    def interrupt(_signal, _frame):
        asked.append(True)
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    if asked:
        return 143
    try:
        child = subprocess.Popen(
            argv, pass_fds=(lock.fileno(),), preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        )
    except OSError as error:
        print(f"fence: could not start {argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
        return 127  # as a shell says it
    if asked and child.poll() is None:  # asked to stop while it was being started
        child.send_signal(signal.SIGINT)
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
