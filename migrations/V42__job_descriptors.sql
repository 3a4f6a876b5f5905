-- What people are told about queues and kinds: a name to show, a description, an owner, where to read more, and
-- tags. Workers declare it when they register; an operator's word counts more. Nothing here is read or
-- written when jobs run.

create table rolegate.job_descriptor (
    subject text not null check (subject in ('queue', 'kind')),
    name text not null check (pg_catalog.length(name) between 1 and 200),
    -- What was said, and nothing else: see descriptor_of().
    descriptor jsonb not null,
    source text not null check (source in ('code', 'operator')),
    set_by text not null,
    set_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (subject, name)
);

-- What each worker that is there declared.
create table rolegate.job_declaration (
    worker bigint not null references rolegate.job_worker on delete cascade,
    subject text not null,
    name text not null,
    descriptor jsonb not null,
    primary key (worker, subject, name)
);
create index job_declaration_name on rolegate.job_declaration (subject, name);

-- Raises what is wrong; else what was said.
create function rolegate.descriptor_of(
    display_name text, description text, owner text, docs_url text, tags text[]
) returns jsonb
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
declare
    wrong constant text := case
        when pg_catalog.length(display_name) > 200 then 'display_name has at most 200 characters'
        when pg_catalog.length(description) > 4000 then 'description has at most 4000 characters'
        when pg_catalog.length(owner) > 200 then 'owner has at most 200 characters'
        when pg_catalog.length(docs_url) > 2000 or docs_url !~ '^(https?://[^[:space:]]+)?$'
            then 'docs_url begins with https:// or http:// and has at most 2000 characters'
        when pg_catalog.cardinality(tags) > 20 then 'tags are at most 20'
        when exists (
            select from pg_catalog.unnest(tags) t where (pg_catalog.length(t) between 1 and 100) is not true)
            then 'a tag has 1 to 100 characters'
    end;
begin
    if wrong is not null then
        raise exception using errcode = 'invalid_parameter_value', message = wrong;
    end if;
    return pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
        'display_name', nullif(display_name, ''), 'description', nullif(description, ''),
        'owner', nullif(owner, ''), 'docs_url', nullif(docs_url, ''),
        'tags', nullif(pg_catalog.to_jsonb(tags), '[]')));
end
$$;
revoke execute on function rolegate.descriptor_of(text, text, text, text, text[]) from public;

-- Whether code says something else than what is shown; an operator may have said more.
create function rolegate.descriptor_differs(shown jsonb, source text, declared jsonb) returns boolean
language sql immutable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
    select declared <> '{}' and case source
        when 'operator' then not shown @> declared
        else shown <> declared
    end
$$;
revoke execute on function rolegate.descriptor_differs(jsonb, text, jsonb) from public;

-- What a worker's code says: objects with `subject`, `name` and what descriptor_of() takes. It becomes what is
-- shown unless an operator said something, or the code says nothing. How many of them differ from that.
create function rolegate.declare_jobs(worker bigint, declarations jsonb) returns integer
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    d record;
    said jsonb;
    strange text;
    label text;
    differ integer := 0;
begin
    select pg_catalog.format('%s %s', w.name, w.version) into label
    from rolegate.job_worker w where w.id = declare_jobs.worker;
    if label is null then
        raise exception using
            errcode = 'no_data_found', message = 'this worker is not registered any more';
    end if;
    if pg_catalog.jsonb_typeof(declarations) is distinct from 'array'
        or pg_catalog.jsonb_array_length(declarations) > 1000
    then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'declarations are an array of at most 1000';
    end if;
    -- In one order, because others declare the same.
    for d in
        select e.said, e.said ->> 'subject' as subject, e.said ->> 'name' as name
        from pg_catalog.jsonb_array_elements(declarations) e (said)
        order by 2, 3
    loop
        select k into strange from pg_catalog.jsonb_object_keys(d.said) k
        where k <> all (array[
            'subject', 'name', 'display_name', 'description', 'owner', 'docs_url', 'tags'])
        limit 1;
        if strange is not null or d.subject is null or d.name is null then
            raise exception using
                errcode = 'invalid_parameter_value',
                message = case
                    when strange is null then 'a declaration has a subject and a name'
                    else pg_catalog.format('a declaration has no %L', strange)
                end;
        end if;
        if d.subject = 'queue' then
            perform rolegate.queue_id(d.name);
        end if;
        said := rolegate.descriptor_of(
            d.said ->> 'display_name', d.said ->> 'description', d.said ->> 'owner',
            d.said ->> 'docs_url',
            array(select pg_catalog.jsonb_array_elements_text(coalesce(d.said -> 'tags', '[]'))));
        insert into rolegate.job_descriptor as x (subject, name, descriptor, source, set_by)
        values (d.subject, d.name, said, 'code', label)
        on conflict (subject, name) do update
        set descriptor = excluded.descriptor, set_by = excluded.set_by, set_at = excluded.set_at
        where x.source = 'code' and excluded.descriptor <> '{}' and x.descriptor <> excluded.descriptor;
        insert into rolegate.job_declaration (worker, subject, name, descriptor)
        values (declare_jobs.worker, d.subject, d.name, said)
        on conflict (worker, subject, name) do update set descriptor = excluded.descriptor;
        differ := differ + (
            select rolegate.descriptor_differs(x.descriptor, x.source, said)::integer
            from rolegate.job_descriptor x
            where x.subject = d.subject and x.name = d.name);
    end loop;
    return differ;
end
$$;
revoke execute on function rolegate.declare_jobs(bigint, jsonb) from public;
grant execute on function rolegate.declare_jobs(bigint, jsonb) to rolegate_worker;

