-- Groups, and the people in them. Can be run again; passwords are set elsewhere.
do $$
declare
    role_name text;
begin
    foreach role_name in array array['employee', 'manager', 'finance', 'auditor'] loop
        if not exists (select from pg_catalog.pg_roles r where r.rolname = role_name) then
            execute pg_catalog.format('create role %I nologin', role_name);
        end if;
    end loop;
    foreach role_name in array array['alice', 'bob', 'carol', 'dave'] loop
        if not exists (select from pg_catalog.pg_roles r where r.rolname = role_name) then
            execute pg_catalog.format('create role %I login', role_name);
        end if;
    end loop;
    -- Owns schema and functions, so that nothing of the application belongs to a superuser.
    if not exists (select from pg_catalog.pg_roles r where r.rolname = 'expenses_owner') then
        create role expenses_owner nologin;
    end if;
end
$$;

grant employee to alice, bob, carol, dave;
grant manager to bob;
grant finance to carol;
grant auditor to dave;
