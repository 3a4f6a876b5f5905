//! The audit on real servers: silent on a clean installation, and each planted hole is found.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and does not get fails it"
)]

#[path = "../suite/installation.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
mod installation;
mod lines;
mod logins;

use std::collections::BTreeSet;

use installation::{Installation, versions};
use rolegate_roles::audit::{self, AllowList, AuditOptions, Mode, Report, Severity};
use rolegate_testkit::clusters::Clusters;
use tokio_postgres::Client;

/// An application as the guides say it should be.
const EXAMPLE: &str = "
    create role OWNER nologin;
    alter default privileges for role OWNER revoke execute on functions from public;
    create schema api authorization OWNER;
    grant usage on schema api to CLERK;
    set role OWNER;
    create table api.orders (id int primary key, org text not null, note text);
    alter table api.orders enable row level security;
    alter table api.orders force row level security;
    create policy orders_org on api.orders to CLERK
        using (org = (select rolegate.claim('org')));
    grant select, insert on api.orders to CLERK;
    create view api.open_orders with (security_invoker = true, security_barrier = true)
        as select id, org from api.orders;
    grant select on api.open_orders to CLERK;
    create function api.count_orders() returns bigint language sql stable
        as 'select count(*) from api.orders';
    create function api.close_order(order_id int) returns void language plpgsql security definer
        set search_path = pg_catalog, api, pg_temp
        as 'begin update api.orders set note = ''closed'' where id = order_id; end';
    grant execute on function api.count_orders(), api.close_order(int) to CLERK;
    reset role;
";

struct Example {
    db: Installation,
    clerk: String,
    owner: String,
    superuser: Client,
    /// An operator who has no right in the application.
    auditor: Client,
}

impl Example {
    async fn new(version: rolegate_testkit::Version) -> Self {
        let db = Installation::new(version).await;
        let clerk = db.admitted_role("clerk").await;
        let owner = format!("owner_{}", db.unique);
        let auditor = db.application_role("auditor").await;
        db.run(&format!("grant rolegate_operator to {auditor}"))
            .await;
        let (superuser, auditor) = (db.superuser().await, db.connect(&auditor).await.unwrap());
        let example = Self {
            db,
            clerk,
            owner,
            superuser,
            auditor,
        };
        example.run(EXAMPLE).await;
        example
    }

    async fn run(&self, sql: &str) {
        let sql = self.fill(sql);
        self.superuser
            .batch_execute(&self.db.names.render(&sql))
            .await
            .unwrap();
    }

    fn fill(&self, sql: &str) -> String {
        sql.replace("CLERK", &self.clerk)
            .replace("OWNER", &self.owner)
            .replace("DATABASE", &format!("roles_{}", self.db.unique))
            .replace("UNIQUE", &self.db.unique)
    }

    /// What the audit says of this installation.
    fn named(&self, text: &str) -> String {
        self.db.names.render(&self.fill(text)).into_owned()
    }

    fn options(&self) -> AuditOptions {
        AuditOptions {
            // The machine's PostgreSQL 15 may be older; the versions have tests of their own.
            runs_caller_sql: false,
            ..AuditOptions::new(self.db.names.clone(), vec!["api".to_owned()])
        }
    }

    async fn audit(&self, options: &AuditOptions) -> Report {
        audit::run(&self.auditor, options).await.unwrap()
    }
}

fn found(report: &Report) -> BTreeSet<(String, String)> {
    report
        .findings
        .iter()
        .map(|f| (f.id.clone(), f.object.clone()))
        .collect()
}

#[tokio::test]
async fn a_clean_installation_has_no_findings() {
    for version in versions() {
        let example = Example::new(version).await;
        let report = example.audit(&example.options()).await;
        assert!(report.findings.is_empty(), "{}", report.render_text());
        assert!(!report.failing());
        // What this login could not look at is said, and what it was not given.
        let unread = report.unreadable.join("\n");
        for (what, expected) in [
            ("login_without_scram", true),
            // Where one line lets in a group.
            (
                "grantor_gets_in",
                Clusters::from_environment().get(version).major() > 15,
            ),
            ("audience_any", true),
        ] {
            assert_eq!(unread.contains(what), expected, "{what}: {unread}");
        }
        example.db.remove().await;
    }
}

