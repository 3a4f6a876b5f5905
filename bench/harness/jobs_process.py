"""Running contestants: to their end, or talking to them while they run."""

import json
import os
import signal
import subprocess
import threading
import time
from urllib.parse import urlencode

from .children import Failed, _die_with_parent


def environment(database):
    """`DATABASE_URL` as all drivers read it, and the same for libpq."""
    where = urlencode({"host": database.directory, "port": database.port, "user": "postgres"})
    return database.environment("postgres") | {
        "DATABASE_URL": f"postgresql:///{database.database}?{where}",
        "NODE_ENV": "production",
        "NO_COLOR": "1",
    }


def arguments(options):
    parts = []
    for name, value in options.items():
        if value is True:
            parts.append(f"--{name}")
        elif value is not None and value is not False:
            parts.append(f"--{name}={value}")
    return parts


class Talker:
    """A contestant that runs from `with` to its end; its lines are read as they come."""

    def __init__(self, contestant, database, command, **options):
        self.name = f"{contestant.name} {command}"
        self._command = [*contestant.command, command, *arguments(options)]
        self._environment = environment(database)
        self._lines = []
        self._arrived = threading.Condition()
        self._ended = False

    def __enter__(self):
        self.process = subprocess.Popen(
            [str(part) for part in self._command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=self._environment, start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        self._complaints = []
        for read in (self._read, self._read_complaints):
            threading.Thread(target=read, daemon=True).start()
        return self

    def __exit__(self, *_):
        if self.process.stdin and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            # Libraries may print lines of their own.
            if line.startswith("{") and '"event"' in line:
                self._add(json.loads(line))
        with self._arrived:
            self._ended = True
            self._arrived.notify_all()

    def _add(self, line):
        with self._arrived:
            self._lines.append(line)
            self._arrived.notify_all()

    def _read_complaints(self):
        for line in self.process.stderr:
            self._complaints = [*self._complaints[-9:], line]

    def complaints(self):
        return "".join(self._complaints).strip()

    def say(self):
        """A line: the order to go on."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError as broken:
            raise Failed(f"{self.name} is gone: {self.complaints()}") from broken

    def last(self, event):
        """The newest line of this event, or None."""
        with self._arrived:
            return next((line for line in reversed(self._lines) if line["event"] == event), None)

    def wait(self, event, timeout, count=1):
        """Its line number `count`."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while True:
                found = [line for line in self._lines if line["event"] == event]
                if len(found) >= count:
                    return found[count - 1]
                if self._ended:
                    time.sleep(0.05)
                    raise Failed(f"{self.name} ended without {event}: {self.complaints()}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failed(f"{self.name}: no {event} after {timeout} s: {self.complaints()}")
                self._arrived.wait(left)

    def check(self):
        if self._ended and self.process.poll():
            raise Failed(f"{self.name} ended with {self.process.returncode}: {self.complaints()}")


class Counter(Talker):
    """Asks how many jobs are not finished."""

    def __init__(self, contestant, database, queues):
        super().__init__(contestant, database, "pending", queues=queues)
        self._asked = 0

    def ask(self):
        """The line of the answer: `begin` is when the contestant asked the database."""
        self._asked += 1
        self.say()
        return self.wait("pending", 60, self._asked)


def carry_out(contestant, database, command, event, timeout=300, **options):
    """Runs a sub-command to its end and gives its line."""
    with Talker(contestant, database, command, **options) as talker:
        line = talker.wait(event, timeout)
        # It closes its connections itself, so that their statistics arrive.
        talker.process.stdin.close()
        try:
            talker.process.wait(30)
        except subprocess.TimeoutExpired:
            pass
        return line
