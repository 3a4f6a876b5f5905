-- What a worker asks and says about attempts while they run.

-- Which of these attempts (from 1) have ended: cancelled, or given to another worker. A worker that is
-- told so by a notification asks first, because anybody may notify.
create function rolegate.ended_attempts(
    claims bigint[], ordinals smallint[], claimed_at timestamptz[]
) returns integer[]
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select coalesce(pg_catalog.array_agg(g.nth::integer order by g.nth), '{}')
    from unnest(claims, ordinals, claimed_at) with ordinality g (claim, ordinal, claimed_at, nth)
    where not exists (
            select from rolegate.job_claim k where k.id = g.claim and k.at = g.claimed_at)
        or exists (
            select from rolegate.job_outcome o
            where o.claim = g.claim and g.ordinal = any (o.ordinals))
$$;
revoke execute on function rolegate.ended_attempts(bigint[], smallint[], timestamptz[]) from public;
grant execute on function rolegate.ended_attempts(bigint[], smallint[], timestamptz[])
    to rolegate_worker;

-- What handlers wrote down about attempts that are under way: `percent`, `message` and `checkpoint` of
-- an object; what is not in it stays. Which of them (from 1) have ended already and were not noted.
-- Most jobs note nothing. The first note of one marks its row in the ring, the only row of it that is
-- ever updated, so that whatever becomes of the job takes its notes along or removes them.
create function rolegate.note_jobs(
    worker bigint, claims bigint[], ordinals smallint[], claimed_at timestamptz[], notes jsonb[]
) returns integer[]
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    noted integer[];
    segments smallint[];
    lanes integer[];
    ids bigint[];
    segment smallint;
begin
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        perform rolegate.need_read_committed();
    end if;
    -- What a crash of the server takes from it is written again by the next attempt.
    perform pg_catalog.set_config('synchronous_commit', 'off', true),
        pg_catalog.set_config('jit', 'off', true);
    -- As in finish_jobs(): while it is held, none of them ends.
    perform pg_catalog.pg_advisory_xact_lock(rolegate.claim_lock_key(c.claim))
    from (select distinct x.claim from pg_catalog.unnest(claims) x (claim) order by x.claim) c;
    with open as materialized (
        select g.nth::integer as nth, g.note, k.lane, k.jobs[g.ordinal] as id
        from unnest(claims, ordinals, claimed_at, notes) with ordinality
            g (claim, ordinal, claimed_at, note, nth)
        join rolegate.job_claim k
            on k.id = g.claim and k.at = g.claimed_at and k.worker = note_jobs.worker
        where g.ordinal between 1 and pg_catalog.cardinality(k.jobs)
            and not exists (
                select from rolegate.job_outcome o
                where o.claim = g.claim and g.ordinal = any (o.ordinals))
    ),
    job as materialized (
        select o.nth, o.note, j.segment, j.lane, j.id, coalesce(j.root, j.id) as root, j.flags
        from open o join rolegate.job j on j.lane = o.lane and j.id = o.id
    ),
    written as (
        insert into rolegate.job_progress as p (root, percent, message, checkpoint)
        select
            j.root, (j.note ->> 'percent')::smallint, j.note ->> 'message', j.note -> 'checkpoint'
        from job j
        order by j.root
        on conflict (root) do update
        set percent = coalesce(excluded.percent, p.percent),
            message = coalesce(excluded.message, p.message),
            checkpoint = coalesce(excluded.checkpoint, p.checkpoint), at = excluded.at
    )
    select
        pg_catalog.array_agg(j.nth), pg_catalog.array_agg(j.segment) filter (where m.unmarked),
        pg_catalog.array_agg(j.lane) filter (where m.unmarked),
        pg_catalog.array_agg(j.id) filter (where m.unmarked)
    into noted, segments, lanes, ids
    from job j, lateral (select j.flags & 4::smallint = 0 as unmarked) m;
    for segment in select distinct s from pg_catalog.unnest(segments) s order by s loop
        -- The partition by its name: another one's lock is not ours to wait for.
        execute pg_catalog.format(
            $sql$
            update rolegate.%I j set flags = j.flags | 4::smallint
            from unnest($1::integer[], $2::bigint[]) u (lane, id)
            where j.lane = u.lane and j.id = u.id
            $sql$, 'job_' || segment)
        using lanes, ids;
    end loop;
    return array(
        select n from pg_catalog.generate_series(1, pg_catalog.cardinality(claims)) n
        where n <> all (coalesce(noted, '{}'))
        order by 1);
end
$$;
revoke execute on function rolegate.note_jobs(
    bigint, bigint[], smallint[], timestamptz[], jsonb[]) from public;
grant execute on function rolegate.note_jobs(
    bigint, bigint[], smallint[], timestamptz[], jsonb[]) to rolegate_worker;

-- What earlier attempts left for this one. NULL: nothing.
create function rolegate.attempt_checkpoint(
    claim bigint, ordinal smallint, claimed_at timestamptz
) returns text
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select p.checkpoint::text
    from rolegate.job_claim k
    join rolegate.job j on j.lane = k.lane and j.id = k.jobs[ordinal]
    join rolegate.job_progress p on p.root = coalesce(j.root, j.id)
    where k.id = attempt_checkpoint.claim and k.at = claimed_at
$$;
revoke execute on function rolegate.attempt_checkpoint(bigint, smallint, timestamptz) from public;
grant execute on function rolegate.attempt_checkpoint(bigint, smallint, timestamptz)
    to rolegate_worker;
