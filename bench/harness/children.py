"""Processes that the benchmark starts. All of them end with it, however it ends."""

import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """Something the benchmark needs did not work; the text says what."""


def _die_with_parent():
    # Covers the one case that no handler can: the benchmark itself is killed.
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Children:
    """Starts processes, each with its own process group, and stops them in reverse order."""

    def __init__(self, log_dir):
        self.log_dir = log_dir
        self._running = []

    def __enter__(self):
        def stop(number, _frame):
            raise SystemExit(128 + number)

        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, stop)
        return self

    def __exit__(self, *_):
        # A second signal must not keep the rest from being stopped.
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        while self._running:
            self._stop(*self._running.pop())

    def start(self, name, command, env=None, cwd=None, on_stopped=None):
        """Starts a server; its output goes to a file that error messages quote."""
        log = self.log_dir / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self._running.append((name, process, on_stopped))
        return process

    def check(self):
        """Raises if a server has ended by itself."""
        for name, process, _ in self._running:
            if process.poll() is not None:
                raise Failed(f"{name} ended with {process.returncode}:\n{self.tail(name)}")

    def tail(self, name):
        lines = (self.log_dir / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def _stop(self, name, process, on_stopped):
        for number, seconds in ((signal.SIGTERM, 40), (signal.SIGKILL, 10)):
            if process.poll() is not None:
                break
            try:
                if number == signal.SIGKILL:
                    print(f"{name} did not stop in time, killing it", file=sys.stderr)
                    os.killpg(process.pid, number)
                else:
                    process.send_signal(number)
                process.wait(seconds)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
        if on_stopped is not None:
            on_stopped()


def run(command, env=None, cwd=None, stdin=None, timeout=None):
    """Runs a program to its end and gives what it printed."""
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=env,
        cwd=cwd,
        input=stdin,
        timeout=timeout,
        preexec_fn=_die_with_parent,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise Failed(f"{os.path.basename(str(command[0]))} ended with {done.returncode}: {said}")
    return done.stdout
