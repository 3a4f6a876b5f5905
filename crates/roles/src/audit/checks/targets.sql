-- The roles that requests can become: $1 the role without a token, the admitted ones, and
-- whatever the shared login is a member of.
with recursive
membership as (
    select distinct m.member, m.roleid from pg_catalog.pg_auth_members m
),
admitted (oid) as (
    select m.member
    from membership m join pg_catalog.pg_roles g on g.oid = m.roleid
    where g.rolname = 'rolegate_admitted'
    union
    select m.member from membership m join admitted a on a.oid = m.roleid
    -- Who is in the group only for admitting others is never a target; `grantor_gets_in` is about
    -- him.
    where a.oid not in (select r.oid from pg_catalog.pg_roles r where r.rolname = 'rolegate_grantor')
)
select r.oid as role_oid, r.rolname::pg_catalog.text as role_name, a.oid is not null as admitted,
    b.roleid is not null as assumed
from pg_catalog.pg_roles r
left join admitted a on a.oid = r.oid
left join membership b on b.roleid = r.oid
    and b.member = (select l.oid from pg_catalog.pg_roles l where l.rolname = 'rolegate_authenticator')
where (a.oid is not null and not pg_catalog.starts_with(r.rolname, 'rolegate_'))
    or b.roleid is not null
    or r.rolname = $1::pg_catalog.text
order by r.rolname
