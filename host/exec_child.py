"""Become another program that dies with the process that started it.

Run by `host.children` as `python -I -S exec_child.py <signal> <parent pid> <command> [argument …]`. It asks
the kernel for that signal at the parent's death, and then becomes the command; the request outlives the exec.
A program of its own, because code between fork and exec (`preexec_fn`) is unsafe in a process with threads.

It exits with 127 if the command cannot be started, and with 0, having started nothing, if the parent is gone.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(arguments: list[str]) -> int:
    """Exec `arguments[2:]`; returns an exit status only where that did not happen."""
    death_signal, parent_pid, command = int(arguments[0]), int(arguments[1]), arguments[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        sys.stderr.write(f"cannot ask for a signal at the parent's death: {os.strerror(ctypes.get_errno())}\n")
        return 127
    # A parent that died before the request was made sends nothing any more.
    if os.getppid() != parent_pid:
        return 0
    # Python ignores these two at startup, and an ignored signal stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606  (no shell is the point)
    except OSError as error:
        sys.stderr.write(f"cannot start {command[0]}: {error}\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
