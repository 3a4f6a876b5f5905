"""The results of jobs.py as markdown."""

from .gateway_report import number, ratio_text, spread_text, table
from .jobs_result import OURS
from .jobs_targets import targets


def precise(value):
    return f"{value:,.2f}"


def milliseconds(value):
    return f"{value / 1000:,.2f}"


def kilobytes(value):
    return f"{value / 1e6:,.2f}"


def render(result):
    parts = [f"# Job queues, {result.date}", machine(result), "## Targets\n\n" + targets(result)]
    sections = {
        "drain": ("Drain", drain), "single": ("Single transactions", single),
        "latency": ("Pickup of one job on an idle system", latency),
        "pinned": ("Pinned horizon", pinned), "install": ("Installation", install),
    }
    for kind, (title, text) in sections.items():
        if result.has(kind):
            parts.append(f"## {title}\n\n" + text(result))
    parts.append("## Trouble\n\n" + trouble(result))
    return "\n\n".join(parts) + "\n"


def machine(result):
    facts, options = result.machine, result.options
    about = [
        (f"{it.title}{' (ours)' if name == OURS else ''}", it.about["version"])
        for name, it in result.contestants.items()
    ]
    rows = [
        ("machine", f"{facts['cores']} cores, {facts['memory_gib']:.0f} GiB, {facts['cpu']}"),
        ("kernel", facts["kernel"]),
        ("load average before the start", f"{facts['load']:.2f}"),
        ("PostgreSQL", result.postgres_version),
        ("rustc", facts["rustc"]),
        ("repository", f"commit {result.commit}"),
        *about,
        ("durability", "fsync, synchronous_commit and full_page_writes on, for all, but where it says off"),
        ("rounds", f"{options.rounds}, alternating; pinned horizon: {options.pinned_rounds}"),
        ("jobs", f"{options.jobs:,} a drain, cut off after {options.limit:g} s; "
                 f"{options.payload} bytes of JSON each"),
        ("command", f"`{result.command}`"),
    ]
    return table(("", ""), rows) + (
        "\n\nContestants and PostgreSQL share the cores; everything uses the Unix socket. Medians of "
        "the rounds (least–most). What is compared with what, and with which settings: "
        "[README](../README.md)."
    )


def shape_text(shape):
    workers, processes, queues = shape
    return (f"{workers} workers, {processes} process{'es' if processes > 1 else ''}, "
            f"{queues} queue{'s' if queues > 1 else ''}")


def by_contestant(result, cells, head, text=number, key="per_second", names=None):
    """A row for each contestant, a column for each cell."""
    rows = [
        [result.contestants[name].title,
         *(spread_text(result.samples.spread(name, cell, key), text) for cell in cells)]
        for name in names or result.contestants
    ]
    return table(["", *head], rows)


def drain(result):
    cells = [("drain", *shape) for shape in result.shapes]
    head = [shape_text(shape) for shape in result.shapes]
    text = (
        "Jobs per second, from the start of the first job until the database says that none is left. "
        "Workers and connections are those of all processes together.\n\n"
        + by_contestant(result, cells, head)
    )
    if OURS in result.contestants and result.peers():
        rows = [
            [result.contestants[peer].title,
             *(spread_text(result.samples.ratio((OURS, cell), (peer, cell)), ratio_text)
               for cell in cells)]
            for peer in result.peers()
        ]
        text += "\n\nOurs over each, within a round:\n\n" + table(["", *head], rows)
    parts = {
        "wal_both": ("WAL bytes per job, enqueued in bulk and worked off", number),
        "enqueue_wal": ("WAL bytes per job, of that the bulk enqueueing", number),
        "commits": ("Transactions per job, of the work", precise),
        "dead_made": ("Row versions made dead per job, by updates and deletes", precise),
        "dead_left": ("Dead row versions at the end", number),
        "start_seconds": ("Seconds from the order to begin to the first job (not in the rate)", precise),
        "enqueue_per_second": ("Jobs enqueued per second, in bulk", number),
    }
    for key, (title, form) in parts.items():
        text += f"\n\n{title}:\n\n" + by_contestant(result, cells, head, form, key)
    return text


