create schema api;
grant usage on schema api to clerk_role;
grant rolegate_producer to clerk_role;
select rolegate.create_queue('rust');
-- Or the last of many retries would take longer than the storm.
select rolegate.set_queue(q, backoff => '200 ms', max_backoff => '2 s') from unnest(array['default', 'rust']) q;
-- So short that the ring turns and is emptied under the storm.
update rolegate.job_setting set completed_retention = '4 s';

create table public.sent (n bigint primary key);
create table public.run (
    n bigint not null, at timestamptz not null default clock_timestamp(), worker text not null);
create index on public.run (n);

-- What the ring does, and forgets: where each job was put, what was handed out, what ended. Copies of the rows,
-- written in the transactions that write them, and looked up in nothing: they are put together when all is over.
create table public.placed (id bigint not null, lane integer not null, n bigint not null);
create table public.claimed (claim bigint not null, lane integer not null, at timestamptz not null, jobs bigint[] not null);
create table public.outcome (
    claim bigint not null, at timestamptz not null default clock_timestamp(), ordinals smallint[] not null,
    states "char"[], completed integer not null);
grant insert on public.sent, public.run to clerk_role;

create function public.note_place() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
    insert into public.placed (id, lane, n) values (new.id, new.lane, (new.args ->> 'n')::bigint);
    return null;
end $$;
create trigger note_place after insert on rolegate.job
for each row execute function public.note_place();

create function public.note_claim() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
    insert into public.claimed (claim, lane, at, jobs) values (new.id, new.lane, new.at, new.jobs);
    return null;
end $$;
create trigger note_claim after insert on rolegate.job_claim
for each row when (new.jobs <> '{}') execute function public.note_claim();

create function public.note_outcome() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
    insert into public.outcome (claim, ordinals, states, completed)
    values (
        new.claim, new.ordinals, new.states, cardinality(coalesce(
            array_positions(new.states, 'c'::"char"), new.ordinals::integer[])));
    return null;
end $$;
create trigger note_outcome after insert on rolegate.job_outcome
for each row execute function public.note_outcome();

-- Jobs of every kind end: most at the first attempt, some fail now and then, some fail for good.
create function api.work(n bigint) returns bigint language plpgsql
set search_path = pg_catalog, public, pg_temp as $$
begin
    if n % 50 = 7 and random() < 0.5 then
        raise exception 'not this time';
    end if;
    if n % 50 = 8 then
        raise exception 'never';
    end if;
    insert into public.run (n, worker) values (work.n, 'function');
    return work.n;
end $$;

-- `count` jobs from `first` on; one in ten comes later, one in eight is for the worker in Rust.
create function public.send(first bigint, count integer) returns void language plpgsql
set search_path = pg_catalog, public, pg_temp as $$
begin
    for n in first..first + count - 1 loop
        insert into public.sent (n) values (n);
        perform rolegate.enqueue(
            case when n % 8 = 0 and n % 50 <> 8 then 'rust.work' else 'api.work' end,
            jsonb_build_object('n', n),
            queue => case when n % 8 = 0 and n % 50 <> 8 then 'rust' else 'default' end,
            run_at => case when n % 10 = 3 then clock_timestamp() + random() * interval '3 s' end,
            priority => (1 + n % 3)::integer,
            max_attempts => case when n % 50 = 8 then 1 else 100 end,
            unique_key => case when n % 20 = 9 then n::text end);
    end loop;
end $$;
