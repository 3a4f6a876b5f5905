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
create table public.ending (
    n bigint not null, claim bigint not null, ordinal smallint not null, claimed_at timestamptz not null,
    state "char" not null, at timestamptz not null default clock_timestamp());
create index on public.ending (n);
grant insert on public.sent, public.run to clerk_role;

create function public.note_ending() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
    insert into public.ending (n, claim, ordinal, claimed_at, state)
    select (j.args ->> 'n')::bigint, k.id, o.ordinal, k.at, coalesce(new.states[o.nth], 'c')
    from unnest(new.ordinals) with ordinality o (ordinal, nth)
    join rolegate.job_claim k on k.id = new.claim
    join rolegate.job j on j.lane = k.lane and j.id = k.jobs[o.ordinal];
    return null;
end $$;
create trigger note_ending after insert on rolegate.job_outcome
for each row execute function public.note_ending();

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
