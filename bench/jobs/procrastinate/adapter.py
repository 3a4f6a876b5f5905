"""procrastinate as a contestant of bench/jobs.py: one asyncio worker with W jobs at a time, its
defaults otherwise (LISTEN/NOTIFY; finished jobs stay). The protocol: bench/README.md, "Jobs"."""

import argparse
import asyncio
import json
import os
import sys
import time
from importlib.metadata import version

import procrastinate
import psycopg

BULK = 2000
PROGRESS = 0.01
PACE = 0.05
PATIENCE = 20
WARM_UP = 10
PLAIN_INSERT = (
    "insert into bench_plain (queue, kind, payload) values (%s, 'bench_job', %s) returning id"
)


def say(**line):
    print(json.dumps(line), flush=True)


def queue_names(count):
    return [f"bench_{number}" for number in range(count)]


def payload(seq, size):
    value = {"seq": seq, "t_us": int(time.time() * 1e6), "pad": ""}
    value["pad"] = "x" * max(0, size - len(json.dumps(value, separators=(",", ":"))))
    return value


def figures(values):
    values = sorted(values)

    def at(share):
        return values[min(len(values) - 1, int(share * len(values)))] if values else 0

    return {"count": len(values), "p50_us": at(0.5), "p99_us": at(0.99), "max_us": at(1)}


class Handler:
    """What a job does."""

    def __init__(self):
        self.handled, self.first, self.ages = 0, 0, []
        self.waiting = {}

    def handle(self, job):
        at = time.time()
        self.first = self.first or at
        self.ages.append(at * 1e6 - job["t_us"])
        self.handled += 1
        if waiting := self.waiting.get(job["seq"]):
            waiting.set_result(at)


def application(options, connections):
    """The app, its one task and what the task reports to."""
    connector = procrastinate.PsycopgConnector(
        conninfo=options.url, min_size=1, max_size=connections
    )
    app = procrastinate.App(connector=connector)
    handler = Handler()

    @app.task(name="bench_job")
    async def bench_job(**job):
        handler.handle(job)

    return app, bench_job, handler


