"""What a figure stands beside: the machine it was taken on."""

import os
import platform
import re
from pathlib import Path

from .children import Failed, run


def describe():
    cpu = re.search(r"^model name\s*:\s*(.*)$", read("/proc/cpuinfo"), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", read("/proc/meminfo"), re.MULTILINE)
    return {
        "cores": os.cpu_count(),
        "cpu": cpu.group(1) if cpu else platform.processor() or "unknown",
        "memory_gib": int(memory.group(1)) / 1024 / 1024 if memory else None,
        "kernel": f"{platform.system()} {platform.release()}",
        "rustc": version(["rustc", "--version"]),
        "load": os.getloadavg()[0],
    }


def commit(directory):
    """Which state of the repository was measured."""
    try:
        head = run(["git", "rev-parse", "--short=12", "HEAD"], cwd=directory).strip()
        changed = run(["git", "status", "--porcelain", "--", "crates", "migrations"], cwd=directory)
        return head + (" with changes" if changed.strip() else "")
    except (Failed, FileNotFoundError):
        return "unknown"


def version(command):
    try:
        return run(command).strip()
    except (Failed, FileNotFoundError):
        return "unknown"


def read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""
