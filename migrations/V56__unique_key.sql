-- A unique key that says what makes two jobs the same one.

-- Of the kind (as every unique key is), the arguments, the queue, and a period of time, those of them that are
-- not NULL. Arguments are the same whatever the order of their members and the spaces between them. Periods
-- follow one another from 1970 on, in UTC; `at` is a time in the one that is meant: now, or when the job is to run.
create function rolegate.unique_key(
    kind text, args jsonb default null, queue text default null, period interval default null,
    at timestamptz default null
) returns text
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    seconds constant numeric := extract(epoch from period);
    wrong constant text := case
        when kind is null then 'kind is not NULL'
        when period is not null and (period > interval '0' and period <= interval '100 years') is not true
            then 'period is above zero and at most 100 years'
        when at is not null and not pg_catalog.isfinite(at) then 'at is a time that comes'
    end;
begin
    if wrong is not null then
        raise exception using errcode = 'invalid_parameter_value', message = wrong;
    end if;
    return pg_catalog.encode(
        pg_catalog.sha256(pg_catalog.convert_to(
            pg_catalog.jsonb_build_array(
                kind, args is not null, args, queue, seconds,
                pg_catalog.floor(extract(epoch from coalesce(at, pg_catalog.now())) / seconds))::text,
            'UTF8')),
        'hex');
end
$$;
revoke execute on function rolegate.unique_key(text, jsonb, text, interval, timestamptz) from public;
grant execute on function rolegate.unique_key(text, jsonb, text, interval, timestamptz)
    to rolegate_producer;
