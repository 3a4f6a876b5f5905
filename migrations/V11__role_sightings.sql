-- Every role is noted when it first appears, not when it is first used: a token is refused only
-- if it is older than its role.

create function rolegate.record_roles() returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    recorded integer;
begin
    insert into rolegate.role_sighting (role_name, role_oid)
    select r.rolname, r.oid
    from pg_catalog.pg_roles r
    where not exists (
        select from rolegate.role_sighting s
        where s.role_name = r.rolname and s.role_oid = r.oid
    )
    on conflict do nothing;
    get diagnostics recorded = row_count;
    return recorded;
end
$$;
revoke execute on function rolegate.record_roles() from public;
grant execute on function rolegate.record_roles() to rolegate_gateway;

-- Roles that exist at installation are older than anything we could know.
insert into rolegate.role_sighting (role_name, role_oid, first_seen)
select r.rolname, r.oid, pg_catalog.to_timestamp(0)
from pg_catalog.pg_roles r
on conflict do nothing;
