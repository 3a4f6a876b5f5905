-- One role: whether it may be a target at all, how it can be reached, and its settings. $1 name,
-- $2 the authenticator's name, $3 role prefix, $4 allow-listed pg_* roles.
with recursive target as (
    select r.* from pg_catalog.pg_roles r where r.rolname = $1::text
),
-- Everything the target can become or inherits from, with the path that leads there.
closure (oid, path) as (
    select t.oid, t.rolname::text from target t
    union
    select m.roleid, c.path || ' -> ' || r.rolname
    from closure c
    join pg_catalog.pg_auth_members m on m.member = c.oid
    join pg_catalog.pg_roles r on r.oid = m.roleid
    -- A membership graph has no cycles, but a path that long is no role to accept either.
    where pg_catalog.length(c.path) < 4000
),
verdict as (
    select min(c.path || ' (' || why.reason || ')') as forbidden
    from closure c
    join pg_catalog.pg_roles r on r.oid = c.oid
    cross join lateral (
        values
            (r.rolsuper, 'superuser'),
            (r.rolbypassrls, 'bypasses row security'),
            (r.rolcreaterole, 'may create roles'),
            (r.rolreplication, 'may replicate'),
            (
                r.rolname like 'pg\_%' and not (r.rolname::text = any ($4::text[])),
                'predefined role'
            ),
            (
                pg_catalog.starts_with(r.rolname::text, $3::text || '_')
                and r.rolname::text not in (
                    $3::text || '_operator', $3::text || '_viewer', $3::text || '_producer',
                    $3::text || '_requester', $3::text || '_on_behalf', $3::text || '_admitted',
                    $3::text || '_anonymous'
                ),
                'engine role'
            ),
            (
                r.oid = (
                    select d.datdba from pg_catalog.pg_database d
                    where d.datname = pg_catalog.current_database()
                ),
                'owns the database'
            )
    ) why (holds, reason)
    where why.holds
)
select
    t.oid,
    t.rolcanlogin and coalesce(t.rolvaliduntil > pg_catalog.now(), true),
    v.forbidden,
    exists (
        select from closure c
        join pg_catalog.pg_roles r on r.oid = c.oid
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
    (
        select pg_catalog.hashtextextended(
            pg_catalog.string_agg(c.path, ',' order by c.path collate "C"), 0)
        from closure c
    )
from target t
cross join verdict v
