-- How long a job waits that failed: what the job says counts before what its kind says, and that before its queue.

create table rolegate.job_kind (
    name text primary key check (name <> '' and pg_catalog.length(name) <= 200),
    -- As those of a queue; NULL: the queue's.
    backoff interval check (backoff between interval '0' and interval '100 years'),
    max_backoff interval check (max_backoff between interval '0' and interval '100 years'),
    check (backoff is not null or max_backoff is not null),
    set_by text not null,
    set_at timestamptz not null default pg_catalog.clock_timestamp()
);

-- NULL keeps a setting, below zero takes it back. Also for jobs that are there.
create function rolegate.set_kind(
    kind text, backoff interval default null, max_backoff interval default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    before rolegate.job_kind;
begin
    if (pg_catalog.length(kind) between 1 and 200) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'kind has 1 to 200 characters';
    end if;
    if set_kind.backoff > interval '100 years' or set_kind.max_backoff > interval '100 years' then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'backoff and max_backoff are at most 100 years';
    end if;
    select * into before from rolegate.job_kind k where k.name = kind for update;
    before.backoff := coalesce(set_kind.backoff, before.backoff);
    before.max_backoff := coalesce(set_kind.max_backoff, before.max_backoff);
    if before.backoff < interval '0' then
        before.backoff := null;
    end if;
    if before.max_backoff < interval '0' then
        before.max_backoff := null;
    end if;
    if before.backoff is null and before.max_backoff is null then
        delete from rolegate.job_kind k where k.name = kind;
    else
        insert into rolegate.job_kind (name, backoff, max_backoff, set_by)
        values (kind, before.backoff, before.max_backoff, rolegate.actor())
        on conflict (name) do update
        set backoff = excluded.backoff, max_backoff = excluded.max_backoff, set_by = excluded.set_by,
            set_at = excluded.set_at;
    end if;
end
$$;
revoke execute on function rolegate.set_kind(text, interval, interval) from public;
grant execute on function rolegate.set_kind(text, interval, interval) to rolegate_operator;

-- Kinds of which something was set.
create function rolegate.kind_settings() returns table (
    kind text, backoff interval, max_backoff interval, set_by text, set_at timestamptz
)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select k.name, k.backoff, k.max_backoff, k.set_by, k.set_at from rolegate.job_kind k order by k.name
$$;
revoke execute on function rolegate.kind_settings() from public;
grant execute on function rolegate.kind_settings() to rolegate_operator, rolegate_viewer;

-- For how long a job waits whose attempts have failed: doubled with each, a quarter of it by chance. Whoever
-- says a time to begin with and no longest one is not bound by a longest one of the next that is shorter.
drop function rolegate.job_backoff(integer, integer);
create function rolegate.job_backoff(j rolegate.job) returns interval
language sql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select least(s.first * pg_catalog.power(2, least(j.attempt - 1, 30)), s.longest)
        * (0.75 + 0.25 * pg_catalog.random())
    from (
        select
            coalesce(o.first, k.first, q.backoff) as first,
            coalesce(o.longest, greatest(o.first, coalesce(k.longest, greatest(k.first, q.max_backoff))))
                as longest
        from rolegate.job_queue q
        left join lateral (
            select x.backoff as first, x.max_backoff as longest from rolegate.job_kind x where x.name = j.kind
        ) k on true
        cross join lateral (
            select
                pg_catalog.make_interval(secs => (j.options ->> 'backoff')::float8) as first,
                pg_catalog.make_interval(secs => (j.options ->> 'max_backoff')::float8) as longest
        ) o
        where q.id = j.lane / 4
    ) s
$$;
revoke execute on function rolegate.job_backoff(rolegate.job) from public;
