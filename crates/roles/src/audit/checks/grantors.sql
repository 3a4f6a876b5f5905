-- Who may admit roles is a member of the group of admitted ones: a line of pg_ident.conf for the
-- members of the group (since 16) lets the gateway's process log in as them, unless a line of
-- pg_hba.conf refuses them before.
with recursive
membership as (
    select distinct m.member, m.roleid from pg_catalog.pg_auth_members m
),
grantor (oid) as (
    select m.member
    from membership m join pg_catalog.pg_roles g on g.oid = m.roleid
    where g.rolname = 'rolegate_grantor'
    union
    select m.member from membership m join grantor g on g.oid = m.roleid
),
candidate as (
    select r.oid, r.rolname::pg_catalog.text as name
    from pg_catalog.pg_roles r join grantor g on g.oid = r.oid
    where r.rolcanlogin
),
belongs (oid, name, roleid) as (
    select c.oid, c.name, c.oid from candidate c
    union
    select b.oid, b.name, m.roleid from belongs b join membership m on m.member = b.roleid
),
rule as (
    select pg_catalog.row_number() over () as position, h.database, h.user_name, h.auth_method,
        h.options, h.line_number
    from pg_catalog.pg_hba_file_rules h
    where h.type = 'local' and h.error is null
),
-- The line of pg_hba.conf that decides: the first that names database and role.
deciding as (
    select distinct on (c.oid) c.oid, c.name, r.auth_method, r.options, r.line_number
    from candidate c cross join rule r
    where exists (
            select from pg_catalog.unnest(r.database) d (name)
            where case
                when d.name = 'all' or d.name = pg_catalog.current_database() then true
                when d.name = 'sameuser' then c.name = pg_catalog.current_database()
                when d.name in ('samerole', 'samegroup') then exists (
                    select from belongs b join pg_catalog.pg_roles g on g.oid = b.roleid
                    where b.oid = c.oid and g.rolname = pg_catalog.current_database())
                when pg_catalog.starts_with(d.name, '/')
                    then pg_catalog.current_database() ~ pg_catalog.substr(d.name, 2)
                else false end)
        and exists (
            select from pg_catalog.unnest(r.user_name) u (name)
            where case
                when u.name = 'all' or u.name = c.name then true
                when pg_catalog.starts_with(u.name, '+') then exists (
                    select from belongs b join pg_catalog.pg_roles g on g.oid = b.roleid
                    where b.oid = c.oid and g.rolname = pg_catalog.substr(u.name, 2))
                when pg_catalog.starts_with(u.name, '/') then c.name ~ pg_catalog.substr(u.name, 2)
                else false end)
    order by c.oid, r.position
)
select distinct on (d.oid)
    'grantor_gets_in' as id, 'error' as severity,
    pg_catalog.quote_ident(d.name) as object,
    'This role may admit roles, and whoever logs in as the admitted ones logs in as this one too.'
        as message,
    array[
        pg_catalog.quote_ident(d.name)::pg_catalog.text,
        case when exists (
                select from membership m join pg_catalog.pg_roles g on g.oid = m.roleid
                where m.member = d.oid and g.rolname = 'rolegate_grantor')
            then 'member of rolegate_grantor' else 'member of rolegate_grantor through others' end,
        'member of rolegate_admitted',
        'pg_hba.conf line ' || d.line_number || ' (map ' || i.map_name || ')',
        'pg_ident.conf line ' || i.line_number || ' (' || i.sys_name || ' as ' || i.pg_username || ')'
    ] as chain,
    '-- before that line of pg_hba.conf: local all +rolegate_grantor reject' || E'\n'
        || '-- or let somebody admit roles who cannot log in at this socket' as fix
from deciding d
join pg_catalog.pg_ident_file_mappings i
    on i.error is null and i.pg_username = '+rolegate_admitted'
        and 'map=' || i.map_name = any (d.options)
where d.auth_method = 'peer'
    and pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000
order by d.oid, i.line_number
