-- What callers find: functions that run any SQL they are given, and one table for each role.
create schema api;
grant usage on schema api to public;

create table api.alices (note text);
insert into api.alices values ('of alice');
create table api.bobs (note text);
insert into api.bobs values ('of bob');

-- One row for each run of a call, so that a test can see what was committed and how often.
create table api.run (id text);
grant insert, select on api.run to public;

create sequence api.ticket;
grant usage on sequence api.ticket to public;

create function api.do_sql(sql text) returns text language plpgsql as $$
begin
    execute sql;
    return 'done';
end $$;

create function api.read_sql(sql text) returns text language plpgsql as $$
declare
    answer text;
begin
    execute sql into answer;
    return answer;
end $$;

-- Does one thing, then reads another, as a caller's dynamic SQL would.
create function api.do_and_read(sql text, question text) returns text language plpgsql as $$
begin
    execute sql;
    return api.read_sql(question);
end $$;

create function api.record(id text) returns text language plpgsql as $$
begin
    insert into api.run values (id);
    return id;
end $$;

-- Waits while the test holds the gate, so that a test knows when a call is running.
create function api.wait_at_gate() returns void language sql security definer
set search_path = pg_catalog, pg_temp
as 'select pg_catalog.pg_advisory_xact_lock(4711)';

create function api.record_at_gate(id text) returns text language plpgsql as $$
begin
    insert into api.run values (id);
    perform api.wait_at_gate();
    return id;
end $$;

create function api.who() returns text language sql as
$$ select pg_catalog.concat_ws(' ', current_user, session_user, rolegate.claim('sub')) $$;

create procedure api.commit_inside(id text) language plpgsql as $$
begin
    insert into api.run values (id);
    commit;
    insert into api.run values (id || ' again');
end $$;
