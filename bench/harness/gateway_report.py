"""The results as markdown."""

import json

TITLES = {
    "pgbench-plain": "pgbench, plain transaction",
    "pgbench-same": "pgbench, same statements as ours",
    "ours-jwt": "**rolegate**, JWT",
    "ours-token": "**rolegate**, API token",
    "ours-anonymous": "**rolegate**, anonymous",
    "bare": "bare axum handler",
    "postgraphile": "PostGraphile",
}

# Runs of the same thing on this kind of machine differ by this much.
NOISE = 0.05


def number(value):
    return f"{value:,.0f}"


def ratio_text(value):
    return f"{value:.2f}"


def spread_text(spread, text=number):
    if spread is None:
        return "–"
    return f"{text(spread.median)} ({text(spread.least)}–{text(spread.most)})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def render(result):
    samples = result.samples
    parts = [f"# Calls through the gateway, {result.date}", machine(result)]
    parts.append("## Targets\n\n" + targets(result))
    parts.append(
        "## Calls per second\n\nMedian of the rounds (least–most); –: more clients than the server "
        "has connections.\n\n" + throughput(result)
    )
    parts.append(
        "## Latency\n\nMilliseconds, p50 / p99 / slowest; of each the median of the rounds. "
        "pgbench prints a mean only.\n\n" + latency(result)
    )
    parts.append(
        "## Ratios\n\nEach taken within a round; median of the rounds (least–most). Over 1 ours is "
        "faster.\n\n" + ratios(result)
    )
    parts.append("## Batches\n\n" + batches(result))
    parts.append("## Memory\n\n" + memory(result))
    parts.append("## Errors\n\n" + errors(samples, result.batch_samples))
    return "\n\n".join(parts) + "\n"


def machine(result):
    facts = result.machine
    postgraphile, node = result.postgraphile or ("not run", "–")
    rows = [
        ("machine", f"{facts['cores']} cores, {facts['memory_gib']:.0f} GiB, {facts['cpu']}"),
        ("kernel", facts["kernel"]),
        ("load average before the start", f"{facts['load']:.2f}"),
        ("PostgreSQL", result.postgres_version),
        ("pgbench", result.pgbench_version),
        ("rustc", facts["rustc"]),
        ("rolegate", f"commit {result.commit}{result.build_note}"),
        ("PostGraphile", f"{postgraphile}, Node {node}"),
        ("durability", "fsync, synchronous_commit and full_page_writes on, for all"),
        ("rounds", f"{result.rounds}, alternating, {result.seconds:g} s a cell after "
                   f"{result.warm_up:g} s of warm-up"),
        ("command", f"`{result.command}`"),
    ]
    note = (
        "Load generator, servers and PostgreSQL share the cores; everything is on loopback. What is "
        "compared with what, and with which settings: [README](../README.md)."
    )
    if result.sync_note:
        note += " " + result.sync_note
    return table(("", ""), rows) + "\n\n" + note


def targets(result):
    samples, at = result.samples, result.reference
    most = max(result.connections)
    rows = []

    def row(what, target, spread, text, good):
        if spread is None:
            rows.append((what, target, "–", "not measured"))
            return
        verdict = "reached" if good(spread.median) else "**missed**"
        rows.append((what, target, spread_text(spread, text), verdict))

    row(
        f"JWT, {at} connections: calls/s over pgbench with the same statements",
        "at least 0.80",
        samples.ratio(("ours-jwt", at), ("pgbench-same", at)),
        ratio_text,
        lambda value: value >= 0.8,
    )
    row(
        f"JWT, {at} connections: p99 over p50",
        "at most 4",
        result.tail("ours-jwt", at),
        ratio_text,
        lambda value: value <= 4,
    )
    if most > at:
        row(
            f"JWT: calls/s at {most} over {at} connections",
            f"no loss (at least {1 - NOISE:.2f}: noise)",
            samples.ratio(("ours-jwt", most), ("ours-jwt", at)),
            ratio_text,
            lambda value: value >= 1 - NOISE,
        )
    row(
        f"{at} connections: API token over JWT",
        "within 5 percent",
        samples.ratio(("ours-token", at), ("ours-jwt", at)),
        ratio_text,
        lambda value: value >= 0.95,
    )
    resident, calls = result.resident[0], result.calls
    if calls >= 1_000_000:
        verdict = "reached" if resident <= 60 else "**missed**"
    else:
        verdict = f"not measured: only {calls:,} calls (--million)"
    rows.append(
        ("resident memory after a million calls", "at most 60 MB", f"{resident:.1f} MB", verdict)
    )
    return table(("", "target", "measured", ""), rows)


