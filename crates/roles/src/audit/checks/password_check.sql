-- Lines of pg_hba.conf that the gateway's password check meets and that do not ask for SCRAM: the
-- gateway believes nothing else, so that whoever meets such a line cannot log in. $1: the client's
-- addresses if it is on this machine, else none; $2: whether it comes with TLS.
with rule as (
    select pg_catalog.row_number() over () as position, h.line_number, h.type, h.database,
        h.user_name, h.address, h.netmask, h.auth_method,
        -- Names have no mask, and neither have these words.
        case
            when h.netmask is null
                then coalesce(h.address in ('all', 'samehost', 'samenet', 'localhost'), false)
            else exists (
                select from pg_catalog.unnest($1::pg_catalog.text[]) c (address)
                where case when pg_catalog.family(c.address::pg_catalog.inet)
                        = pg_catalog.family(h.netmask::pg_catalog.inet)
                    then c.address::pg_catalog.inet & h.netmask::pg_catalog.inet
                        = h.address::pg_catalog.inet & h.netmask::pg_catalog.inet
                    else false end)
        end as meets_loopback,
        -- Nobody of another machine is in these.
        case
            when h.netmask is null then coalesce(h.address in ('localhost', 'samehost'), false)
            when pg_catalog.family(h.address::pg_catalog.inet) = 4
                then h.netmask::pg_catalog.inet >= '255.0.0.0'::pg_catalog.inet
                    and h.address::pg_catalog.inet <<= '127.0.0.0/8'::pg_catalog.inet
            else h.netmask = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'
                and h.address::pg_catalog.inet = '::1'::pg_catalog.inet
        end as only_loopback
    from pg_catalog.pg_hba_file_rules h
    where h.error is null
),
met as (
    select r.* from rule r
    where r.type = any (array['host', 'hostnogssenc',
            case when $2::pg_catalog.bool then 'hostssl' else 'hostnossl' end])
        and exists (
            select from pg_catalog.unnest(r.database) d (name)
            where d.name in ('all', pg_catalog.current_database(), 'sameuser', 'samerole', 'samegroup')
                or pg_catalog.starts_with(d.name, '/'))
        -- Our own logins do not come by with a password of a person.
        and not (select pg_catalog.bool_and(pg_catalog.starts_with(u.name, 'rolegate_'))
            from pg_catalog.unnest(r.user_name) u (name))
        and case when pg_catalog.cardinality($1) > 0 then r.meets_loopback
            else not r.only_loopback end
),
-- For everybody: nobody comes as far as the lines after it.
final as (
    select pg_catalog.min(m.position) as position from met m
    where 'all' = any (m.user_name)
        and ('all' = any (m.database) or pg_catalog.current_database()::pg_catalog.text = any (m.database))
        and (m.address = 'all'
            or (pg_catalog.cardinality($1) = 1 and m.address not in ('samehost', 'samenet')))
)
select
    'password_check_without_scram' as id, 'error' as severity,
    'pg_hba.conf line ' || m.line_number as object,
    case m.auth_method
        when 'trust' then 'The gateway checks passwords through this line, which checks none.'
        when 'cert' then 'The gateway checks passwords through this line, which asks for a certificate.'
        else 'The gateway checks passwords through this line, which does not ask for SCRAM.'
    end || ' It gives nobody a token there.' as message,
    array['login.address', pg_catalog.concat_ws(' ', m.type,
        pg_catalog.array_to_string(m.database, ','), pg_catalog.array_to_string(m.user_name, ','),
        m.address, m.auth_method)] as chain,
    '-- use scram-sha-256 in this line, then: select pg_reload_conf();' as fix
from met m
where m.auth_method not in ('scram-sha-256', 'reject')
    and m.position <= coalesce((select f.position from final f), m.position)
