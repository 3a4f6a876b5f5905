-- Reading: what became of a job, and what waits where. All of it is STABLE, so that one call sees one
-- moment, and none of it locks anything that a claim, a producer or a worker waits for.

-- Whether the actor sees the jobs of everybody. Maintenance does for the batches of operators, and may
-- call nothing that would show it.
create function rolegate.sees_all_jobs() returns boolean
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select pg_catalog.pg_has_role(rolegate.actor(), 'rolegate_viewer', 'USAGE')
        or pg_catalog.pg_has_role(rolegate.actor(), 'rolegate_operator', 'USAGE')
        or pg_catalog.pg_has_role(rolegate.actor(), 'rolegate_maintenance', 'USAGE')
$$;
revoke execute on function rolegate.sees_all_jobs() from public;

-- Whether a job is the actor's: he enqueued it, or has the rights of the role that did. A role that
-- was dropped and made again is another one.
create function rolegate.owns_job(principal bigint) returns boolean
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select exists (
        select from rolegate.job_principal p
        join pg_catalog.pg_roles r on r.oid = p.role_oid and r.rolname = p.role_name
        where p.id = principal
            and pg_catalog.pg_has_role(rolegate.actor(), r.oid, 'USAGE'))
$$;
revoke execute on function rolegate.owns_job(bigint) from public;

