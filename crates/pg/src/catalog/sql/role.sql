-- One role: whether it may be a target at all, how it can be reached, and its settings. $1 name,
-- $2 the authenticator's name, $3 role prefix, $4 allow-listed pg_* roles.
--
-- What makes a role too powerful is decided in rolegate.forbidden_roles() and nowhere else: whoever
-- hands out tokens in SQL asks the same function, and a role that is refused there and let in here, or
-- the other way round, would be a hole that no test of either side sees. It runs with its owner's
-- rights, but all it reads is in catalogs that everybody may read.
with recursive target as (
    select r.* from pg_catalog.pg_roles r where r.rolname = $1::text
),
-- Every membership the target has, directly or through others, whatever its options.
reached (member, roleid) as (
    select m.member, m.roleid
    from target t
    join pg_catalog.pg_auth_members m on m.member = t.oid
    union
    select m.member, m.roleid
    from reached w
    join pg_catalog.pg_auth_members m on m.member = w.roleid
),
-- The login for requests without a token is an engine role, and the only one that is its own target.
anonymous as (
    select t.oid, t.rolname || ' (engine role)' as by_itself
    from target t
    where t.rolname::text = $3::text || '_anonymous'
),
verdict as (
    select coalesce(
        (
            select f.chain
            from target t
            cross join lateral rolegate.forbidden_roles(t.oid, $4::text[]) f
            where not exists (select from anonymous a where a.by_itself = f.chain)
        ),
        -- The chain of one step hides longer ones.
        (
            select min($1::text || ' -> ' || f.chain)
            from anonymous a
            join pg_catalog.pg_auth_members m on m.member = a.oid
            cross join lateral rolegate.forbidden_roles(m.roleid, $4::text[]) f
        )
    ) as forbidden
)
select
    t.oid,
    t.rolcanlogin and coalesce(t.rolvaliduntil > pg_catalog.now(), true),
    v.forbidden,
    exists (
        select from reached w
        join pg_catalog.pg_roles r on r.oid = w.roleid
        where r.rolname::text = $3::text || '_admitted'
    ),
    exists (
        select from pg_catalog.pg_roles a
        where a.rolname = $2::text and pg_catalog.pg_has_role(a.oid, t.oid, 'MEMBER')
    ),
    array(
        select setting.text
        from pg_catalog.pg_db_role_setting s
        cross join lateral pg_catalog.unnest(s.setconfig) with ordinality setting (text, position)
        join pg_catalog.pg_settings g
            on pg_catalog.lower(g.name)
            = pg_catalog.lower(pg_catalog.split_part(setting.text, '=', 1))
        where s.setrole = t.oid
            and s.setdatabase in (
                0,
                (
                    select d.oid from pg_catalog.pg_database d
                    where d.datname = pg_catalog.current_database()
                )
            )
            and g.context = 'user'
        -- Settings for this database override those for all.
        order by s.setdatabase, setting.position
    ),
    -- Changes with every membership on the way, and with every name.
    (
        select pg_catalog.hashtextextended(
            coalesce(
                pg_catalog.string_agg(
                    w.member::text || ':' || w.roleid::text || ':' || r.rolname, ','
                    order by w.member, w.roleid
                ),
                ''
            ), 0)
        from reached w
        join pg_catalog.pg_roles r on r.oid = w.roleid
    )
from target t
cross join verdict v
