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
create type api.line as (name text, at timestamptz, sizes int[]);
create type api.sheet as (title text, lines api.line[], more jsonb);
create domain api.pair as int[] check (cardinality(value) = 2);
create function api.parts_as_function(
    inout tags text[], out large bigint, out exact numeric, out grid int[], out nothing int[],
    out empty text[], out sheet api.sheet, out gone api.sheet, out moods api.mood[],
    out pair api.pair, out boxes box[], out documents json[], out document jsonb, out day date,
    out times timestamptz[], out floats float8[], out flags boolean[], out span int4range[],
    out bytes bytea[], out "Odd ""name""" numeric[], out result text)
language plpgsql as $$
begin
    large := 9007199254740993;
    exact := 1.10;
    grid := '[2:3][0:1]={{1,2},{3,NULL}}';
    empty := '{}';
    sheet := row('a "quoted", (b)\', array[
        row('x', '2024-02-29 12:00:00+00', '{1,2}')::api.line,
        row(null, 'infinity', null)::api.line, null], '{"n": 9007199254740993, "d": 1.10}')::api.sheet;
    moods := '{sad,NULL,happy}';
    pair := '{7,8}';
    boxes := '{(1,2),(3,4);(5,6),(7,8)}';
    documents := array['{"z": 1.10,  "a": null}'::json, null, '9007199254740993'];
    document := '{"b": [1.10, 9007199254740993]}';
    day := '2024-02-29';
    times := array['2024-02-29 12:00:00.5+00', '-infinity']::timestamptz[];
    floats := '{0.1,NaN,-Infinity,1e100}';
    flags := '{t,f,NULL}';
    span := '{"[1,5)",empty}';
    bytes := array['\x00ff'::bytea];
    "Odd ""name""" := '{9007199254740993,1.10}';
    result := E'text\n';
end$$;
create procedure api.parts(
    inout tags text[], out large bigint, out exact numeric, out grid int[], out nothing int[],
    out empty text[], out sheet api.sheet, out gone api.sheet, out moods api.mood[],
    out pair api.pair, out boxes box[], out documents json[], out document jsonb, out day date,
    out times timestamptz[], out floats float8[], out flags boolean[], out span int4range[],
    out bytes bytea[], out "Odd ""name""" numeric[], out result text)
language plpgsql as $$
declare f record;
begin
    select * into f from api.parts_as_function(tags);
    tags := f.tags; large := f.large; exact := f.exact; grid := f.grid; nothing := f.nothing;
    empty := f.empty; sheet := f.sheet; gone := f.gone; moods := f.moods; pair := f.pair;
    boxes := f.boxes; documents := f.documents; document := f.document; day := f.day;
    times := f.times; floats := f.floats; flags := f.flags; span := f.span; bytes := f.bytes;
    "Odd ""name""" := f."Odd ""name"""; result := f.result;
    insert into public.app_written default values;
end$$;
create procedure api.parts_and_error(out a int[]) language plpgsql as $$
begin
    insert into public.app_written default values;
    raise exception 'no way';
end$$;
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
create function api.rows_and_write() returns setof bigint language sql as 'select api.write()';
create function api.rows_and_sneak() returns setof bigint language plpgsql stable
    as $$begin return next api.write(); end$$;
create function api.refuses() returns void language plpgsql
    as $$begin raise sqlstate 'PT405' using message = 'not this way'; end$$;
create function api.says_405(allow text) returns int language plpgsql as $$
begin
    perform set_config('response.status', '405', true);
    if allow is not null then
        perform set_config('response.headers',
            json_build_array(json_build_object('Allow', allow))::text, true);
    end if;
    return 1;
end$$;
create function api.written() returns bigint language sql stable
    as 'select count(*) from public.app_written';
create function api.fails_once() returns int language plpgsql as $$
begin
    if (select fail from public.app_state) then raise exception 'not yet'; end if;
    return 1;
end$$;
create function api.sleepy(seconds double precision) returns void language sql
    as 'select pg_sleep(seconds)';
