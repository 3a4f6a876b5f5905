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