def throughput(result):
    head = ["", *(f"{count} conn." for count in result.connections)]
    rows = [
        [TITLES[name], *(spread_text(result.samples.spread(name, c)) for c in result.connections)]
        for name in result.names
    ]
    return table(head, rows)


def latency(result):
    def cell(name, count):
        def of(key):
            spread = result.samples.spread(name, count, key)
            return None if spread is None else f"{spread.median / 1000:.2f}"

        if of("mean_us"):
            return f"mean {of('mean_us')}"
        return f"{of('p50_us')} / {of('p99_us')} / {of('max_us')}" if of("p50_us") else "–"

    head = ["", *(f"{count} conn." for count in result.connections)]
    rows = [[TITLES[name], *(cell(name, c) for c in result.connections)] for name in result.names]
    rows.append(
        ["**rolegate**, JWT: p99 over p50"]
        + [spread_text(result.tail("ours-jwt", c), ratio_text) for c in result.connections]
    )
    return table(head, rows)


def ratios(result):
    samples = result.samples
    head = ["", *(f"{count} conn." for count in result.connections)]
    rows = []
    for below in ("pgbench-same", "pgbench-plain", "bare", "postgraphile"):
        if below in result.names:
            cells = [samples.ratio(("ours-jwt", c), (below, c)) for c in result.connections]
            title = f"JWT over {TITLES[below]}"
            rows.append([title, *(spread_text(cell, ratio_text) for cell in cells)])
    for above in ("ours-token", "ours-anonymous"):
        cells = [samples.ratio((above, c), ("ours-jwt", c)) for c in result.connections]
        title = f"{TITLES[above].split(', ')[1]} over JWT"
        rows.append([title, *(spread_text(cell, ratio_text) for cell in cells)])
    text = table(head, rows)
    for script in ("pgbench-same", "pgbench-plain"):
        best = result.best(script)
        spread = best and samples.ratio(("ours-jwt", result.reference), (script, best))
        if spread:
            text += (
                f"\n\nJWT at {result.reference} connections over the best of {TITLES[script]} "
                f"({best} clients): {spread_text(spread, ratio_text)}."
            )
    return text


def batches(result):
    """A request with many calls against as many requests with one."""
    samples, size = result.batch_samples, result.batch_size
    if samples is None:
        return "Not measured."
    rows = []
    for connections in result.batch_connections:
        single = samples.spread("single", connections)
        rows.append((f"single calls, {connections} conn.", spread_text(single), "1"))
        for name in ("batch", "atomic batch"):
            rows.append((
                f"{name} of {size}, {connections} conn.",
                spread_text(samples.spread(name, connections)),
                spread_text(
                    samples.ratio((name, connections), ("single", connections)), ratio_text
                ),
            ))
    return table(("JWT", "calls/s", "over single calls"), rows)


def memory(result):
    resident, peak = result.resident
    text = (
        f"The gateway's process: {resident:.1f} MB resident after {result.calls:,} measured good calls "
        f"(and those of the warm-ups), {peak:.1f} MB at its peak. PostgreSQL's processes are not in it; the "
        "process is `rolegate dev`, which also looks after the cluster."
    )
    if not result.million:
        text += " Taken at the end of the run, not after a separate million (`--million`)."
    return text


def errors(*all_samples):
    rows = []
    for samples in all_samples:
        for name, connections, count, good, details in samples.errors() if samples else ():
            told = json.dumps(details).replace("|", "\\|")
            title = TITLES.get(name, name)
            rows.append((title, connections, number(count), number(good), f"`{told}`"))
    if not rows:
        return "None: every answer had status 200 and the expected content."
    note = "Answers without status 200 or without the expected content. They count as no call above."
    return note + "\n\n" + table(("", "conn.", "errors", "good", "first"), rows)
