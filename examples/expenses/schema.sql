-- A small company's expense claims. What callers may do is grants and policies, nothing else.

create schema app authorization expenses_owner;
comment on schema app is 'Expense claims: tables. Nobody calls anything here.';
alter schema api owner to expenses_owner;
-- The anonymous login has what PUBLIC has and nothing else, so what is for everybody is granted to
-- PUBLIC: the schema, and the one function below.
grant usage on schema api to public;
grant usage on schema app to employee, manager, finance, auditor;

set local role expenses_owner;
alter default privileges revoke execute on functions from public;

create type app.claim_status as enum ('submitted', 'approved', 'rejected', 'paid');

create table app.expense_claim (
    id bigint generated always as identity primary key,
    claimant name not null default current_user,
    amount numeric(12, 2) not null check (amount > 0),
    currency text not null default 'EUR' check (currency ~ '^[A-Z]{3}$'),
    purpose text not null check (purpose <> ''),
    status app.claim_status not null default 'submitted',
    decided_by name,
    reason text,
    submitted_at timestamptz not null default pg_catalog.now(),
    -- Nobody approves his own claim, whoever he is.
    constraint decided_by_somebody_else check (decided_by <> claimant)
);
comment on table app.expense_claim is 'One claim of one employee.';
create index on app.expense_claim (claimant);

alter table app.expense_claim enable row level security;
alter table app.expense_claim force row level security;

-- Everybody sees and submits his own; managers, finance and auditors see all.
create policy own_claims on app.expense_claim for select to employee
    using (claimant = current_user);
create policy submit_own on app.expense_claim for insert to employee
    with check (claimant = current_user and status = 'submitted' and decided_by is null);
create policy see_all on app.expense_claim for select to manager, finance, auditor
    using (true);
create policy decide on app.expense_claim for update to manager
    using (claimant <> current_user) with check (decided_by = current_user);
-- The owner's functions see totals.
create policy owner_reads on app.expense_claim for select to expenses_owner using (true);

grant select on app.expense_claim to employee, manager, finance, auditor;
grant insert (amount, currency, purpose) on app.expense_claim to employee;
grant update (status, decided_by, reason) on app.expense_claim to manager;

create type app.new_claim as (amount numeric, purpose text, currency text);

create function api.submit_claim(amount numeric, purpose text, currency text default 'EUR')
returns app.expense_claim
language sql volatile
set search_path = pg_catalog, app, pg_temp
begin atomic
    insert into app.expense_claim (amount, purpose, currency)
    values (submit_claim.amount, submit_claim.purpose, submit_claim.currency)
    returning *;
end;
comment on function api.submit_claim is
'Submits a claim of the caller.
@param amount what was spent, more than zero
@param purpose what for
@param currency three letters
@returns the new claim';

create function api.submit_many(claims app.new_claim[]) returns bigint
language sql volatile
set search_path = pg_catalog, app, pg_temp
begin atomic
    with inserted as (
        insert into app.expense_claim (amount, purpose, currency)
        select c.amount, c.purpose, coalesce(c.currency, 'EUR')
        from pg_catalog.unnest(submit_many.claims) c
        returning 1
    )
    select pg_catalog.count(*) from inserted;
end;
comment on function api.submit_many is
'Submits several claims of the caller, all or none.
@param claims amount, purpose and currency of each
@returns how many';

create function api.my_claims(status app.claim_status default null)
returns setof app.expense_claim
language sql stable
set search_path = pg_catalog, app, pg_temp
begin atomic
    select c.*
    from app.expense_claim c
    where c.claimant = current_user
        and (my_claims.status is null or c.status = my_claims.status)
    order by c.id desc;
end;
comment on function api.my_claims is
'Claims of the caller, newest first.
@param status only those in this state
@returns claims';

create function api.open_claims() returns setof app.expense_claim
language sql stable
set search_path = pg_catalog, app, pg_temp
begin atomic
    select c.* from app.expense_claim c where c.status = 'submitted' order by c.id;
end;
comment on function api.open_claims is 'Claims that wait for a decision, as far as the caller sees them.';

create function api.decide_claim(id bigint, approve boolean, reason text default null)
returns app.expense_claim
language plpgsql volatile
set search_path = pg_catalog, app, pg_temp
as $$
declare
    decided app.expense_claim;
begin
    update app.expense_claim c
    set status = case when decide_claim.approve then 'approved' else 'rejected' end::app.claim_status,
        decided_by = current_user,
        reason = decide_claim.reason
    where c.id = decide_claim.id and c.status = 'submitted'
    returning c.* into decided;
    if not found then
        if exists (select from app.expense_claim c where c.id = decide_claim.id) then
            raise sqlstate 'PT409' using
                message = 'this claim was decided already, or is your own',
                hint = 'open_claims() lists what waits for a decision.';
        end if;
        raise exception using
            message = 'there is no such claim',
            hint = 'open_claims() lists what waits for a decision.';
    end if;
    return decided;
end
$$;
comment on function api.decide_claim is
'Approves or rejects a claim of somebody else.
@param id the claim
@param approve true approves, false rejects
@param reason for the claimant
@returns the claim';

create function api.claim_totals() returns table (status app.claim_status, claims bigint, total numeric)
language sql stable
set search_path = pg_catalog, app, pg_temp
begin atomic
    select c.status, pg_catalog.count(*), pg_catalog.sum(c.amount)
    from app.expense_claim c
    group by c.status
    order by c.status;
end;
comment on function api.claim_totals is 'Totals by state of the claims the caller sees.';

-- Runs as its owner on purpose: everybody may know the sums and nothing else.
create function api.company_totals() returns table (claims bigint, total numeric)
language sql stable security definer
set search_path = pg_catalog, app, pg_temp
as $$
    select pg_catalog.count(*), coalesce(pg_catalog.sum(c.amount), 0) from app.expense_claim c
$$;
comment on function api.company_totals is 'How many claims there are and what they sum up to.';

create procedure api.reject_stale(older_than interval, inout rejected bigint default 0)
language plpgsql
set search_path = pg_catalog, app, pg_temp
as $$
begin
    update app.expense_claim c
    set status = 'rejected', decided_by = current_user, reason = 'not decided in time'
    where c.status = 'submitted' and c.submitted_at < pg_catalog.now() - older_than
        and c.claimant <> current_user;
    get diagnostics rejected = row_count;
end
$$;
comment on procedure api.reject_stale is
'Rejects claims that waited too long.
@param older_than how long is too long
@param rejected how many there were';

grant execute on function
    api.submit_claim(numeric, text, text), api.submit_many(app.new_claim[]),
    api.my_claims(app.claim_status), api.claim_totals() to employee;
grant execute on function api.open_claims() to manager, finance, auditor;
grant execute on function api.decide_claim(bigint, boolean, text) to manager;
grant execute on procedure api.reject_stale(interval, bigint) to manager;
grant execute on function api.company_totals() to public;
-- USAGE on the types of arguments comes with them.
revoke usage on type app.claim_status, app.new_claim from public;
grant usage on type app.claim_status, app.new_claim to employee, manager, finance, auditor;
reset role;
