-- Where jobs are: docs/adr/0005-job-storage.md. The three tables of the ring are only ever appended
-- to and emptied whole; what waits for a time, for a key or for an answer from outside has a table of
-- its own, and so has what ended badly.

create sequence rolegate.job_id;
create sequence rolegate.job_claim_id;

-- The ring: each turn writes to one segment. The newest turn is written to; a turn whose segment has
-- been emptied has no row any more.
create table rolegate.job_turn (
    turn bigint generated always as identity primary key,
    segment smallint not null unique,
    started_at timestamptz not null default pg_catalog.clock_timestamp(),
    -- Transactions that began before don't write to it: see write_segment().
    usable_from timestamptz not null default pg_catalog.clock_timestamp(),
    -- Every job of the turn was handed out in a claim up to this one.
    drained_at_claim bigint,
    -- What was there then: a transaction that is older than the next turn may still write to it.
    drained_in pg_snapshot,
    -- All those claims are finished; retention counts from here.
    closed_at timestamptz
);

-- A transaction that has written to a partitioned table does not see partitions that are attached
-- after that, but it would see the row of their turn. So it goes on with turns that were there when
-- it began; if none is, with the oldest, which can't be emptied once the transaction has written to it.
-- In plpgsql, which keeps its plan: SQL would be parsed anew by each statement that calls it.
create function rolegate.write_segment() returns smallint
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    return coalesce(
        (
            select t.segment from rolegate.job_turn t
            where t.usable_from <= pg_catalog.now() order by t.turn desc limit 1
        ),
        (select t.segment from rolegate.job_turn t order by t.turn limit 1));
end
$$;
revoke execute on function rolegate.write_segment() from public;

-- A lane is a queue and a priority: `queue.id * 4 + priority - 1`.
-- `xid` stands before `id`: defaults are computed in the order of the columns, and a transaction must
-- have its number before it takes an id.
create table rolegate.job (
    xid xid8 not null default pg_catalog.pg_current_xact_id(),
    -- Where the job stands in its lane. It is the job's name, too, if `root` is NULL; a job that comes
    -- back (a retry, a later run) stands at a new place and keeps its name in `root`.
    id bigint not null default pg_catalog.nextval('rolegate.job_id'),
    root bigint,
    enqueued_at timestamptz not null default pg_catalog.clock_timestamp(),
    lane integer not null,
    segment smallint not null,
    -- Attempts that were counted before.
    attempt smallint not null default 0,
    max_attempts smallint not null default 25,
    -- What has to be tidied up when it ends: 1 a unique key, 2 an ordering or limit key,
    -- 4 progress, 8 somebody waits for it. Only in claims: 16 a place in its queue's concurrency.
    -- 32: the rate of its limit key is kept already. 64: it has children.
    flags smallint not null default 0,
    kind text not null,
    principal bigint not null,
    args jsonb not null,
    options jsonb
) partition by list (segment);
create index job_by_lane on rolegate.job (lane, id) include (xid);
create index job_by_root on rolegate.job (root, id) where root is not null;

-- A batch that was handed out, and where its lane's next claim goes on: handed out so far are the
-- rows that are visible in `seen` and have an id up to `hi`. A claim without jobs is only a cursor.
create table rolegate.job_claim (
    id bigint not null default pg_catalog.nextval('rolegate.job_claim_id'),
    segment smallint not null,
    lane integer not null,
    worker bigint not null,
    at timestamptz not null default pg_catalog.clock_timestamp(),
    seen pg_snapshot not null,
    hi bigint not null,
    -- Transactions in progress in `seen`, each with a bound below which it can have no id.
    open_xids xid8[] not null,
    open_low bigint[] not null,
    -- The sequence before `seen` was taken, and before the `seen` of the claim before.
    last bigint not null,
    prev_last bigint not null,
    -- More rows came late than one claim takes: those visible in `pass` are handed out up to
    -- `pass_id`, and nothing behind `hi` before they all are.
    pass pg_snapshot,
    pass_id bigint,
    jobs bigint[] not null
) partition by list (segment);
-- Compressing the numbers of 512 jobs takes longer than anything else in a claim.
alter table rolegate.job_claim alter column jobs set storage external;
create index job_claim_by_lane on rolegate.job_claim (lane, hi desc, id desc);
create index job_claim_by_id on rolegate.job_claim (id);

-- What became of jobs of a claim; `ordinals` are their positions in it, from 1.
create table rolegate.job_outcome (
    claim bigint not null,
    segment smallint not null,
    at timestamptz not null default pg_catalog.clock_timestamp(),
    ordinals smallint[] not null,
    -- NULL: all completed. Else one letter each: completed, failed, retried, snoozed, x cancelled,
    -- waiting, lost, b released, parked for its key, moved.
    states "char"[],
    -- NULL: none. Else an output, or an error, or NULL, for each.
    outputs jsonb[]
) partition by list (segment);
create index job_outcome_by_claim on rolegate.job_outcome (claim);

