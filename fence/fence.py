"""The fence of a node's volume: one process at a time, whatever the scheduler does.

ECS starts a replacement while the stopped task is still inside its stopTimeout, and two nodes on one data directory
corrupt it. This runs as the container's entryPoint (`["python3", "-c", <this text>]`, the command behind it): it takes an
exclusive lock on $XAI_DATA_DIR/.fence, starts the command with the lock inherited, so that the lock lives exactly as
long as the node does, turns TERM into the INT that the node understands, and ends with the node's own exit code.
Without XAI_DATA_DIR, or without the folder that it names, nothing is started: a fence around nothing is none.
Standard library only; Linux.
"""

import os
import signal
import sys

asked, node, state = [], [], ["waiting"]


def interrupt(number, _frame):
    """TERM and INT become the node's INT; before there is a node they end the fence."""
    if state[0] == "waiting":
        os._exit(128 + number)
    asked.append(number)
    if node and node[0].poll() is None:
        node[0].send_signal(signal.SIGINT)


# At once: as a container's first process we get only those signals that we handle, and a lost TERM means a KILL.
signal.signal(signal.SIGTERM, interrupt)
signal.signal(signal.SIGINT, interrupt)

import fcntl  # noqa: E402
import subprocess  # noqa: E402


def main(argv):
    """Hold the fence for the life of the command."""
    folder = os.environ.get("XAI_DATA_DIR")
    if not folder or not argv:
        return refuse("XAI_DATA_DIR names no volume to fence" if argv else "there is no command to start", 2)
    try:
        lock = open(os.path.join(folder, ".fence"), "a")
    except OSError as error:
        return refuse("no lock in {}: {}".format(folder, error.strerror), 2)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        print("fence: another process holds this volume; waiting for it to end", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    state[0] = "starting"  # from now on a signal is kept for the node
    try:
        node.append(
            subprocess.Popen(
                argv, pass_fds=(lock.fileno(),), preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
            )
        )
    except OSError as error:
        return refuse("could not start {}: {}".format(argv[0], error.strerror), 127)  # as a shell says it
    if asked and node[0].poll() is None:  # asked to stop while it was being started
        node[0].send_signal(signal.SIGINT)
    code = node[0].wait()
    return code if code >= 0 else 128 - code


def refuse(why, code):
    """Say why nothing runs."""
    print("fence: " + why, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
