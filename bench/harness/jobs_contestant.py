"""The contestants of jobs.py: a directory each under bench/jobs, with a contestant.json. Built or
installed from registries at the first run, outside of the sources."""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from .children import Failed, run
from .jobs_result import OURS

BENCH = Path(__file__).resolve().parent.parent
JOBS = BENCH / "jobs"
TARGET = BENCH / "target" / "jobs"
WORK = BENCH / "work" / "jobs"


@dataclass
class Contestant:
    """A command that speaks the protocol of README.md, "Jobs"."""

    name: str
    title: str
    command: list
    directory: Path
    # Another contestant that is measured where only enqueueing counts.
    enqueues_like: str | None = None
    # Only for what a drain of the first shape costs.
    drains_only: bool = False
    about: dict = field(default_factory=dict)

    @property
    def database(self):
        return "bench_" + self.name.replace("-", "_")

    @property
    def template(self):
        return self.database + "_template"


def declared():
    """(name, directory, manifest, entry) of all of them, in the order of their directories."""
    found = []
    for file in sorted(JOBS.glob("*/contestant.json")):
        manifest = json.loads(file.read_text())
        found += [(entry["name"], file.parent, manifest, entry) for entry in manifest["contestants"]]
    return found


def prepare(wanted):
    """Those that are wanted (None: all), built; ours first."""
    known = declared()
    unknown = set(wanted or []) - {name for name, *_ in known}
    if unknown:
        raise Failed(f"no contestant {', '.join(sorted(unknown))}; there are "
                     + ", ".join(name for name, *_ in known))
    builders = {"cargo": cargo, "npm": npm, "pip": pip}
    commands, contestants = {}, {}
    for name, directory, manifest, entry in known:
        if wanted is not None and name not in wanted:
            continue
        if directory not in commands:
            commands[directory] = builders[manifest["build"]](directory, manifest["program"])
        contestants[name] = Contestant(
            name, entry["title"], [*commands[directory], *entry.get("arguments", [])], directory,
            entry.get("enqueues_like"), entry.get("drains_only", False),
        )
    return dict(sorted(contestants.items(), key=lambda item: item[0] != OURS))


def cargo(directory, program):
    """Its own lock file; one target directory for all of them. The lock file of ours has to follow
    the manifests of the workspace, which it depends on: it may change here."""
    locked = [] if directory.name == OURS else ["--locked"]
    environment = os.environ | {"CARGO_TARGET_DIR": str(TARGET)}
    environment.setdefault("CARGO_BUILD_JOBS", "2")
    run(["cargo", "build", "--release", "--quiet", *locked], cwd=directory, env=environment)
    return [TARGET / "release" / program]


def npm(directory, program):
    """`npm ci` of the committed lock file, once for each content of it; its own Node."""
    target = WORK / directory.name
    target.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", ".npmrc", program):
        shutil.copy(directory / name, target / name)
    shutil.copy(JOBS / "node" / "adapter.mjs", target / "adapter-lib.mjs")
    once(target, directory / "package-lock.json",
         lambda: run(["npm", "ci", "--no-audit", "--no-fund"], cwd=target, timeout=580))
    return [target / "node_modules" / "node" / "bin" / "node", target / program]


def pip(directory, program):
    """A virtual environment with the pinned requirements."""
    target = WORK / directory.name
    target.mkdir(parents=True, exist_ok=True)
    environment = target / "venv"

    def install():
        run(["python3", "-m", "venv", "--clear", environment], timeout=120)
        run([environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check",
             "--no-deps", "-r", directory / "requirements.txt"], timeout=580)

    once(target, directory / "requirements.txt", install)
    return [environment / "bin" / "python", directory / program]


def once(target, pinned, install):
    """Unless it was installed from the same pins before."""
    digest = hashlib.sha256(pinned.read_bytes()).hexdigest()
    stamp = target / "installed"
    if stamp.exists() and stamp.read_text() == digest:
        return
    stamp.unlink(missing_ok=True)
    install()
    stamp.write_text(digest)