-- The partitions of one more segment. Attaching takes no lock that anybody waits for.
create function rolegate.add_segment() returns smallint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    new_segment constant smallint := (
        select pg_catalog.count(*) from pg_catalog.pg_inherits i
        where i.inhparent = 'rolegate.job'::pg_catalog.regclass);
    parent text;
begin
    foreach parent in array array['job', 'job_claim', 'job_outcome'] loop
        execute pg_catalog.format(
            'create table rolegate.%1$I (like rolegate.%2$I including defaults including constraints including storage)',
            parent || '_' || new_segment, parent);
        -- Never updated: pages may be full, and there is nothing to vacuum but aborted rows.
        execute pg_catalog.format(
            'alter table rolegate.%I set (autovacuum_analyze_scale_factor = 0.5, '
            'autovacuum_vacuum_insert_scale_factor = 1)', parent || '_' || new_segment);
        execute pg_catalog.format(
            'alter table rolegate.%1$I attach partition rolegate.%2$I for values in (%3$s)',
            parent, parent || '_' || new_segment, new_segment);
    end loop;
    return new_segment;
end
$$;
revoke execute on function rolegate.add_segment() from public;

-- The others are made when the ring needs them.
select rolegate.add_segment();
insert into rolegate.job_turn (segment) values (0);

-- What waits: the columns of `job` that travel with it, and for what.
create table rolegate.job_deferred (
    root bigint primary key,
    run_at timestamptz not null,
    -- NULL: it was enqueued for later. Else why it runs again.
    reason text,
    enqueued_at timestamptz not null,
    lane integer not null,
    attempt smallint not null,
    max_attempts smallint not null,
    flags smallint not null,
    kind text not null,
    principal bigint not null,
    args jsonb not null,
    options jsonb,
    -- Not for a time, but for a place of its key (V32) or for its children (V38).
    waits_for text collate "C"
);
create index job_deferred_run_at on rolegate.job_deferred (run_at) where waits_for is null;
create index job_deferred_waits_for on rolegate.job_deferred ((lane / 4), waits_for, root)
    where waits_for is not null;

-- Jobs that ended without completing, kept for people.
create table rolegate.job_ended (
    root bigint primary key,
    state text not null check (state in ('failed', 'cancelled')),
    -- Why: terminal_error, max_attempts_exhausted, deadline, not_permitted, cancelled, ...
    reason text not null,
    error jsonb,
    ended_at timestamptz not null default pg_catalog.clock_timestamp(),
    dead_letter boolean not null,
    keep_until timestamptz not null,
    enqueued_at timestamptz not null,
    lane integer not null,
    attempt smallint not null,
    max_attempts smallint not null,
    flags smallint not null,
    kind text not null,
    principal bigint not null,
    args jsonb not null,
    options jsonb
);
create index job_ended_keep_until on rolegate.job_ended (keep_until);
create index job_ended_dead_letter on rolegate.job_ended (lane, root) where dead_letter;

-- Jobs that were cancelled or moved before they were claimed; the claim that comes to them leaves
-- them out.
create table rolegate.job_tombstone (
    id bigint primary key,
    state "char" not null
);

-- The holder of a unique key. Two producers with the same key wait for each other; nobody else does.
create table rolegate.job_unique (
    key bytea primary key,
    root bigint not null unique,
    -- Not free before, even if the job ends earlier.
    held_until timestamptz,
    ended boolean not null default false
);
create index job_unique_held_until on rolegate.job_unique (held_until) where ended;

-- Processes that claim. While one has claims open, all of them have numbers from `open_from` on.
create table rolegate.job_worker (
    id bigint generated always as identity primary key,
    name text not null,
    version text not null,
    started_at timestamptz not null default pg_catalog.clock_timestamp(),
    seen_at timestamptz not null default pg_catalog.clock_timestamp(),
    -- NULL: it has nothing open.
    open_from bigint,
    queues text[] not null
);

-- What a handler wrote down for its next attempt, and for who looks.
create table rolegate.job_progress (
    root bigint primary key,
    percent smallint check (percent between 0 and 100),
    message text,
    checkpoint jsonb,
    at timestamptz not null default pg_catalog.clock_timestamp()
);

-- How long things are kept, and how far the ring may grow.
create table rolegate.job_setting (
    only_row boolean primary key default true check (only_row),
    completed_retention interval not null default interval '24 hours'
        check (completed_retention >= interval '0'),
    failed_retention interval not null default interval '72 hours'
        check (failed_retention >= interval '0'),
    dead_letter_retention interval not null default interval '30 days'
        check (dead_letter_retention >= interval '0'),
    max_segments smallint not null default 64 check (max_segments between 4 and 1000)
);
insert into rolegate.job_setting default values;
