-- In the order of the ids, so that two requests for the same jobs wait for each other and no more.
select coalesce(
    pg_catalog.json_agg(
        pg_catalog.json_build_object('id', d.id, 'state', 'cancelled') order by d.id), '[]')
from (
    select i.id, rolegate.cancel(i.id, $2) as done
    from (select u.id from pg_catalog.unnest($1) u (id) order by u.id) i
    offset 0
) d
where d.done
