select coalesce(
    pg_catalog.json_agg(
        pg_catalog.json_build_object('id', d.id, 'state', 'available') order by d.id), '[]')
from (
    select i.id, rolegate.retry(i.id) as done
    from (select u.id from pg_catalog.unnest($1) u (id) order by u.id) i
    offset 0
) d
where d.done
