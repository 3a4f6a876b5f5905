"""Random producers with savepoints, rollbacks and long transactions, and claims between them: no
committed job is lost, doubled, or claimed before one committed earlier. Needs psycopg 3.

    python walk.py FIRST_SEED LAST_SEED
"""

import random, sys, psycopg, time

D = ""  # PGHOST, PGPORT, PGUSER, PGDATABASE


def run(seed, steps=1500):
    r = random.Random(seed)
    admin = psycopg.connect(D, autocommit=True)
    admin.execute("truncate q.job; truncate q.claim; truncate q.outcome")
    cs = [psycopg.connect(D, autocommit=True) for _ in range(8)]
    open_ = [None] * 8  # list of frames of ids; None = not in tx
    clock = 0
    enq = {}
    com = {}
    claimed = []

    def claim():
        nonlocal clock
        row = admin.execute(
            "select jobs, late from q.claim(1,%s,1)", (r.choice([1, 3, 10, 100]),)
        ).fetchone()
        claimed.extend(row[0])
        return row[1]

    late_rows = 0
    for _ in range(steps):
        clock += 1
        i = r.randrange(8)
        c = cs[i]
        f = open_[i]
        p = r.random()
        if p < 0.15:
            late_rows += claim()
            continue
        if f is None:
            if r.random() < 0.4:
                a = c.execute("select q.enqueue(1,1,'x')").fetchone()[0]
                clock += 1
                enq[a] = clock - 1
                com[a] = clock
            else:
                c.execute("begin")
                open_[i] = [[]]
                if r.random() < 0.4:
                    c.execute("select pg_current_xact_id()")
        elif p < 0.6:
            a = c.execute("select q.enqueue(1,1,'x')").fetchone()[0]
            enq[a] = clock
            f[-1].append(a)
        elif p < 0.7:
            c.execute(f"savepoint s{len(f)}")
            f.append([])
        elif p < 0.78 and len(f) > 1:
            c.execute(f"rollback to s{len(f)-1}")
            c.execute(f"release s{len(f)-1}")
            f.pop()
        elif p < 0.82 and len(f) > 1:
            c.execute(f"release s{len(f)-1}")
            g = f.pop()
            f[-1].extend(g)
        elif p < 0.95:
            c.execute("commit")
            clock += 1
            for g in f:
                for a in g:
                    com[a] = clock
            open_[i] = None
        else:
            c.execute("rollback")
            open_[i] = None
    for i, c in enumerate(cs):
        if open_[i] is not None:
            c.execute("commit")
            clock += 1
            for g in open_[i]:
                for a in g:
                    com[a] = clock
    for _ in range(2000):
        n = len(claimed)
        claim()
        if len(claimed) == n:
            break
    assert len(set(claimed)) == len(claimed), "double"
    assert set(claimed) == set(com), (set(com) - set(claimed), set(claimed) - set(com))
    pos = {a: k for k, a in enumerate(claimed)}
    ids = sorted(com, key=lambda a: pos[a])
    # FIFO: nobody claimed later may have been committed before one claimed earlier was enqueued
    bad = 0
    least = None
    for a in reversed(ids):
        if least is not None and least < enq[a]:
            bad += 1
        least = com[a] if least is None else min(least, com[a])
    print(seed, "jobs", len(com), "late", late_rows, "fifo violations", bad, flush=True)
    for c in cs:
        c.close()
    admin.close()


for s in range(int(sys.argv[1]), int(sys.argv[2])):
    run(s)
