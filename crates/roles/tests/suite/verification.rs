//! `verify` passes on a clean installation and fails for every privilege that is planted.

use crate::installation::Installation;

/// What a failed run names, one line for each failure.
async fn failures(db: &Installation) -> Vec<String> {
    db.verify()
        .await
        .failures()
        .map(|check| {
            let login = check.login.as_deref().unwrap_or("catalog");
            format!("{login}|{}|{}", check.what, check.found)
                .replace(db.names.role_prefix(), "rolegate")
        })
        .collect()
}

/// What is planted, what takes it back, and what a failure must say.
const PLANTS: &[(&str, &str, &str)] = &[
    (
        "grant execute on function pg_prepared_statement() to public",
        "revoke execute on function pg_prepared_statement() from public",
        "rolegate_authenticator|select from pg_catalog.pg_prepared_statements|ok",
    ),
    (
        "grant execute on function rolegate.epoch() to public",
        "revoke execute on function rolegate.epoch() from public",
        "rolegate_authenticator|select rolegate.epoch()|ok",
    ),
    (
        "grant execute on function rolegate.emit(text, jsonb) to rolegate_anonymous",
        "revoke execute on function rolegate.emit(text, jsonb) from rolegate_anonymous",
        "rolegate.emit(text,jsonb)",
    ),
    (
        "revoke execute on function rolegate.find_api_token(bytea) from rolegate_gateway",
        "grant execute on function rolegate.find_api_token(bytea) to rolegate_gateway",
        "rolegate_gateway|select rolegate.find_api_token('')|42501",
    ),
    (
        "grant temporary on database DATABASE to public",
        "revoke temporary on database DATABASE from public",
        "rolegate_anonymous|create temporary table verify (x integer)|ok",
    ),
    (
        "grant connect on database DATABASE to public",
        "revoke connect on database DATABASE from public",
        "PUBLIC holds nothing on the database",
    ),
    (
        "grant select on rolegate.claim_key to rolegate_worker",
        "revoke select on rolegate.claim_key from rolegate_worker",
        "rolegate_worker|select from \"rolegate\".\"claim_key\"|ok",
    ),
    (
        "grant select (key) on rolegate.claim_key to rolegate_worker",
        "revoke select (key) on rolegate.claim_key from rolegate_worker",
        "claim_key.key",
    ),
    (
        "grant insert (role_name) on rolegate.job_staging to rolegate_producer",
        "revoke insert (role_name) on rolegate.job_staging from rolegate_producer",
        "job_staging.role_name: rolegate_producer INSERT",
    ),
    (
        "grant insert (kind) on rolegate.job_staging to rolegate_worker",
        "revoke insert (kind) on rolegate.job_staging from rolegate_worker",
        "job_staging.kind: rolegate_worker INSERT",
    ),
    (
        "alter table rolegate.job_staging alter role_name drop default",
        "alter table rolegate.job_staging alter role_name set default coalesce(nullif(pg_catalog.current_setting('role'), 'none')::name, session_user)",
        "catalog|whose a staged job is comes from the session|role_name: no default",
    ),
    (
        "alter function rolegate.claim(text) reset search_path",
        "alter function rolegate.claim(text) set search_path = pg_catalog, rolegate, pg_temp",
        "no settings",
    ),
    (
        "alter function rolegate.channels() set search_path = rolegate, pg_catalog",
        "alter function rolegate.channels() set search_path = pg_catalog, rolegate, pg_temp",
        "catalog|rolegate.channels()|",
    ),
    (
        "alter function rolegate.signing_keys() security invoker",
        "alter function rolegate.signing_keys() security definer",
        "definer: false",
    ),
    (
        "alter function rolegate.event_horizon() owner to postgres",
        "alter function rolegate.event_horizon() owner to rolegate_owner",
        "owner: postgres",
    ),
    (
        "create function rolegate.extra() returns int language sql as 'select 1'",
        "drop function rolegate.extra()",
        "rolegate.extra()",
    ),
    (
        "alter table rolegate.epoch owner to postgres",
        "alter table rolegate.epoch owner to rolegate_owner",
        "every object of the schema belongs to the owner",
    ),
    (
        "grant execute on function lo_create(oid) to public",
        "revoke execute on function lo_create(oid) from public",
        "rolegate_gateway|select pg_catalog.lo_create(0)|ok",
    ),
    (
        "grant execute on function pg_advisory_lock(bigint) to public",
        "revoke execute on function pg_advisory_lock(bigint) from public",
        "rolegate_anonymous|select pg_catalog.pg_advisory_lock(1)|ok",
    ),
    (
        "grant execute on function pg_advisory_lock_shared(int, int) to public",
        "revoke execute on function pg_advisory_lock_shared(int, int) from public",
        "pg_advisory_lock_shared(integer,integer)",
    ),
    (
        "grant rolegate_owner to rolegate_gateway",
        "revoke rolegate_owner from rolegate_gateway",
        "rolegate_gateway|set role rolegate_owner|ok",
    ),
    (
        "grant postgres to rolegate_receiver",
        "revoke postgres from rolegate_receiver",
        "rolegate_receiver|set role \"postgres\"|ok",
    ),
    (
        "grant APP to rolegate_authenticator",
        "revoke APP from rolegate_authenticator",
        "the authenticator becomes only admitted roles",
    ),
    (
        "grant APP to rolegate_anonymous",
        "revoke APP from rolegate_anonymous",
        "the anonymous login is a member of nothing",
    ),
    (
        "grant rolegate_gateway to APP",
        "revoke rolegate_gateway from APP",
        "no application role is a member of an engine login",
    ),
    (
        "create table public.mine (); grant select on public.mine to rolegate_authenticator",
        "drop table public.mine",
        "granted nothing but CONNECT",
    ),
    (
        "create table public.also (); alter table public.also owner to rolegate_anonymous",
        "drop table public.also",
        "granted nothing but CONNECT",
    ),
    (
        "grant create on schema public to public",
        "revoke create on schema public from public",
        "no login of ours may create in any schema",
    ),
    (
        "alter role rolegate_console createrole",
        "alter role rolegate_console nocreaterole",
        "attribute that reaches around grants",
    ),
    (
        "alter role rolegate_operator login",
        "alter role rolegate_operator nologin",
        "log in exactly where they must",
    ),
    (
        "alter role rolegate_anonymous reset track_activities",
        "alter role rolegate_anonymous set track_activities = off",
        "do not publish their statements",
    ),
    (
        "alter default privileges for role rolegate_owner grant execute on functions to public",
        "alter default privileges for role rolegate_owner revoke execute on functions from public",
        "not executable by PUBLIC by default",
    ),
];

