-- Queues, and for whom a job runs. What is here changes when people change it, not when jobs run.

create table rolegate.job_queue (
    id integer generated always as identity primary key,
    name text not null unique check (name <> '' and pg_catalog.length(name) <= 200),
    paused_at timestamptz,
    paused_by text,
    -- Waiting this long counts as one level of priority more. Zero: priorities are strict.
    aging interval not null default interval '60 seconds' check (aging >= interval '0'),
    -- Whether what failed for good is kept for people to look at and retry.
    dead_letters boolean not null default false,
    -- The nth failure waits `backoff * 2^(n-1)`, a quarter of it by chance, up to `max_backoff`.
    backoff interval not null default interval '2 seconds' check (backoff >= interval '0'),
    max_backoff interval not null default interval '1 day' check (max_backoff >= interval '0'),
    -- In all workers together: jobs that run at a time, and jobs that begin in a second; so many may
    -- begin at once after a pause. NULL: no limit. The same for the jobs of one limit_key.
    concurrency integer check (concurrency > 0),
    rate float8 check (rate > 0 and rate <= 1e6),
    burst integer check (burst > 0),
    key_concurrency integer check (key_concurrency > 0),
    key_rate float8 check (key_rate > 0 and key_rate <= 1e6),
    key_burst integer check (key_burst > 0),
    check ((paused_at is null) = (paused_by is null))
);
insert into rolegate.job_queue (name) values ('default');

-- Producers look it up for each job.
create function rolegate.queue_id(queue text) returns integer
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    found_id integer;
begin
    select q.id into found_id from rolegate.job_queue q where q.name = queue;
    if found_id is null then
        raise exception using
            errcode = 'undefined_object',
            message = pg_catalog.format('there is no queue %L', queue),
            hint = 'An operator makes it: select rolegate.create_queue(...).';
    end if;
    return found_id;
end
$$;
revoke execute on function rolegate.queue_id(text) from public;

-- True if it was not there.
create function rolegate.create_queue(queue text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    insert into rolegate.job_queue (name) values (queue) on conflict (name) do nothing;
    return found;
end
$$;
revoke execute on function rolegate.create_queue(text) from public;
grant execute on function rolegate.create_queue(text) to rolegate_operator;

-- NULL keeps a setting.
create function rolegate.set_queue(
    queue text, aging interval default null, dead_letters boolean default null,
    backoff interval default null, max_backoff interval default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.job_queue q set
        aging = coalesce(set_queue.aging, q.aging),
        dead_letters = coalesce(set_queue.dead_letters, q.dead_letters),
        backoff = coalesce(set_queue.backoff, q.backoff),
        max_backoff = coalesce(set_queue.max_backoff, q.max_backoff)
    where q.id = rolegate.queue_id(queue);
end
$$;
revoke execute on function rolegate.set_queue(text, interval, boolean, interval, interval) from public;
grant execute on function rolegate.set_queue(text, interval, boolean, interval, interval)
    to rolegate_operator;

-- Nothing of it is claimed until it is resumed; what runs goes on. False if it was paused already.
create function rolegate.pause_queue(queue text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.job_queue q
    set paused_at = pg_catalog.clock_timestamp(), paused_by = rolegate.actor()
    where q.id = rolegate.queue_id(queue) and q.paused_at is null;
    return found;
end
$$;
revoke execute on function rolegate.pause_queue(text) from public;
grant execute on function rolegate.pause_queue(text) to rolegate_operator;

create function rolegate.resume_queue(queue text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.job_queue q set paused_at = null, paused_by = null
    where q.id = rolegate.queue_id(queue) and q.paused_at is not null;
    if not found then
        return false;
    end if;
    perform pg_catalog.pg_notify('rolegate_jobs', '');
    return true;
end
$$;
revoke execute on function rolegate.resume_queue(text) from public;
grant execute on function rolegate.resume_queue(text) to rolegate_operator;

-- Who enqueued. Rows are shared by jobs of the same principal; two producers that meet may both
-- make one, because a unique index would let one wait for the other's commit.
create table rolegate.job_principal (
    id bigint generated always as identity primary key,
    digest bytea not null,
    role_name name not null,
    role_oid oid not null,
    -- The API token that was used; NULL for other tokens, and for SQL without a request.
    token_id text,
    claims jsonb,
    seen_at timestamptz not null default pg_catalog.now()
);
create index job_principal_digest on rolegate.job_principal (digest);

-- The principal of this transaction: also inside an application's definer function, the role the
-- request runs as. Of its claims those are kept that kept_claims() says.
create function rolegate.job_principal() returns bigint
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    -- As in actor(), which would be a call more for each job.
    actor constant name := coalesce(
        nullif(pg_catalog.current_setting('role'), 'none')::name, session_user);
    actor_oid constant oid := pg_catalog.to_regrole(pg_catalog.quote_ident(actor));
    kept jsonb;
    token text;
    wanted bytea;
    found_id bigint;
begin
    if pg_catalog.current_setting('rolegate.signed_claims', true) <> '' then
        kept := rolegate.kept_claims(rolegate.claims());
        -- Part of what claims() has verified.
        token := rolegate.kept_token(pg_catalog.split_part(
            pg_catalog.current_setting('rolegate.signed_claims'), '|', 7));
    end if;
    wanted := pg_catalog.sha256(pg_catalog.convert_to(
        pg_catalog.concat_ws('|', actor_oid, actor, coalesce(token, ''), kept), 'UTF8'));
    select p.id into found_id from rolegate.job_principal p where p.digest = wanted limit 1;
    if found_id is null then
        insert into rolegate.job_principal (digest, role_name, role_oid, token_id, claims)
        values (wanted, actor, actor_oid, token, kept)
        returning id into strict found_id;
    end if;
    return found_id;
end
$$;
revoke execute on function rolegate.job_principal() from public;

-- A statement that comes after a lock has to see what was committed under it.
create function rolegate.need_read_committed() returns void
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        raise exception using
            errcode = 'invalid_transaction_state',
            message = 'jobs are handed out, ended and tidied up at isolation level READ COMMITTED',
            hint = 'See default_transaction_isolation of this role, this database and the server.';
    end if;
end
$$;
revoke execute on function rolegate.need_read_committed() from public;
