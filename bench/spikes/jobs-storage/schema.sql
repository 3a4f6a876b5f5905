-- The spike behind docs/adr/0005-job-storage.md. Not the engine: one lane at a time, no rights.

create schema q;
set search_path = q;

create sequence job_id;

-- The segment that producers write to is the one of the newest turn.
create table ring (
    turn bigint generated always as identity primary key,
    segment smallint not null
);
insert into ring (segment) values (0);

-- `xid` stands before `id`: defaults are computed in the order of the columns, and a transaction must
-- have its number before it takes an id.
create table job (
    xid xid8 not null default pg_current_xact_id(),
    id bigint not null default nextval('q.job_id'),
    run_at timestamptz not null default now(),
    lane int not null,
    segment smallint not null,
    attempt smallint not null default 0,
    max_attempts smallint not null default 25,
    kind int not null,
    principal int not null,
    args text not null
) partition by list (segment);
create index on job (lane, id) include (xid);
do $$
begin
    for i in 0..7 loop
        execute format('create table job_%s partition of job for values in (%s)', i, i);
    end loop;
end
$$;

-- A batch, and where the lane's next claim goes on: handed out so far are the rows that are visible
-- in `seen` and have an id up to `hi`.
create table claim (
    id bigint generated always as identity,
    lane int not null,
    worker int not null,
    at timestamptz not null default clock_timestamp(),
    seen pg_snapshot not null,
    hi bigint not null,
    -- Transactions in progress in `seen`, each with a bound below which it can have no id.
    open_xids xid8[] not null,
    open_low bigint[] not null,
    -- The sequence before `seen` was taken, and before the `seen` of the claim before.
    last bigint not null,
    prev_last bigint not null,
    jobs bigint[] not null
);
create index on claim (lane, id desc);
create index on claim (id);

create table outcome (
    claim bigint not null,
    ordinals int2[] not null,
    at timestamptz not null default clock_timestamp()
);
create index on outcome (claim);

create function enqueue(to_lane int, of_kind int, with_args text) returns bigint
language plpgsql
as $$
declare
    made bigint;
begin
    insert into q.job (lane, segment, kind, principal, args)
    values (
        to_lane, (select r.segment from q.ring r order by r.turn desc limit 1), of_kind, 1, with_args
    )
    returning id into made;
    return made;
end
$$;

create function claim(
    from_lane int, most int, by_worker int,
    out claim_id bigint, out jobs bigint[], out late int
)
language plpgsql
as $$
#variable_conflict use_column
declare
    c q.claim;
    now_seen pg_snapshot;
    seq bigint;
    xids xid8[];
    lows bigint[];
    new_hi bigint;
begin
    -- The lock first: the snapshots below must be newer than what the last holder wrote.
    perform pg_advisory_xact_lock(7001, from_lane);
    select * into c from q.claim where lane = from_lane order by id desc limit 1;
    if c.id is null then
        c.seen := '1:1:';
        c.hi := 0;
        c.open_xids := '{}';
        c.open_low := '{}';
        c.last := 0;
        c.prev_last := 0;
    end if;
    select last_value into seq from q.job_id;
    -- One statement, so one snapshot, for the rows and for what is written down as seen.
    with s as materialized (
        select pg_current_snapshot() as s
    ),
    ended as materialized (
        select o.x, o.low
        from unnest(c.open_xids, c.open_low) o (x, low), s
        where pg_visible_in_snapshot(o.x, s.s)
    ),
    behind as materialized (
        select j.id
        from q.job j
        where j.lane = from_lane
            and j.id > least((select min(low) from ended), c.prev_last)
            and j.id <= c.hi
            -- At or past xmax some were in progress already.
            and (
                j.xid >= pg_snapshot_xmax(c.seen)
                or j.xid = any (array(select x from ended))
            )
    ),
    ahead as materialized (
        select j.id from q.job j where j.lane = from_lane and j.id > c.hi order by j.id limit most
    )
    select
        s.s,
        array(select id from behind order by id) || array(select id from ahead order by id),
        (select max(id) from ahead),
        (select count(*) from behind)
    into now_seen, jobs, new_hi, late
    from s;
    if cardinality(jobs) = 0 then
        return;
    end if;
    select
        coalesce(array_agg(t.x), '{}'),
        coalesce(array_agg(t.low), '{}')
    into xids, lows
    from (
        select
            v.x,
            coalesce(
                (select o.low from unnest(c.open_xids, c.open_low) o (x, low) where o.x = v.x),
                c.prev_last
            ) as low
        from pg_snapshot_xip(now_seen) v (x)
    ) t;
    insert into q.claim (lane, worker, seen, hi, open_xids, open_low, last, prev_last, jobs)
    values (
        from_lane, by_worker, now_seen, coalesce(new_hi, c.hi), xids, lows, seq, c.last, jobs
    )
    returning id into claim_id;
end
$$;

create function complete(of_claim bigint, done int2[]) returns int
language plpgsql
as $$
begin
    perform pg_advisory_xact_lock(7002, of_claim::int);
    insert into q.outcome (claim, ordinals)
    select
        of_claim,
        array(select unnest(done) except select unnest(o.ordinals) from q.outcome o where o.claim = of_claim);
    return cardinality(done);
end
$$;

-- What it is compared with.
create table plain (
    id bigint generated always as identity primary key,
    a int, b int, c int, d text, at timestamptz default now()
);
create table classic (
    id bigint generated always as identity primary key,
    queue int not null,
    priority int not null default 1,
    run_at timestamptz not null default now(),
    attempt smallint not null default 0,
    locked_by int,
    locked_at timestamptz,
    kind int not null,
    principal int not null,
    args text not null
);
create index on classic (queue, priority, run_at, id) where locked_by is null;
create function classic_claim(most int) returns bigint[]
language sql
as $$
    with c as (
        select id from q.classic
        where queue = 1 and locked_by is null
        order by queue, priority, run_at, id
        limit most
        for update skip locked
    ),
    u as (
        update q.classic j set locked_by = 1, locked_at = now(), attempt = attempt + 1
        from c where j.id = c.id
        returning j.id
    )
    select coalesce(array_agg(id), '{}') from u
$$;
