-- One number that tells a cache whether anything it may hold has changed.

-- A row and not a sequence: a sequence moves before the change commits, and a process that
-- reads in between would keep the old state under the new number.
create table rolegate.epoch (
    only_row boolean primary key default true check (only_row),
    value bigint not null
);
insert into rolegate.epoch (value) values (1);

create function rolegate.advance_epoch() returns trigger
language plpgsql security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    update rolegate.epoch set value = value + 1;
    return null;
end
$$;
revoke execute on function rolegate.advance_epoch() from public;

create function rolegate.epoch() returns bigint
language sql stable security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$ select e.value from rolegate.epoch e $$;
revoke execute on function rolegate.epoch() from public;
grant execute on function rolegate.epoch() to rolegate_gateway;
