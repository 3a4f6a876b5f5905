-- Exposed functions that could leave the role in assume mode: caller's rights, and a body that
-- may run SQL text, change settings, or cannot be read. A check of the text, without comments:
-- it says yes too often rather than too seldom.
select
    'function_needs_login_mode' as id, 'warning' as severity,
    p.oid::pg_catalog.regprocedure::pg_catalog.text as object,
    'In assume mode this ' || w.word || ' is refused: ' || case
        when l.lanname not in ('sql', 'plpgsql') then 'a body in ' || l.lanname || ' cannot be checked'
        when b.body ~* '\m(commit|rollback)\M' and p.prokind = 'p' then 'it ends transactions'
        when p.proconfig is not null and pg_catalog.array_to_string(p.proconfig, ' ')
            ~* '(^|\s)(role|session_authorization)=' then 'it sets the role'
        else 'it may run SQL text or change settings'
    end || '.' as message,
    array[]::pg_catalog.text[] as chain,
    'select rolegate.declare_safe(' || pg_catalog.quote_literal(
        p.oid::pg_catalog.regprocedure::pg_catalog.text) || '); -- after reading it' as fix
from pg_catalog.pg_proc p
join app_schema s on s.oid = p.pronamespace and s.exposed
join pg_catalog.pg_language l on l.oid = p.prolang
join (values ('f', 'function'), ('p', 'procedure')) w (prokind, word)
    on w.prokind = p.prokind::pg_catalog.text
cross join lateral (
    select pg_catalog.regexp_replace(
        pg_catalog.regexp_replace(
            coalesce(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc, ''), '/\*.*?\*/', ' ', 'g'),
        '--[^\n]*', ' ', 'g') as body
) b
where not p.prosecdef
    and p.prorettype not in (
        'pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype)
    and p.oid not in (select m.objid from extension_member m
        where m.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass)
    and (
        l.lanname not in ('sql', 'plpgsql')
        or (l.lanname = 'plpgsql' and b.body ~* '\mexecute\M')
        or b.body ~* '\m(set_config|query_to_xml\w*|cursor_to_xml\w*|table_to_xml\w*|schema_to_xml\w*|database_to_xml\w*|dblink\w*|ts_stat|ts_rewrite)\M'
        or b.body ~* '\m(set|reset)\s+(local\s+|session\s+)?(role|session|authorization|all)\M'
        or (p.prokind = 'p' and b.body ~* '\m(commit|rollback)\M')
        or pg_catalog.array_to_string(p.proconfig, ' ') ~* '(^|\s)(role|session_authorization)='
    )
    and p.oid <> all ($3::pg_catalog.oid[])
