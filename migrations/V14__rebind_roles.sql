-- After a dump was restored in another cluster, roles have other OIDs there, and tokens that are bound
-- to the old ones are refused: a role of that name may be somebody else's. Whoever could mint a token
-- for the role of now may say that it is the same one.

-- What is bound to a role that is not there any more under this name, and to which role it is bound
-- now, or why not. With `dry_run` nothing changes.
create function rolegate.rebind_roles(only_roles text[] default null, dry_run boolean default false)
returns table (
    token_id uuid, role_name text, created_by text, old_oid oid, new_oid oid, refused text
)
language plpgsql volatile security definer
set search_path = pg_catalog, rolegate, pg_temp
as $$
#variable_conflict use_column
declare
    replaced name;
    target oid;
    reason text;
begin
    for replaced in
        select distinct t.role_name from rolegate.api_token t
        where t.revoked_at is null
            and (t.expires_at is null or t.expires_at > pg_catalog.now())
            and (only_roles is null or t.role_name::text = any (only_roles))
            and not exists (
                select from pg_catalog.pg_roles r where r.oid = t.role_oid and r.rolname = t.role_name)
        order by 1
    loop
        begin
            target := rolegate.require_target(replaced::text);
            reason := null;
        exception
            when undefined_object or insufficient_privilege or object_not_in_prerequisite_state then
                target := null;
                reason := sqlerrm;
        end;
        return query
            select t.token_id, t.role_name::text, t.created_by::text, t.role_oid, target, reason
            from rolegate.api_token t
            where t.role_name = replaced and t.revoked_at is null
                and (t.expires_at is null or t.expires_at > pg_catalog.now())
                and t.role_oid is distinct from target
            order by t.created_at, t.token_id;
        if reason is null and not dry_run then
            update rolegate.api_token t set role_oid = target
            where t.role_name = replaced and t.revoked_at is null
                and (t.expires_at is null or t.expires_at > pg_catalog.now())
                and t.role_oid <> target;
        end if;
    end loop;
end
$$;
revoke execute on function rolegate.rebind_roles(text[], boolean) from public;
grant execute on function rolegate.rebind_roles(text[], boolean) to rolegate_operator;
