-- As grantors.sql, without the lines that would tell whether they are let in.
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
)
select
    'grantor_gets_in' as id, 'warning' as severity,
    pg_catalog.quote_ident(r.rolname) as object,
    'This role may admit roles. If pg_ident.conf has a line for +rolegate_admitted, whoever logs in by '
        || 'it logs in as this role too, unless a line of pg_hba.conf refuses it before. This login '
        || 'may not read the lines.' as message,
    array[
        pg_catalog.quote_ident(r.rolname)::pg_catalog.text,
        case when exists (
                select from membership m join pg_catalog.pg_roles g on g.oid = m.roleid
                where m.member = r.oid and g.rolname = 'rolegate_grantor')
            then 'member of rolegate_grantor' else 'member of rolegate_grantor through others' end,
        'member of rolegate_admitted'
    ] as chain,
    '-- first line of pg_hba.conf: local all +rolegate_grantor reject' || E'\n'
        || '-- then run the audit as a superuser, or accept this finding by name' as fix
from pg_catalog.pg_roles r
join grantor g on g.oid = r.oid
where r.rolcanlogin
    and pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000
