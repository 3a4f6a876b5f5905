-- What we remember about application roles: when their OID was first seen, and their budgets.

create table rolegate.role_sighting (
    role_name name not null,
    role_oid oid not null,
    first_seen timestamptz not null default pg_catalog.now(),
    primary key (role_name, role_oid)
);

-- By name: a budget only narrows, and it should outlive a role that is made again.
create table rolegate.role_budget (
    role_name name primary key,
    requests_per_second integer check (requests_per_second > 0),
    concurrency integer check (concurrency > 0),
    statement_timeout_ms integer check (statement_timeout_ms > 0),
    max_rows bigint check (max_rows > 0),
    max_bytes bigint check (max_bytes > 0)
);

create trigger advance_epoch after insert or update or delete or truncate on rolegate.role_budget
    for each statement execute function rolegate.advance_epoch();

create function rolegate.role_record(role_name text, role_oid oid) returns table (
    first_seen timestamptz, requests_per_second integer, concurrency integer,
    statement_timeout_ms integer, max_rows bigint, max_bytes bigint
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    -- Looked up first: the common case writes nothing and takes no lock.
    if not exists (
        select from rolegate.role_sighting s
        where s.role_name = role_record.role_name::name and s.role_oid = role_record.role_oid
    ) then
        insert into rolegate.role_sighting (role_name, role_oid)
        values (role_record.role_name, role_record.role_oid)
        on conflict do nothing;
    end if;
    return query
        select s.first_seen, b.requests_per_second, b.concurrency, b.statement_timeout_ms,
            b.max_rows, b.max_bytes
        from rolegate.role_sighting s
        left join rolegate.role_budget b on b.role_name = s.role_name
        where s.role_name = role_record.role_name::name and s.role_oid = role_record.role_oid;
end
$$;
revoke execute on function rolegate.role_record(text, oid) from public;
grant execute on function rolegate.role_record(text, oid) to rolegate_gateway;

-- NULL is the configured default.
create function rolegate.set_budget(
    role_name text, requests_per_second integer, concurrency integer,
    statement_timeout_ms integer, max_rows bigint, max_bytes bigint
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    if not exists (
        select from pg_catalog.pg_roles r where r.rolname = set_budget.role_name
    ) then
        raise exception using
            errcode = 'undefined_object',
            message = pg_catalog.format('role %I does not exist', set_budget.role_name);
    end if;
    insert into rolegate.role_budget as b
    values (
        set_budget.role_name, set_budget.requests_per_second, set_budget.concurrency,
        set_budget.statement_timeout_ms, set_budget.max_rows, set_budget.max_bytes)
    on conflict (role_name) do update set
        requests_per_second = excluded.requests_per_second,
        concurrency = excluded.concurrency,
        statement_timeout_ms = excluded.statement_timeout_ms,
        max_rows = excluded.max_rows,
        max_bytes = excluded.max_bytes;
end
$$;
revoke execute on function rolegate.set_budget(text, integer, integer, integer, bigint, bigint) from public;
grant execute on function rolegate.set_budget(text, integer, integer, integer, bigint, bigint)
    to rolegate_operator;