async def orders():
    """Lines of standard input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def install(options):
    begin = time.monotonic()
    app, _, _ = application(options, 2)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    say(event="installed", seconds=time.monotonic() - begin)


async def enqueue(options):
    queues = queue_names(options.queues)
    app, task, _ = application(options, 2)
    left = [(options.jobs + len(queues) - 1 - n) // len(queues) for n in range(len(queues))]
    seq = 0
    async with app.open_async():
        begin = time.time()
        # In turn, so that all queues have jobs of about the same age.
        while seq < options.jobs:
            for number, queue in enumerate(queues):
                if count := min(BULK, left[number]):
                    jobs = (payload(n, options.payload) for n in range(seq, seq + count))
                    await task.configure(queue=queue).batch_defer_async(*jobs)
                    left[number] -= count
                    seq += count
        say(event="enqueued", jobs=seq, begin=begin, end=time.time())


async def pending(options):
    lines = await orders()
    connection = await psycopg.AsyncConnection.connect(options.url, autocommit=True)
    while await lines.readline():
        begin = time.time()
        cursor = await connection.execute(
            "select count(*) from procrastinate_jobs where status in ('todo', 'doing')"
        )
        (jobs,) = await cursor.fetchone()
        say(event="pending", jobs=jobs, begin=begin, end=time.time())


def start(app, options):
    return asyncio.create_task(app.run_worker_async(
        queues=queue_names(options.queues),
        concurrency=options.workers,
        install_signal_handlers=False,
    ))


async def stop(worker):
    """Its own graceful end: running jobs are finished."""
    worker.cancel()
    try:
        await worker
    except asyncio.CancelledError:
        pass


async def work(options):
    lines = await orders()
    app, _, handler = application(options, options.pool)
    async with app.open_async():
        say(event="ready")
        if not await lines.readline():
            return
        worker = start(app, options)
        order = asyncio.create_task(lines.readline())
        told = 0
        while not order.done():
            await asyncio.wait([order, worker], timeout=PROGRESS,
                               return_when=asyncio.FIRST_COMPLETED)
            if worker.done():
                worker.result()
            if handler.handled != told:
                told = handler.handled
                say(event="progress", jobs=told, first=handler.first, at=time.time())
        begin = time.monotonic()
        await stop(worker)
        say(event="worked", jobs=handler.handled, first=handler.first,
            age=figures(handler.ages), stop_seconds=time.monotonic() - begin)


async def produce(options):
    queues = queue_names(options.queues)
    app, task, _ = application(options, 2)
    async with app.open_async():
        begin, seq, tick = time.time(), 0, 0
        while time.time() - begin < options.seconds:
            due = int(min(time.time() - begin, options.seconds) * options.rate)
            due = min(due, seq + BULK)
            if due > seq:
                jobs = (payload(n, options.payload) for n in range(seq, due))
                await task.configure(queue=queues[seq % len(queues)]).batch_defer_async(*jobs)
                seq = due
            tick += 1
            await asyncio.sleep(max(0, begin + tick * PACE - time.time()))
        say(event="enqueued", jobs=seq, begin=begin, end=time.time())


async def defer_one(task, connection, queue, job):
    async with connection.transaction():
        await task.configure(queue=queue, connection=connection).defer_async(**job)


async def insert_plain(_, connection, queue, job):
    async with connection.transaction():
        await connection.execute(PLAIN_INSERT, (queue, json.dumps(job)))


async def single(options):
    app, task, _ = application(options, 2)
    connections = [
        await psycopg.AsyncConnection.connect(options.url, autocommit=True)
        for _ in range(options.connections)
    ]
    one = insert_plain if options.plain else defer_one
    numbers, queue = iter(range(1 << 60)), queue_names(1)[0]
    begin = time.time()

    async def producer(connection):
        done = 0
        while time.time() - begin < options.seconds:
            await one(task, connection, queue, payload(next(numbers), options.payload))
            done += 1
        return done

    async with app.open_async():
        jobs = sum(await asyncio.gather(*map(producer, connections)))
        say(event="enqueued", jobs=jobs, begin=begin, end=time.time())


async def latency(options):
    app, task, handler = application(options, options.pool)
    queue = queue_names(1)[0]
    connection = await psycopg.AsyncConnection.connect(options.url, autocommit=True)
    from_call, from_commit, before_answer, lost = [], [], 0, 0
    async with app.open_async():
        worker = start(app, options)
        limit = time.time() + options.seconds
        for seq in range(options.jobs + WARM_UP):
            # Not in step with anybody's polling.
            await asyncio.sleep(0.01 + (seq * 7919) % 41 / 1000)
            handled = handler.waiting[seq] = asyncio.get_running_loop().create_future()
            job = payload(seq, options.payload)
            called = time.time()
            await defer_one(task, connection, queue, job)
            committed = time.time()
            try:
                at = await asyncio.wait_for(handled, PATIENCE)
            except asyncio.TimeoutError:
                lost += 1
                continue
            finally:
                del handler.waiting[seq]
            if seq >= WARM_UP:
                from_call.append((at - called) * 1e6)
                from_commit.append(max(0, at - committed) * 1e6)
                before_answer += at < committed
            if time.time() > limit:
                break
        say(event="latency", from_call=figures(from_call), from_commit=figures(from_commit),
            before_answer=before_answer, lost=lost)
        await stop(worker)


async def about(_):
    python = ".".join(map(str, sys.version_info[:3]))
    say(event="about", name="procrastinate",
        version=f"{version('procrastinate')} on Python {python}")


COMMANDS = {
    command.__name__: command
    for command in (about, install, enqueue, pending, work, produce, single, latency)
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    for name, default in (
        ("jobs", 1000), ("queues", 1), ("payload", 256), ("workers", 4), ("pool", 20),
        ("connections", 1), ("seconds", 60.0), ("rate", 800.0),
    ):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    options.url = os.environ.get("DATABASE_URL", "")
    asyncio.run(COMMANDS[options.command](options))


if __name__ == "__main__":
    main()
