-- Roles of ours that count as admitted: whoever may log in as the admitted ones may then log in as
-- them, and members of theirs are admitted without anybody having done it. The grantor's role is
-- one by design; it cannot log in, and its members have a finding of their own.
with recursive
membership as (
    -- Since 16 the same membership can be granted by several grantors.
    select distinct m.member, m.roleid from pg_catalog.pg_auth_members m
),
admitted (oid) as (
    select m.member
    from membership m join pg_catalog.pg_roles g on g.oid = m.roleid
    where g.rolname = 'rolegate_admitted'
    union
    select m.member from membership m join admitted a on a.oid = m.roleid
),
-- The members one step nearer to the group.
step (member, through) as (
    select m.member, r.rolname::pg_catalog.text
    from membership m join pg_catalog.pg_roles r on r.oid = m.roleid
    where r.rolname = 'rolegate_admitted' or m.roleid in (select a.oid from admitted a)
)
select
    'engine_role_admitted' as id, 'error' as severity,
    pg_catalog.quote_ident(r.rolname) as object,
    'This role of the engine counts as admitted, and no request may become one.' as message,
    array[pg_catalog.quote_ident(r.rolname)::pg_catalog.text,
        'member of ' || pg_catalog.quote_ident(s.through)]
        || case when s.through = 'rolegate_admitted' then array[]::pg_catalog.text[]
            else array['member of rolegate_admitted'] end as chain,
    'revoke ' || pg_catalog.quote_ident(s.through) || ' from '
        || pg_catalog.quote_ident(r.rolname) || ';' as fix
from pg_catalog.pg_roles r
join admitted a on a.oid = r.oid
join step s on s.member = r.oid
where pg_catalog.starts_with(r.rolname, 'rolegate_')
    and not (r.rolname = 'rolegate_grantor' and s.through = 'rolegate_admitted')