-- What is to be said of a row of the ring: available, running or completed. NULL if the job is
-- somewhere else by now, or forgotten.
create function rolegate.ring_state(
    lane integer, id bigint, xid xid8,
    out state text, out claim bigint, out ordinal smallint, out worker bigint,
    out claimed_at timestamptz, out ended_at timestamptz, out output jsonb
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    k rolegate.job_claim;
    ending "char";
begin
    select * into k from rolegate.job_claim c where c.lane = ring_state.lane
    order by c.hi desc, c.id desc limit 1;
    if (
        ring_state.id <= k.hi and (
            pg_catalog.pg_visible_in_snapshot(xid, k.seen)
            or (ring_state.id <= k.pass_id and pg_catalog.pg_visible_in_snapshot(xid, k.pass)))
    ) is not true then
        if not exists (select from rolegate.job_tombstone t where t.id = ring_state.id) then
            state := 'available';
        end if;
        return;
    end if;
    -- The first cursor that has come to it is that of the claim it was handed out in.
    select * into k from rolegate.job_claim c
    where c.lane = ring_state.lane and c.hi >= ring_state.id
        and (
            pg_catalog.pg_visible_in_snapshot(xid, c.seen)
            or (ring_state.id <= c.pass_id and pg_catalog.pg_visible_in_snapshot(xid, c.pass)))
    order by c.hi, c.id limit 1;
    ordinal := pg_catalog.array_position(k.jobs, ring_state.id);
    -- A claim may stand in an older segment than a job of it, and be forgotten before it.
    if ordinal is null then
        return;
    end if;
    claim := k.id;
    worker := k.worker;
    claimed_at := k.at;
    select coalesce(o.states[n.nth], 'c'), o.at, o.outputs[n.nth]
    into ending, ended_at, output
    from rolegate.job_outcome o, pg_catalog.array_position(o.ordinals, ordinal) n (nth)
    where o.claim = k.id and n.nth is not null;
    state := case when ending is null then 'running' when ending = 'c' then 'completed' end;
end
$$;
revoke execute on function rolegate.ring_state(integer, bigint, xid8) from public;

-- Where a job is now. `place`: ended, deferred, parked, ring; NULL if it is nowhere. A row of the ring
-- is found by one probe for each lane and segment.
create function rolegate.find_job(
    root bigint, out place text, out j rolegate.job, out state text, out reason text,
    out error jsonb, out output jsonb, out run_at timestamptz, out claim bigint,
    out ordinal smallint, out worker bigint, out claimed_at timestamptz, out ended_at timestamptz,
    out dead_letter boolean
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    e rolegate.job_ended;
    d rolegate.job_deferred;
    r record;
begin
    dead_letter := false;
    select * into e from rolegate.job_ended x where x.root = find_job.root;
    if e.root is not null then
        place := 'ended';
        j := row(
            null, e.root, e.root, e.enqueued_at, e.lane, null, e.attempt, e.max_attempts, e.flags,
            e.kind, e.principal, e.args, e.options);
        state := e.state;
        reason := e.reason;
        error := e.error;
        ended_at := e.ended_at;
        dead_letter := e.dead_letter;
        return;
    end if;
    select * into d from rolegate.job_deferred x where x.root = find_job.root;
    if d.root is not null then
        place := 'deferred';
        j := row(
            null, d.root, d.root, d.enqueued_at, d.lane, null, d.attempt, d.max_attempts, d.flags,
            d.kind, d.principal, d.args, d.options);
        state := case
            when d.waits_for like 'c:%' then 'scheduled'
            when d.waits_for is not null then 'available'
            when d.reason = 'retry' then 'retryable' else 'scheduled'
        end;
        reason := d.reason;
        run_at := case when d.waits_for is null then d.run_at end;
        return;
    end if;
    select * into r from rolegate.job_parked x where x.root = find_job.root;
    if r.root is not null then
        place := 'parked';
        j := row(
            null, r.root, r.root, r.enqueued_at, r.lane, null, r.attempt, r.max_attempts, r.flags,
            r.kind, r.principal, r.args, r.options);
        state := case when r.state = 'completed' then 'completed' else 'waiting_external' end;
        output := r.output;
        claimed_at := r.parked_at;
        ended_at := r.ended_at;
        return;
    end if;
    select * into j from rolegate.job x where x.root = find_job.root order by x.id desc limit 1;
    if j.id is null then
        select * into j from rolegate.job x
        where x.id = find_job.root and x.root is null
            and x.lane = any (array(
                select l.lane from rolegate.job_queue q,
                    pg_catalog.generate_series(q.id * 4, q.id * 4 + 3) l (lane)));
    end if;
    if j.id is null then
        return;
    end if;
    select s.state, s.claim, s.ordinal, s.worker, s.claimed_at, s.ended_at, s.output
    into state, claim, ordinal, worker, claimed_at, ended_at, output
    from rolegate.ring_state(j.lane, j.id, j.xid) s;
    -- It ended otherwise, and that is forgotten already.
    place := case when state is not null then 'ring' end;
end
$$;
revoke execute on function rolegate.find_job(bigint) from public;

-- One job, for whoever may see it. No row: there is none, or it is somebody else's.
create function rolegate.job(job_id bigint) returns table (
    id bigint, kind text, queue text, priority integer, state text, attempt integer,
    max_attempts integer, args jsonb, tags text[], metadata jsonb, trace text, deadline interval,
    errors jsonb, error jsonb, output jsonb, reason text, dead_letter boolean, progress jsonb,
    enqueued_at timestamptz, run_at timestamptz, claimed_at timestamptz, ended_at timestamptz,
    enqueued_by text
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    return query
    select
        job_id, (f.j).kind, q.name, (f.j).lane % 4 + 1, f.state,
        (f.j).attempt + case
            when f.state in ('running', 'waiting_external', 'completed') then 1 else 0 end,
        (f.j).max_attempts::integer, (f.j).args,
        array(select pg_catalog.jsonb_array_elements_text((f.j).options -> 'tags')),
        (f.j).options -> 'metadata', (f.j).options ->> 'trace',
        pg_catalog.make_interval(secs => ((f.j).options ->> 'deadline')::float8),
        (f.j).options -> 'errors', f.error, f.output, f.reason, f.dead_letter,
        (
            select pg_catalog.jsonb_build_object(
                'percent', p.percent, 'message', p.message, 'checkpoint', p.checkpoint, 'at', p.at)
            from rolegate.job_progress p where p.root = job_id
        ),
        (f.j).enqueued_at, f.run_at, f.claimed_at, f.ended_at, p.role_name::text
    from rolegate.find_job(job_id) f
    join rolegate.job_queue q on q.id = (f.j).lane / 4
    join rolegate.job_principal p on p.id = (f.j).principal
    where f.place is not null
        and (rolegate.sees_all_jobs() or rolegate.owns_job(p.id));
end
$$;
revoke execute on function rolegate.job(bigint) from public;
grant execute on function rolegate.job(bigint) to rolegate_producer, rolegate_viewer, rolegate_operator;
