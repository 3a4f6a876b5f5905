-- What the console and the metrics need beside the functions that are there.

-- Forgets one dead letter. False if there is none with this id.
create function rolegate.purge_dead_letter(job_id bigint) returns boolean
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
begin
    delete from rolegate.job_ended e where e.root = job_id and e.dead_letter;
    return found;
end
$$;
revoke execute on function rolegate.purge_dead_letter(bigint) from public;
grant execute on function rolegate.purge_dead_letter(bigint) to rolegate_operator;

-- The leader of the maintenance shows what is in the queues as metrics.
grant execute on function rolegate.queues() to rolegate_maintenance;
