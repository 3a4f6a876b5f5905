-- What a superuser runs once in each database that Rolegate serves. Safe to repeat: it puts
-- back whatever has drifted.
begin;

-- Roles. None has a password: the private socket's peer map lets them in, or the operator sets
-- one. Attributes are stated in full, so that a repeat corrects them.
do $roles$
declare
    wanted text;
begin
    foreach wanted in array array[
        'rolegate_owner', 'rolegate_migrator', 'rolegate_authenticator', 'rolegate_anonymous',
        'rolegate_gateway', 'rolegate_worker', 'rolegate_receiver', 'rolegate_maintenance',
        'rolegate_console', 'rolegate_replicator', 'rolegate_runtime', 'rolegate_operator',
        'rolegate_viewer', 'rolegate_producer', 'rolegate_requester', 'rolegate_on_behalf',
        'rolegate_grantor', 'rolegate_admitted', 'rolegate_publisher'
    ] loop
        if not exists (select from pg_catalog.pg_roles r where r.rolname = wanted) then
            execute pg_catalog.format('create role %I', wanted);
        end if;
    end loop;
end
$roles$;

alter role rolegate_owner nologin nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
-- NOINHERIT: the migrator is the owner only after `set role`.
alter role rolegate_migrator login noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
-- NOINHERIT: it may become application roles and has nothing of theirs by itself.
alter role rolegate_authenticator login noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_anonymous login noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_gateway login inherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_worker login inherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_receiver login inherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_maintenance login inherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_console login inherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_replicator login noinherit nosuperuser nocreatedb nocreaterole nobypassrls replication;
alter role rolegate_runtime login inherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_operator nologin nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_viewer nologin nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_producer nologin nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_requester nologin nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_on_behalf nologin nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_grantor nologin nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
-- Owns what event triggers run, and is nobody: no role is a member of it.
alter role rolegate_publisher nologin noinherit nosuperuser nocreatedb nocreaterole nobypassrls noreplication;
alter role rolegate_admitted nologin nosuperuser nocreatedb nocreaterole nobypassrls noreplication;

-- Memberships between our own roles.
grant rolegate_owner to rolegate_migrator /*switch only*/;
grant rolegate_gateway, rolegate_worker, rolegate_receiver, rolegate_maintenance, rolegate_console
    to rolegate_runtime;
-- The grantor admits roles; it still needs ADMIN on each role it is to admit in assume mode.
grant rolegate_admitted to rolegate_grantor with admin option;

-- Callers' code runs on these logins, and whatever is in pg_stat_activity others of the same
-- login can read. Only a superuser may set this, so the code cannot turn it back on.
alter role rolegate_authenticator set track_activities = off;
alter role rolegate_anonymous set track_activities = off;

-- The database. Temporary objects shadow real ones, so nobody has them unless granted by name.
revoke connect, temporary, create on database "the database" from public;
grant connect on database "the database" to
    rolegate_migrator, rolegate_authenticator, rolegate_anonymous, rolegate_gateway,
    rolegate_worker, rolegate_receiver, rolegate_maintenance, rolegate_console,
    rolegate_replicator, rolegate_runtime, rolegate_operator, rolegate_viewer, rolegate_admitted;
grant create on database "the database" to rolegate_owner;

-- PUBLIC may create in `public` in databases that were upgraded from before 15.
do $public$
begin
    if pg_catalog.to_regnamespace('public') is not null then
        revoke create on schema public from public;
    end if;
end
$public$;

-- Made here with its owner, so that nobody else can have made it first.
create schema if not exists rolegate authorization rolegate_owner;

-- What event triggers run, in the sessions of all who define something, superusers too. Whoever owned these two
-- functions could make them run as those; so their owner is nobody, and what they call runs as the schema's.
create or replace function rolegate.note_command() returns event_trigger
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ begin perform rolegate.note_changed_definitions(); end $$;
alter function rolegate.note_command() owner to rolegate_publisher;
revoke execute on function rolegate.note_command() from public;
create or replace function rolegate.note_drop() returns event_trigger
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ begin perform rolegate.note_dropped_definitions(); end $$;
alter function rolegate.note_drop() owner to rolegate_publisher;
revoke execute on function rolegate.note_drop() from public;

-- A function is executable by PUBLIC from its first moment unless this says otherwise. It has to
-- be the global default: one for a schema can only add to it.
alter default privileges for role rolegate_owner revoke execute on functions from public;

-- Built-in functions that reach around roles: large objects (storage without quota or owner),
-- advisory locks (one name space for all tenants), messages in the WAL, other backends.
-- Releasing advisory locks stays open to everybody: the session's clean-up does it. The names of
-- prepared statements are hidden, so that no caller can put his own statement under one of ours.
do $builtin$
declare
    f pg_catalog.regprocedure;
begin
    for f in
        select p.oid from pg_catalog.pg_proc p
        where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
            and (p.proname ~ '^lo_'
                or p.proname ~ '^pg_(try_)?advisory_(xact_)?lock'
                or p.proname in ('loread', 'lowrite', 'pg_logical_emit_message',
                    'pg_terminate_backend', 'pg_cancel_backend', 'pg_prepared_statement'))
    loop
        execute pg_catalog.format('revoke execute on function %s from public', f);
    end loop;
end
$builtin$;

-- Back to those who need them. One migration at a time; one leader at a time.
grant execute on function pg_catalog.pg_advisory_lock(bigint), pg_catalog.pg_try_advisory_lock(bigint)
    to rolegate_migrator, rolegate_maintenance;
-- Inside the engine's own definer functions.
grant execute on function pg_catalog.pg_advisory_xact_lock(bigint), pg_catalog.pg_try_advisory_xact_lock(bigint),
    pg_catalog.pg_advisory_xact_lock_shared(bigint), pg_catalog.pg_try_advisory_xact_lock_shared(bigint),
    pg_catalog.pg_try_advisory_lock(bigint), pg_catalog.pg_prepared_statement()
    to rolegate_owner;
-- What our functions write into the change stream. The number of its arguments depends on the version.
do $messages$
declare
    f pg_catalog.regprocedure;
begin
    for f in
        select p.oid from pg_catalog.pg_proc p
        where p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
            and p.proname = 'pg_logical_emit_message'
    loop
        execute pg_catalog.format('grant execute on function %s to rolegate_owner', f);
    end loop;
end
$messages$;
-- A new slot on a standby waits for the primary to list the open transactions; 16 can be asked to.
do $listing$
begin
    if pg_catalog.to_regprocedure('pg_catalog.pg_log_standby_snapshot()') is not null then
        grant execute on function pg_catalog.pg_log_standby_snapshot() to rolegate_replicator;
    end if;
end
$listing$;
-- Whoever was made an administrator of other backends stays one.
grant execute on function pg_catalog.pg_cancel_backend(integer), pg_catalog.pg_terminate_backend(integer, bigint)
    to pg_signal_backend;

commit;