-- NULL keeps what was said, '' and '{}' take it back.
create function rolegate.describe(
    subject text, name text, display_name text, description text, owner text, docs_url text, tags text[]
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    before constant jsonb := coalesce(
        (
            select x.descriptor from rolegate.job_descriptor x
            where x.subject = describe.subject and x.name = describe.name for update
        ),
        '{}');
    said jsonb;
begin
    if (pg_catalog.length(describe.name) between 1 and 200) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'a name has 1 to 200 characters';
    end if;
    said := rolegate.descriptor_of(
        coalesce(describe.display_name, before ->> 'display_name'),
        coalesce(describe.description, before ->> 'description'),
        coalesce(describe.owner, before ->> 'owner'), coalesce(describe.docs_url, before ->> 'docs_url'),
        coalesce(describe.tags, array(
            select pg_catalog.jsonb_array_elements_text(coalesce(before -> 'tags', '[]')))));
    insert into rolegate.job_descriptor (subject, name, descriptor, source, set_by)
    values (describe.subject, describe.name, said, 'operator', rolegate.actor())
    on conflict (subject, name) do update
    set descriptor = excluded.descriptor, source = excluded.source, set_by = excluded.set_by,
        set_at = excluded.set_at;
end
$$;
revoke execute on function rolegate.describe(text, text, text, text, text, text, text[]) from public;

create function rolegate.describe_queue(
    queue text, display_name text default null, description text default null, owner text default null,
    docs_url text default null, tags text[] default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    perform rolegate.queue_id(queue);
    perform rolegate.describe('queue', queue, display_name, description, owner, docs_url, tags);
end
$$;
revoke execute on function rolegate.describe_queue(text, text, text, text, text, text[]) from public;
grant execute on function rolegate.describe_queue(text, text, text, text, text, text[])
    to rolegate_operator;

create function rolegate.describe_kind(
    kind text, display_name text default null, description text default null, owner text default null,
    docs_url text default null, tags text[] default null
) returns void
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    perform rolegate.describe('kind', kind, display_name, description, owner, docs_url, tags);
end
$$;
revoke execute on function rolegate.describe_kind(text, text, text, text, text, text[]) from public;
grant execute on function rolegate.describe_kind(text, text, text, text, text, text[])
    to rolegate_operator;

-- Takes back what an operator said, or what no worker declares any more: what the newest worker declares
-- counts again, if one does. False if there was nothing.
create function rolegate.forget_descriptor(subject text, name text) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    delete from rolegate.job_descriptor x
    where x.subject = forget_descriptor.subject and x.name = forget_descriptor.name;
    if not found then
        return false;
    end if;
    insert into rolegate.job_descriptor (subject, name, descriptor, source, set_by)
    select c.subject, c.name, c.descriptor, 'code', pg_catalog.format('%s %s', w.name, w.version)
    from rolegate.job_declaration c join rolegate.job_worker w on w.id = c.worker
    where c.subject = forget_descriptor.subject and c.name = forget_descriptor.name
    order by c.descriptor = '{}', c.worker desc limit 1
    on conflict do nothing;
    return true;
end
$$;
revoke execute on function rolegate.forget_descriptor(text, text) from public;
grant execute on function rolegate.forget_descriptor(text, text) to rolegate_operator;

-- What is known, by name. `declared_by` workers that are there declare it; `drift` are those of them who
-- declare something else than what is shown, the newest twenty.
create function rolegate.descriptors(
    only_subject text default null, after_name text default '', max_rows integer default 1000
) returns table (
    subject text, name text, display_name text, description text, owner text, docs_url text, tags text[],
    source text, set_by text, set_at timestamptz, hash text, declared_by bigint, drift jsonb
)
language plpgsql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
begin
    if (max_rows between 1 and 1000) is not true then
        raise exception using
            errcode = 'invalid_parameter_value', message = 'max_rows is 1 to 1000';
    end if;
    return query
    select
        d.subject, d.name, d.descriptor ->> 'display_name', d.descriptor ->> 'description',
        d.descriptor ->> 'owner', d.descriptor ->> 'docs_url',
        array(select pg_catalog.jsonb_array_elements_text(coalesce(d.descriptor -> 'tags', '[]'))),
        d.source, d.set_by, d.set_at,
        pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(d.descriptor::text, 'UTF8')), 'hex'),
        (
            select pg_catalog.count(*) from rolegate.job_declaration c
            where (c.subject, c.name) = (d.subject, d.name)
        ),
        coalesce(
            (
                select pg_catalog.jsonb_agg(
                    pg_catalog.jsonb_build_object(
                        'worker', w.id, 'name', w.name, 'version', w.version, 'seen_at', w.seen_at)
                        || w.descriptor
                    order by w.id desc)
                from (
                    select k.id, k.name, k.version, k.seen_at,
                        pg_catalog.jsonb_build_object('declares', c.descriptor) as descriptor
                    from rolegate.job_declaration c join rolegate.job_worker k on k.id = c.worker
                    where (c.subject, c.name) = (d.subject, d.name)
                        and rolegate.descriptor_differs(d.descriptor, d.source, c.descriptor)
                    order by k.id desc limit 20
                ) w
            ),
            '[]')
    from (
        -- A queue and a kind may have one name, after which the next page begins.
        select x.* from rolegate.job_descriptor x
        where (only_subject is null or x.subject = only_subject) and x.name > after_name
        order by x.name
        fetch first max_rows rows with ties
    ) d
    order by d.name, d.subject;
end
$$;
revoke execute on function rolegate.descriptors(text, text, integer) from public;
grant execute on function rolegate.descriptors(text, text, integer) to rolegate_viewer, rolegate_operator;
