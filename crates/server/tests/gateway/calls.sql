create type api.mood as enum ('sad', 'happy');
create type api.rectangle as (w int, h int);
create table app_written (id bigint generated always as identity, unique (id));
create table app_state (fail boolean not null);
insert into app_state values (true);
grant select, insert on app_written to CALLER;
grant select on app_state to CALLER;
create table app_unique (v int unique);
insert into app_unique values (1);
grant insert on app_unique to CALLER;

create function api.add(a int, b int default 10) returns int language sql immutable
    as 'select a + b';
create function api.echo(value jsonb) returns jsonb language sql stable as 'select value';
create function api.numbers() returns table (a bigint, b numeric) language sql stable
    as 'select 9007199254740993, 1.10';
create function api.twice(value bigint) returns bigint language sql stable as 'select value * 2';
create function api.total(amounts numeric[]) returns numeric language sql stable
    as 'select sum(x) from unnest(amounts) x';
create function api.label(m api.mood) returns api.mood language sql stable as 'select m';
create function api.area(r api.rectangle) returns int language sql stable as 'select r.w * r.h';
create function api.joined(separator text, variadic parts text[]) returns text language sql stable
    as 'select array_to_string(parts, separator)';
create function api.nothing() returns void language sql as '';
create function api.no_value() returns text language sql stable as 'select null::text';
create function api.series(n int) returns setof int language sql stable
    as 'select generate_series(1, n)';
create function api.series_then_error(n int) returns setof int language sql stable
    as 'select case when i < n then i else 1 / (i - i) end from generate_series(1, n) i';
create procedure api.multiply(a int, inout b int default 3) language plpgsql
    as $$begin b := a * b; end$$;
create procedure api.commits() language plpgsql as $$begin commit; end$$;
create function api.missing_table() returns int language plpgsql
    as $$begin return (select 1 from hidden_table); end$$;
create function api.broken() returns void language plpgsql
    as $$begin raise exception 'no way' using hint = 'try later'; end$$;
create function api.conflict() returns void language plpgsql
    as $$begin raise sqlstate 'PT409' using message = 'busy'; end$$;
create function api.unique_twice() returns void language sql
    as 'insert into public.app_unique values (1)';
create function api.secretive() returns int language sql
    as $$select (array['hidden value'])[1]::int$$;
create function api.write() returns bigint language plpgsql as $$
declare n bigint;
begin
    insert into public.app_written default values returning id into n;
    perform set_config('response.status', '201', true);
    return n;
end$$;
create function api.sneaky_write() returns void language plpgsql stable
    as $$begin perform api.write(); end$$;
create function api.written() returns bigint language sql stable
    as 'select count(*) from public.app_written';
create function api.fails_once() returns int language plpgsql as $$
begin
    if (select fail from public.app_state) then raise exception 'not yet'; end if;
    return 1;
end$$;
create function api.sleepy(seconds double precision) returns void language sql
    as 'select pg_sleep(seconds)';
