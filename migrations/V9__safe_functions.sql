-- Functions that an operator declares safe for assume mode, in exactly their present text.

create table rolegate.safe_function (
    function_oid oid primary key,
    definition_hash text not null,
    declared_at timestamptz not null default pg_catalog.now(),
    declared_by name not null
);

create trigger advance_epoch after insert or update or delete or truncate on rolegate.safe_function
    for each statement execute function rolegate.advance_epoch();

-- NULL for what is not there or has no definition text (aggregates).
create function rolegate.definition_hash(function_oid oid) returns text
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select pg_catalog.encode(pg_catalog.sha256(
        pg_catalog.convert_to(pg_catalog.pg_get_functiondef(p.oid), 'UTF8')), 'hex')
    from pg_catalog.pg_proc p
    where p.oid = definition_hash.function_oid and p.prokind in ('f', 'p')
$$;
revoke execute on function rolegate.definition_hash(oid) from public;

-- Whoever declares a function safe vouches that no argument of a call becomes SQL text in it. Such
-- text runs on the connection of the login that may become every admitted role: it could switch to
-- another one, read as it, and switch back before the check at the end of the call, which would
-- then see nothing (docs/adr/0002-session-core.md). Nothing but the declaration stands in between.
create function rolegate.declare_safe(function regprocedure) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    hash text := rolegate.definition_hash(function);
begin
    if hash is null then
        raise exception using
            errcode = 'undefined_function',
            message = 'only functions and procedures can be declared safe';
    end if;
    insert into rolegate.safe_function as s (function_oid, definition_hash, declared_by)
    values (function, hash, rolegate.actor())
    on conflict (function_oid) do update set
        definition_hash = excluded.definition_hash,
        declared_at = excluded.declared_at,
        declared_by = excluded.declared_by;
end
$$;
revoke execute on function rolegate.declare_safe(regprocedure) from public;
grant execute on function rolegate.declare_safe(regprocedure) to rolegate_operator;
comment on function rolegate.declare_safe(regprocedure) is
'Lets a function run in assume mode, in exactly its present text. Read it first: if an argument of a call becomes SQL text in it, a caller can act as any other role that is admitted in assume mode.';

create function rolegate.undeclare_safe(function regprocedure) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    delete from rolegate.safe_function s where s.function_oid = function;
    return found;
end
$$;
revoke execute on function rolegate.undeclare_safe(regprocedure) from public;
grant execute on function rolegate.undeclare_safe(regprocedure) to rolegate_operator;

-- Only declarations that still hold: a changed definition is another function.
create function rolegate.safe_functions() returns table (function_oid oid, definition_hash text)
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select s.function_oid, s.definition_hash from rolegate.safe_function s
    where s.definition_hash = rolegate.definition_hash(s.function_oid)
$$;
revoke execute on function rolegate.safe_functions() from public;
grant execute on function rolegate.safe_functions() to rolegate_gateway;