def single(result):
    names = [name for name, it in result.contestants.items() if not it.enqueues_like]
    text = (
        "`begin`, one job or one plain row, `commit`, one after the other on each connection; no worker "
        "runs. Ratio: jobs over plain rows of the same driver, within a round."
    )
    for synchronous in ("on", "off"):
        head, rows = [""], []
        for count in result.options.connections:
            head += [f"{count} conn., ratio", "jobs/s", "plain/s"]
        for name in names:
            row = [result.contestants[name].title]
            for count in result.options.connections:
                job, plain = (("single", synchronous, count, it) for it in (False, True))
                row += [
                    spread_text(result.samples.ratio((name, job), (name, plain)), ratio_text),
                    spread_text(result.samples.spread(name, job)),
                    spread_text(result.samples.spread(name, plain)),
                ]
            rows.append(row)
        text += f"\n\n`synchronous_commit` {synchronous}:\n\n" + table(head, rows)
    shapes = [(synchronous, count) for synchronous in ("on", "off")
              for count in result.options.connections]
    cells = [("single", *shape, False) for shape in shapes]
    head = [f"{synchronous}, {count} conn." for synchronous, count in shapes]
    for key, title, form in (
        ("wal", "WAL bytes per job", number), ("commits", "Transactions per job", precise),
        ("dead_made", "Row versions made dead per job", precise),
    ):
        text += f"\n\n{title}, by `synchronous_commit`:\n\n"
        text += by_contestant(result, cells, head, form, key, names)
    return text


def latency(result):
    rows = []
    for name, it in result.contestants.items():
        def of(key, form=milliseconds):
            return spread_text(result.samples.spread(name, ("latency",), key), form)

        rows.append([
            it.title, of("from_call_p50_us"), of("from_call_p99_us"), of("from_call_max_us"),
            of("from_commit_p50_us"), of("from_commit_p99_us"), of("wal", number),
            of("commits", precise), of("dead_made", precise),
        ])
    head = ["", "p50 ms from the call", "p99", "slowest", "p50 ms from the commit", "p99",
            "WAL bytes per job", "transactions per job", "made dead per job"]
    return (
        "Milliseconds until a job's handler starts: from before `begin` of its transaction, and from "
        "the answer to `commit` (0 if the handler was faster than the answer).\n\n"
        + table(head, rows)
    )


def pinned(result):
    options = result.options
    rows = []
    for name, it in result.contestants.items():
        for held in (False, True):
            cell = ("pinned", held)

            def of(key, form=number):
                return spread_text(result.samples.spread(name, cell, key), form)

            ratio = result.samples.ratio((name, cell), (name, ("pinned", False)))
            rows.append([
                it.title if not held else "pinned", of("per_second"),
                spread_text(ratio, ratio_text) if held else "", of("dead_left"), of("bytes", kilobytes),
                of("depth"), of("left"), of("drain_seconds", precise), of("p50_us", milliseconds),
                of("p99_us", milliseconds), of("wal"), of("commits", precise),
                of("dead_made", precise),
            ])
    head = ["", "jobs/s", "over clean", "dead row versions", "MB of tables", "jobs left at the end",
            "after draining", "seconds to drain", "p50 ms", "p99 ms", "WAL bytes per job",
            "transactions per job", "made dead per job"]
    return (
        f"{options.rate:g} jobs per second for {options.pinned_seconds:g} s, enqueued in bulk every 50 ms; "
        "first without, then with a transaction that has an id and does nothing. Latency is from the "
        "making of the job to its handler.\n\n" + table(head, rows)
    )


def install(result):
    rows = []
    for name, it in result.contestants.items():
        def of(key, form):
            return spread_text(result.samples.spread(name, ("install",), key), form)

        rows.append([it.title, of("seconds", precise), of("objects", number),
                     of("relations", number), of("bytes", kilobytes)])
    return (
        "Into an empty database, with 16 queues where queues are made beforehand. Objects: relations "
        "(with indexes, sequences and TOAST tables) and functions.\n\n"
        + table(["", "seconds", "objects", "of these relations", "MB"], rows)
    )


def trouble(result):
    rows = [
        (result.contestants[name].title, " ".join(map(str, cell)), count,
         (details.get("sample") or "").replace("|", "\\|").replace("\n", " "))
        for name, cell, count, _, details in result.samples.errors()
    ]
    cut = [
        f"{result.contestants[name].title}: {shape_text(cell[1:])}"
        for (name, cell), rounds in result.samples.cells.items()
        if cell[0] == "drain" and any(it.get("whole") is False for it in rounds)
    ]
    text = table(("contestant", "cell", "times", "what"), rows) if rows else "None."
    if cut:
        text += ("\n\nDrains that were cut off by the limit of time (the rate is of the jobs done until "
                 "then):\n\n" + "\n".join(f"- {line}" for line in cut))
    return text