crate::on_each_version! {
    async fn a_clean_installation_passes(db) {
        assert_eq!(failures(db).await, Vec::<String>::new());
        assert!(db.verify().await.checks.len() > 500);
    }

    async fn admitted_roles_do_not_disturb(db) {
        let alice = db.admitted_role("alice").await;
        rolegate_roles::admit::admit(
            &mut db.superuser().await, &db.names, &alice, rolegate_roles::admit::AdmitMode::Assume,
        ).await.unwrap();
        assert_eq!(failures(db).await, Vec::<String>::new());
    }

    async fn each_planted_privilege_is_found(db) {
        let app = db.application_role("app").await;
        let database = format!("roles_{}", db.unique);
        // A few at a time, because a run takes a while; none of a group hides another.
        let fill = |sql: &str| sql.replace("APP", &app).replace("DATABASE", &database);
        for group in PLANTS.chunks(7) {
            for (plant, _, _) in group {
                db.run(&fill(plant)).await;
            }
            let found = failures(db).await;
            for (plant, _, expected) in group {
                assert!(found.iter().any(|line| line.contains(expected)), "{plant}: {found:#?}");
            }
            for (_, remove, _) in group {
                db.run(&fill(remove)).await;
            }
        }
        assert_eq!(failures(db).await, Vec::<String>::new());
    }
}
