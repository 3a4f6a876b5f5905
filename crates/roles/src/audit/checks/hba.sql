-- Lines of pg_hba.conf that let somebody in without a password exchange over the network, or with
-- one that shows the password or breaks easily.
select
    'login_without_scram' as id, 'error' as severity,
    'pg_hba.conf line ' || h.line_number as object,
    case
        when h.error is not null then 'This line cannot be read: ' || h.error || '.'
        when h.auth_method = 'trust' then 'This line lets in whoever names a role.'
        when h.auth_method = 'ident' then 'This line believes what the other machine says.'
        when h.auth_method = 'password' then 'This line asks for the password in clear text.'
        else 'This line accepts the weak MD5 exchange.'
    end as message,
    array[coalesce(pg_catalog.concat_ws(' ', h.type, pg_catalog.array_to_string(h.database, ','),
        pg_catalog.array_to_string(h.user_name, ','), h.address, h.auth_method), '?')] as chain,
    '-- use scram-sha-256 (over the network) or peer (socket) in this line, then: select pg_reload_conf();'
        as fix
from pg_catalog.pg_hba_file_rules h
where h.error is not null
    or h.auth_method in ('trust', 'password', 'md5')
    or (h.auth_method = 'ident' and h.type <> 'local')