/// What is planted, the id it must be found by, the object, what the chain must say, and what
/// takes it away again.
const HOLES: &[(&str, &str, &str, &str, &str)] = &[
    ("grant execute on function api.count_orders() to public",
     "public_execute", "api.count_orders()", "PUBLIC",
     "revoke execute on function api.count_orders() from public"),
    ("create function api.forgotten(text) returns int language sql as 'select 1'",
     "public_execute", "api.forgotten(text)", "by default",
     "drop function api.forgotten(text)"),
    ("grant execute on function rolegate.epoch() to public",
     "public_execute", "rolegate.epoch()", "PUBLIC",
     "revoke execute on function rolegate.epoch() from public"),
    ("alter default privileges for role OWNER grant execute on functions to public",
     "default_execute", "OWNER", "OWNER",
     "alter default privileges for role OWNER revoke execute on functions from public"),
    ("grant select on api.orders to public",
     "public_table", "api.orders", "SELECT on api.orders",
     "revoke select on api.orders from public"),
    ("grant update (note) on api.orders to public",
     "public_table", "api.orders", "UPDATE (note)",
     "revoke update (note) on api.orders from public"),
    ("create sequence api.numbers; grant usage on sequence api.numbers to public",
     "public_sequence", "api.numbers", "USAGE",
     "drop sequence api.numbers"),
    ("grant select on api.orders to rolegate_anonymous",
     "anonymous_reads", "api.orders", "anonymous role",
     "revoke select on api.orders from rolegate_anonymous"),
    ("grant insert (note) on api.orders to rolegate_anonymous",
     "anonymous_writes", "api.orders", "INSERT (note)",
     "revoke insert (note) on api.orders from rolegate_anonymous"),
    ("create role group_UNIQUE; grant delete on api.orders to group_UNIQUE;
      grant group_UNIQUE to rolegate_anonymous",
     "anonymous_writes", "api.orders", "member of group_UNIQUE",
     "revoke delete on api.orders from group_UNIQUE; drop role group_UNIQUE"),
    ("alter function api.close_order(int) reset search_path",
     "definer_search_path", "api.close_order(integer)", "",
     "alter function api.close_order(int) set search_path = pg_catalog, api, pg_temp"),
    ("alter function api.close_order(int) set search_path = pg_catalog, api",
     "definer_search_path", "api.close_order(integer)", "",
     "alter function api.close_order(int) set search_path = pg_catalog, api, pg_temp"),
    ("alter function api.close_order(int) set search_path = pg_temp, pg_catalog, api",
     "definer_search_path", "api.close_order(integer)", "",
     "alter function api.close_order(int) set search_path = pg_catalog, api, pg_temp"),
    ("alter function api.close_order(int) set search_path = \"$user\", api, pg_temp",
     "definer_search_path", "api.close_order(integer)", "",
     "alter function api.close_order(int) set search_path = pg_catalog, api, pg_temp"),
    ("create schema shared; grant create on schema shared to CLERK;
      alter function api.close_order(int) set search_path = shared, api, pg_temp",
     "definer_search_path", "api.close_order(integer)", "",
     "alter function api.close_order(int) set search_path = pg_catalog, api, pg_temp;
      drop schema shared"),
    ("create view api.all_orders as select * from api.orders; grant select on api.all_orders to CLERK",
     "view_owner_rights", "api.all_orders", "as postgres: SELECT on api.orders",
     "drop view api.all_orders"),
    ("create view api.inner_orders as select * from api.orders;
      create view api.outer_orders with (security_invoker = false) as select * from api.inner_orders;
      grant select (id) on api.outer_orders to CLERK",
     "view_owner_rights", "api.outer_orders", "SELECT (id)",
     "drop view api.outer_orders; drop view api.inner_orders"),
    ("create table api.salaries (who text, amount int);
      create view api.payroll as select who from api.salaries; grant select on api.payroll to CLERK",
     "view_owner_rights", "api.payroll", "api.salaries",
     "drop view api.payroll; drop table api.salaries"),
    ("create materialized view api.totals as select count(*) from api.orders;
      grant select on api.totals to CLERK",
     "matview_without_rls", "api.totals", "SELECT on api.totals",
     "drop materialized view api.totals"),
    ("create foreign data wrapper w_UNIQUE; create server s_UNIQUE foreign data wrapper w_UNIQUE;
      create foreign table api.remote (id int) server s_UNIQUE; grant select on api.remote to CLERK",
     "foreign_table_without_rls", "api.remote", "SELECT on api.remote",
     "drop foreign table api.remote; drop foreign data wrapper w_UNIQUE cascade"),
    ("create foreign data wrapper w_UNIQUE; create server s_UNIQUE foreign data wrapper w_UNIQUE;
      grant usage on foreign server s_UNIQUE to public",
     "foreign_server_for_public", "s_UNIQUE", "USAGE",
     "drop foreign data wrapper w_UNIQUE cascade"),
    ("create foreign data wrapper w_UNIQUE; create server s_UNIQUE foreign data wrapper w_UNIQUE;
      create user mapping for public server s_UNIQUE",
     "foreign_server_for_public", "s_UNIQUE", "user mapping",
     "drop foreign data wrapper w_UNIQUE cascade"),
    ("create table api.closed (id int); alter table api.closed enable row level security",
     "rls_without_policies", "api.closed", "",
     "drop table api.closed"),
    ("alter table api.orders disable row level security",
     "policies_without_rls", "api.orders", "orders_org",
     "alter table api.orders enable row level security"),
    ("alter table api.orders no force row level security; grant OWNER to CLERK",
     "owner_without_force", "api.orders", "member of OWNER",
     "alter table api.orders force row level security; revoke OWNER from CLERK"),
    ("create policy trusting on api.orders to CLERK
      using (org = current_setting('request.jwt.claims', true)::json ->> 'org')",
     "policy_trusts_setting", "trusting on api.orders", "its expression",
     "drop policy trusting on api.orders"),
    ("create function api.org() returns text language sql stable security definer
      set search_path = pg_catalog, pg_temp as $$ select current_setting('app.org', true) $$;
      revoke execute on function api.org() from public;
      create policy trusting on api.orders to CLERK with check (org = api.org())",
     "policy_trusts_setting", "trusting on api.orders", "function api.org()",
     "drop policy trusting on api.orders; drop function api.org()"),
    ("grant temporary on database DATABASE to public",
     "temp_for_public", "DATABASE", "PUBLIC",
     "revoke temporary on database DATABASE from public"),
    ("grant temporary on database DATABASE to CLERK",
     "temp_for_public", "DATABASE", "admitted role CLERK",
     "revoke temporary on database DATABASE from CLERK"),
    ("grant connect on database DATABASE to public",
     "public_connect", "DATABASE", "CONNECT",
     "revoke connect on database DATABASE from public"),
    ("grant create on database DATABASE to CLERK",
     "create_in_database", "DATABASE", "CREATE",
     "revoke create on database DATABASE from CLERK"),
    ("grant create on schema public to public",
     "create_in_schema", "public", "CREATE on schema public",
     "revoke create on schema public from public"),
    ("create role makers_UNIQUE; grant create on schema api to makers_UNIQUE;
      grant makers_UNIQUE to CLERK",
     "create_in_schema", "api", "member of makers_UNIQUE",
     "revoke create on schema api from makers_UNIQUE; drop role makers_UNIQUE"),
    ("grant set on parameter session_replication_role to CLERK",
     "parameter_for_role", "session_replication_role", "SET on parameter",
     "revoke set on parameter session_replication_role from CLERK"),
    ("grant execute on function lo_creat(integer) to public",
     "large_objects", "lo_creat(integer)", "PUBLIC",
     "revoke execute on function lo_creat(integer) from public"),
    ("select lo_create(77); grant select on large object 77 to CLERK",
     "large_objects", "large object 77", "SELECT on large object 77",
     "select lo_unlink(77)"),
    ("grant execute on function pg_advisory_lock_shared(bigint) to public",
     "builtin_for_public", "pg_advisory_lock_shared(bigint)", "PUBLIC",
     "revoke execute on function pg_advisory_lock_shared(bigint) from public"),
    ("create function api.dynamic(q text) returns void language plpgsql as 'begin execute q; end';
      revoke execute on function api.dynamic(text) from public",
     "function_needs_login_mode", "api.dynamic(text)", "",
     "drop function api.dynamic(text)"),
    ("create function api.xml(q text) returns xml language sql
      begin atomic select query_to_xml(q, true, true, ''); end;
      revoke execute on function api.xml(text) from public",
     "function_needs_login_mode", "api.xml(text)", "",
     "drop function api.xml(text)"),
    ("create procedure api.steps() language plpgsql as 'begin commit; end';
      revoke execute on procedure api.steps() from public",
     "function_needs_login_mode", "api.steps()", "",
     "drop procedure api.steps()"),
    ("create function api.opaque() returns int language internal as 'pg_backend_pid';
      revoke execute on function api.opaque() from public",
     "function_needs_login_mode", "api.opaque()", "",
     "drop function api.opaque()"),
    ("create role boss_UNIQUE superuser; grant boss_UNIQUE to CLERK",
     "role_reaches_forbidden", "CLERK", "superuser",
     "drop role boss_UNIQUE"),
    ("grant pg_read_all_data to CLERK",
     "role_reaches_forbidden", "CLERK", "pg_read_all_data",
     "revoke pg_read_all_data from CLERK"),
    ("grant OWNER to rolegate_authenticator",
     "role_not_admitted", "OWNER", "member of OWNER",
     "revoke OWNER from rolegate_authenticator"),
    ("grant rolegate_admitted to rolegate_operator",
     "engine_role_admitted", "rolegate_operator", "member of rolegate_admitted",
     "revoke rolegate_admitted from rolegate_operator"),
    ("grant rolegate_grantor to rolegate_console",
     "engine_role_admitted", "rolegate_console", "member of rolegate_grantor -> member of rolegate_admitted",
     "revoke rolegate_grantor from rolegate_console"),
    ("create role team_UNIQUE; grant rolegate_admitted to team_UNIQUE;
      grant team_UNIQUE to rolegate_migrator",
     "engine_role_admitted", "rolegate_migrator", "member of team_UNIQUE",
     "drop role team_UNIQUE"),
];

#[tokio::test]
async fn every_planted_hole_is_found_by_its_id() {
    for version in versions() {
        let example = Example::new(version).await;
        for (plant, id, object, chain, remove) in HOLES {
            example.run(plant).await;
            let report = example.audit(&example.options()).await;
            let object = example.named(object);
            let chain = example.named(chain);
            let hit = report.findings.iter().find(|finding| {
                finding.id == *id
                    && finding.object == object
                    && finding.chain.join(" -> ").contains(&chain)
            });
            assert!(
                hit.is_some(),
                "{version}: {plant}\n{}",
                report.render_text()
            );
            assert!(report.failing(), "{plant}");
            for finding in &report.findings {
                assert!(audit::IDS.contains(&&*finding.id), "{}", finding.id);
            }
            example.run(remove).await;
        }
        let report = example.audit(&example.options()).await;
        assert!(report.findings.is_empty(), "{}", report.render_text());
        example.db.remove().await;
    }
}

/// Findings that no planted hole of [`HOLES`] makes, and that have tests of their own.
const OTHERS: [&str; 7] = [
    "audience_any",
    "grantor_gets_in",
    "login_without_scram",
    "password_check_without_scram",
    "server_version",
    "slot_limits",
    "unused_allow_entry",
];

#[test]
fn every_kind_of_finding_is_tested_and_described() {
    let tested: BTreeSet<&str> = HOLES.iter().map(|hole| hole.1).chain(OTHERS).collect();
    assert_eq!(tested, audit::IDS.into());
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/audit.md");
    let page = std::fs::read_to_string(file).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let described: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(described.len(), tested.len());
    assert_eq!(described.into_iter().collect::<BTreeSet<_>>(), tested);
}

/// The fixes of the holes that one statement closes are that statement.
#[tokio::test]
async fn the_suggested_fix_ends_the_finding() {
    let fixable = [
        "public_execute",
        "default_execute",
        "public_table",
        "anonymous_reads",
        "anonymous_writes",
        "definer_search_path",
        "view_owner_rights",
        "policies_without_rls",
        "owner_without_force",
        "temp_for_public",
        "public_connect",
        "create_in_database",
        "create_in_schema",
        "parameter_for_role",
        "large_objects",
        "builtin_for_public",
        "matview_without_rls",
        "foreign_table_without_rls",
        "foreign_server_for_public",
        "public_sequence",
        "engine_role_admitted",
    ];
    for version in versions() {
        let example = Example::new(version).await;
        for (plant, id, object, _, remove) in HOLES.iter().filter(|hole| fixable.contains(&hole.1))
        {
            example.run(plant).await;
            let key = ((*id).to_owned(), example.named(object));
            // Several privileges of one object are several findings, each with its own fix.
            let report = example.audit(&example.options()).await;
            for finding in report
                .findings
                .iter()
                .filter(|f| (&f.id, &f.object) == (&key.0, &key.1))
            {
                // Written for this installation's names already, so it must not be rendered.
                example.superuser.batch_execute(&finding.fix).await.unwrap();
            }
            let left = found(&example.audit(&example.options()).await);
            assert!(!left.contains(&key), "{version}: {plant}");
            example.run(remove).await;
        }
        example.db.remove().await;
    }
}

#[tokio::test]
async fn an_accepted_hole_is_counted_and_an_unused_entry_is_found() {
    for version in versions() {
        let example = Example::new(version).await;
        example.run("grant select on api.orders to public").await;
        let mut options = example.options();
        options.allow_list = AllowList::parse(
            "[[allow]]\nid = \"public_table\"\nobject = \"api.orders\"\nreason = \"open data\"\n\
             [[allow]]\nid = \"public_table\"\nobject = \"api.gone\"\nreason = \"was open data\"\n",
        )
        .unwrap();
        let report = example.audit(&options).await;
        assert_eq!(report.allowed.len(), 1);
        assert_eq!(
            found(&report),
            [("unused_allow_entry".to_owned(), "api.gone".to_owned())].into()
        );
        assert!(report.failing());
        assert_eq!(report.to_json()["allowed"][0]["reason"], "open data");
        example.db.remove().await;
    }
}

#[tokio::test]
async fn login_mode_runs_dynamic_sql_and_a_declared_function_is_accepted_in_assume_mode() {
    for version in versions() {
        let example = Example::new(version).await;
        example
            .run(
                "create function api.dynamic(q text) returns void language plpgsql \
                 as 'begin execute q; end'; \
                 revoke execute on function api.dynamic(text) from public",
            )
            .await;
        let login = AuditOptions {
            mode: Mode::Login,
            ..example.options()
        };
        let of = |report: Report| {
            found(&report)
                .iter()
                .any(|(id, _)| id == "function_needs_login_mode")
        };
        assert!(!of(example.audit(&login).await));

        let superuser = &example.superuser;
        assert!(of(audit::run(superuser, &example.options()).await.unwrap()));
        example
            .run("select rolegate.declare_safe('api.dynamic(text)')")
            .await;
        assert!(!of(audit::run(superuser, &example.options())
            .await
            .unwrap()));
        // Another body is another function.
        example
            .run(
                "create or replace function api.dynamic(q text) returns void language plpgsql \
                 as 'begin execute q || q; end'",
            )
            .await;
        assert!(of(audit::run(superuser, &example.options()).await.unwrap()));
        example.db.remove().await;
    }
}

#[tokio::test]
async fn an_old_server_is_found_where_callers_sql_runs() {
    for version in versions() {
        let example = Example::new(version).await;
        let options = AuditOptions {
            runs_caller_sql: true,
            ..example.options()
        };
        let superuser = &example.superuser;
        let number: i32 = superuser
            .query_one("select current_setting('server_version_num')::int", &[])
            .await
            .unwrap()
            .get(0);
        let missed = audit::minimum_versions::missed(number.unsigned_abs(), true);
        let report = example.audit(&options).await;
        let hit = report
            .findings
            .iter()
            .find(|finding| finding.id == "server_version");
        assert_eq!(hit.is_some(), !missed.is_empty(), "{number}");
        assert!(hit.is_none_or(|finding| finding.severity == Severity::Error));
        example.db.remove().await;
    }
}
