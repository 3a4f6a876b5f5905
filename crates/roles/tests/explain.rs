//! The explanation equals a real attempt, says why, and cannot be used to leave the role.

#![expect(
    clippy::unwrap_used,
    reason = "what a test needs and does not get fails it"
)]

#[path = "suite/installation.rs"]
#[expect(dead_code, reason = "the other tests need more of it")]
mod installation;

use std::fmt::Write as _;

use Privilege::{Delete, Insert, Select, Update};
use installation::{Installation, versions};
use rolegate_roles::explain::{
    self, ExplainError, Explanation, Privilege, Question, StepKind, Target, Verdict,
};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Pseudo-random numbers from a fixed seed, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        // Knuth's MMIX generator; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

fn table(
    role: &str,
    name: &str,
    privilege: Privilege,
    columns: &[&str],
    key: &[(&str, &str)],
) -> Question {
    Question {
        role: role.to_owned(),
        target: Target::Table {
            name: name.to_owned(),
            privilege,
            columns: columns.iter().map(ToString::to_string).collect(),
            key: key
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        },
        claims: None,
    }
}

fn function(role: &str, name: &str) -> Question {
    let target = Target::Function(name.to_owned());
    Question {
        role: role.to_owned(),
        target,
        claims: None,
    }
}

fn sql(role: &str, text: &str) -> Question {
    let target = Target::Sql(text.to_owned());
    Question {
        role: role.to_owned(),
        target,
        claims: None,
    }
}

async fn ask(client: &Client, question: &Question) -> Explanation {
    let explanation = explain::explain(client, question).await.unwrap();
    // Whatever was asked, the connection is as before: no role, no transaction, nothing left.
    let row = client
        .query_one(
            "select current_user = session_user and current_setting('role') = 'none' \
                and current_setting('statement_timeout') = '0' \
                and not exists (select from pg_proc where proname like 'rolegate_as_%') \
                and not exists (select from pg_roles where rolname = \
                    'rolegate_explain_' || pg_backend_pid())",
            &[],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0), "{question:?} left something behind");
    explanation
}

/// What really happens: whether the statement was let through, and found a row if it must.
async fn attempt(client: &Client, role: &str, statement: &str, needs_row: bool) -> Verdict {
    client
        .batch_execute(&format!("begin; set local role {role}"))
        .await
        .unwrap();
    let result = client.query(statement, &[]).await;
    client.batch_execute("rollback").await.unwrap();
    match result {
        Ok(rows) if needs_row && rows.is_empty() => Verdict::Denied,
        Ok(_) => Verdict::Allowed,
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Verdict::Denied,
        Err(error) => panic!("{role}: {statement}: {error:?}"),
    }
}

const POLICIES: [&str; 9] = [
    "true",
    "false",
    "who = current_user",
    "who = current_setting('role')",
    "v > 5",
    "id % 2 = 0",
    "null",
    "exists (select 1 from a.lookup l where l.id = t.id)",
    "v in (select l.v from a.lookup l where l.who = t.who)",
];

/// Roles, memberships, tables, grants and policies out of the dice.
async fn random_world(
    client: &Client,
    dice: &mut Dice,
    unique: &str,
    options: bool,
) -> Vec<String> {
    let roles: Vec<String> = (0..10).map(|i| format!("r{i}_{unique}")).collect();
    let mut sql = "create schema a; create schema b;".to_owned();
    for role in &roles {
        let inherit = if dice.one_in(4) {
            "noinherit"
        } else {
            "inherit"
        };
        let bypass = if dice.one_in(10) { "bypassrls" } else { "" };
        write!(sql, "create role {role} {inherit} {bypass};").unwrap();
    }
    for (i, member) in roles.iter().enumerate() {
        for group in &roles[i + 1..] {
            if dice.one_in(6) {
                let with = match (options, dice.below(3)) {
                    (true, 0) => "with inherit false",
                    (true, 1) => "with inherit true",
                    _ => "",
                };
                write!(sql, "grant {group} to {member} {with};").unwrap();
            }
        }
    }
    for role in &roles {
        if !dice.one_in(12) {
            continue;
        }
        let predefined = dice.pick(&["pg_read_all_data", "pg_write_all_data"]);
        write!(sql, "grant {predefined} to {role};").unwrap();
    }
    let mut grantees: Vec<&str> = roles.iter().map(String::as_str).collect();
    grantees.push("public");
    for schema in ["a", "b"] {
        for grantee in grantees.iter().filter(|name| **name != "public") {
            if !dice.one_in(3) {
                write!(sql, "grant usage on schema {schema} to {grantee};").unwrap();
            }
        }
    }
    write!(
        sql,
        "create table a.lookup (id int, who text, v int); insert into a.lookup values \
         (1, '{}', 7), (2, '{}', 3), (3, 'x', 3);",
        roles[0], roles[1]
    )
    .unwrap();
    for grantee in grantees.iter().filter(|_| dice.one_in(2)) {
        write!(sql, "grant select on a.lookup to {grantee};").unwrap();
    }
    random_tables(&mut sql, dice, &roles, &grantees);
    client.batch_execute(&sql).await.unwrap();
    roles
}

fn random_tables(sql: &mut String, dice: &mut Dice, roles: &[String], grantees: &[&str]) {
    for i in 0..6 {
        // The same name in the schemas and in the expressions.
        let table = format!("{}.t{i}", if i % 2 == 0 { "a" } else { "b" });
        write!(
            sql,
            "create table {table} (id int primary key, who text, v int, w int);"
        )
        .unwrap();
        // A dropped column is still in the catalog and not in the row.
        write!(sql, "alter table {table} drop column w;").unwrap();
        for id in 1..=4 {
            let who = dice.pick(roles);
            write!(
                sql,
                "insert into {table} values ({id}, '{who}', {});",
                dice.below(10)
            )
            .unwrap();
        }
        for grantee in grantees {
            for privilege in ["select", "insert", "update", "delete"] {
                let often = if *grantee == "public" { 8 } else { 3 };
                if dice.one_in(often) {
                    write!(sql, "grant {privilege} on {table} to {grantee};").unwrap();
                } else if privilege != "delete" && dice.one_in(often) {
                    let column = dice.pick(&["id", "who", "v", "id, v"]);
                    write!(sql, "grant {privilege} ({column}) on {table} to {grantee};").unwrap();
                }
            }
        }
        if !dice.one_in(4) {
            write!(sql, "alter table {table} enable row level security;").unwrap();
        }
        if dice.one_in(2) {
            write!(sql, "alter table {table} force row level security;").unwrap();
        }
        for p in 0..dice.below(7) {
            let command = *dice.pick(&["all", "all", "select", "insert", "update", "delete"]);
            let kind = if dice.one_in(5) {
                "restrictive"
            } else {
                "permissive"
            };
            let to = dice.pick(grantees);
            let using = dice.pick(&POLICIES).replace("t.", &format!("t{i}."));
            let check = dice.pick(&POLICIES).replace("t.", &format!("t{i}."));
            let expression = match command {
                "select" | "delete" => format!("using ({using})"),
                "insert" => format!("with check ({check})"),
                _ if dice.one_in(2) => format!("using ({using})"),
                _ => format!("using ({using}) with check ({check})"),
            };
            write!(
                sql,
                "create policy p{p} on {table} as {kind} for {command} to {to} {expression};"
            )
            .unwrap();
        }
        if dice.one_in(2) {
            write!(sql, "alter table {table} owner to {};", dice.pick(roles)).unwrap();
        }
    }
}

/// The one policy expression of the list that reads a setting is answered only with claims given.
fn with_claims(mut question: Question) -> Question {
    question.claims = Some("{}".to_owned());
    question
}

#[tokio::test]
async fn the_verdict_equals_a_real_attempt() {
    for version in versions() {
        let db = Installation::new(version).await;
        let client = db.superuser().await;
        let mut dice = Dice(20_261);
        let roles = random_world(&client, &mut dice, &db.unique, version.major() >= 16).await;
        let (mut asked, mut allowed) = (0, 0);
        for role in &roles {
            for i in 0..6 {
                let name = format!("{}.t{i}", if i % 2 == 0 { "a" } else { "b" });
                let id = (1 + dice.below(4)).to_string();
                let who = dice.pick(&roles).clone();
                let v = dice.below(10).to_string();
                let one = [("id", &*id)];
                let row = [("id", "100"), ("who", &*who), ("v", &*v)];
                let cases = [
                    (
                        table(role, &name, Select, &[], &[]),
                        format!("select * from {name}"),
                        false,
                    ),
                    (
                        table(role, &name, Select, &["v"], &[]),
                        format!("select v from {name}"),
                        false,
                    ),
                    (
                        table(role, &name, Update, &[], &[]),
                        format!(
                            "update {name} set id = default, who = default, v = default where false"
                        ),
                        false,
                    ),
                    (
                        table(role, &name, Update, &["who"], &[]),
                        format!("update {name} set who = null where false"),
                        false,
                    ),
                    (
                        table(role, &name, Delete, &[], &[]),
                        format!("delete from {name} where false"),
                        false,
                    ),
                    (
                        table(role, &name, Select, &["v"], &one),
                        format!("select v from {name} where id = {id}"),
                        true,
                    ),
                    (
                        table(role, &name, Select, &[], &one),
                        format!("select * from {name} where id = {id}"),
                        true,
                    ),
                    (
                        table(role, &name, Update, &["id"], &one),
                        format!("update {name} set id = {id} where id = {id} returning 1"),
                        true,
                    ),
                    (
                        table(role, &name, Delete, &[], &one),
                        format!("delete from {name} where id = {id} returning 1"),
                        true,
                    ),
                    (
                        table(role, &name, Insert, &[], &row),
                        format!("insert into {name} values (100, '{who}', {v})"),
                        false,
                    ),
                ];
                for (question, statement, needs_row) in cases {
                    let explanation = ask(&client, &with_claims(question)).await;
                    let real = attempt(&client, role, &statement, needs_row).await;
                    assert_eq!(
                        explanation.verdict,
                        real,
                        "{version}: {statement}\n{}",
                        explanation.render_text()
                    );
                    asked += 1;
                    allowed += usize::from(real == Verdict::Allowed);
                }
            }
        }
        // A world in which everything has the same answer would prove nothing.
        assert!(
            asked >= 200 && allowed > asked / 10 && allowed < asked * 9 / 10,
            "{allowed} of {asked}"
        );
        db.remove().await;
    }
}

/// A small world whose chains are known.
async fn orders(db: &Installation) -> (Client, String, String) {
    let clerk = db.application_role("clerk").await;
    let staff = format!("staff_{}", db.unique);
    db.run(&format!(
        "create role {staff}; grant {staff} to {clerk};
         create schema api; grant usage on schema api to {staff};
         create table api.orders (id int primary key, org text, note text);
         insert into api.orders values (1, 'a', 'x'), (2, 'b', 'y');
         alter table api.orders enable row level security;
         create policy of_a on api.orders to {staff} using (org = 'a');
         grant select (id, org), insert, delete on api.orders to {staff};
         create function api.f(int) returns int language sql as 'select 1';
         create function api.f(text) returns int language sql security definer as 'select 1';
         create function api.g() returns int language sql as 'select 1';
         revoke execute on function api.f(int), api.g() from public;
         grant execute on function api.f(int) to {staff};
         create schema hidden;
         create function hidden.h() returns int language sql as 'select 1';"
    ))
    .await;
    (db.superuser().await, clerk, staff)
}

#[tokio::test]
async fn the_chain_says_membership_grant_column_and_policy() {
    for version in versions() {
        let db = Installation::new(version).await;
        let (client, clerk, staff) = orders(&db).await;
        let question = table(
            &clerk,
            "api.orders",
            Privilege::Select,
            &["org"],
            &[("id", "2")],
        );
        let hidden = ask(&client, &question).await;
        assert_eq!(hidden.verdict, Verdict::Denied);
        let text = hidden.render_text();
        for part in [
            "denied: clerk".to_owned(),
            "has USAGE on schema api".to_owned(),
            format!(
                "via role {clerk} -> member of {staff} -> USAGE on schema api granted by postgres"
            ),
            "has SELECT (org) on api.orders".to_owned(),
            "policy of_a: USING (org = 'a'::text); for this row false".to_owned(),
            format!("member of {staff} -> policy for {staff}"),
        ] {
            assert!(text.contains(&part), "{part}\n{text}");
        }
        let json = hidden.to_json();
        assert_eq!(json["verdict"], "denied");
        assert_eq!(json["steps"][0]["kind"], "schema");

        let question = table(
            &clerk,
            "api.orders",
            Privilege::Select,
            &["org"],
            &[("id", "1")],
        );
        assert_eq!(ask(&client, &question).await.verdict, Verdict::Allowed);
        let question = table(&clerk, "api.orders", Privilege::Select, &["note"], &[]);
        let lacks = ask(&client, &question).await;
        assert_eq!(lacks.verdict, Verdict::Denied);
        assert!(
            lacks
                .render_text()
                .contains("lacks SELECT (note) on api.orders")
        );
        // A row that is not there is neither.
        let question = table(
            &clerk,
            "api.orders",
            Privilege::Select,
            &["id"],
            &[("id", "3")],
        );
        assert_eq!(ask(&client, &question).await.verdict, Verdict::Unknown);
        // Any grantee of the owner's rights is not asked.
        let question = table(
            "postgres",
            "api.orders",
            Privilege::Select,
            &[],
            &[("id", "2")],
        );
        assert_eq!(ask(&client, &question).await.verdict, Verdict::Allowed);
        db.remove().await;
    }
}

#[tokio::test]
async fn functions_are_found_by_name_and_by_signature() {
    for version in versions() {
        let db = Installation::new(version).await;
        let (client, clerk, staff) = orders(&db).await;
        for (name, verdict) in [
            ("api.f(integer)", Verdict::Allowed),
            ("api.f(int4)", Verdict::Allowed),
            ("api.f(text)", Verdict::Allowed),
            ("api.g", Verdict::Denied),
            ("api.\"g\"()", Verdict::Denied),
            // EXECUTE is with PUBLIC; USAGE is not.
            ("hidden.h", Verdict::Denied),
        ] {
            assert_eq!(
                ask(&client, &function(&clerk, name)).await.verdict,
                verdict,
                "{name}"
            );
        }
        let by_staff = ask(&client, &function(&clerk, "api.f(int4)")).await;
        assert!(
            by_staff.steps[1]
                .via
                .contains(&format!("member of {staff}")),
            "{by_staff:?}"
        );
        let definer = ask(&client, &function(&clerk, "api.f(text)")).await;
        assert_eq!(definer.steps[1].via[0], "PUBLIC");
        assert_eq!(definer.steps[2].kind, StepKind::Hop);

        let error = |name: &'static str| explain_error(&client, function(&clerk, name));
        assert!(matches!(error("api.f").await, ExplainError::Ambiguous(all) if all.len() == 2));
        assert!(matches!(
            error("api.f(bigint)").await,
            ExplainError::ObjectUnknown(_)
        ));
        assert!(matches!(
            error("api.f'; drop schema api; --").await,
            ExplainError::Name(_)
        ));
        let nobody = explain_error(&client, function("nobody", "api.g")).await;
        assert!(matches!(nobody, ExplainError::RoleUnknown(_)));
        let column = table(&clerk, "api.orders", Privilege::Select, &["nope"], &[]);
        assert!(matches!(
            explain_error(&client, column).await,
            ExplainError::ColumnUnknown { .. }
        ));
        db.remove().await;
    }
}

async fn explain_error(client: &Client, question: Question) -> ExplainError {
    let error = explain::explain(client, &question).await.unwrap_err();
    client.batch_execute("begin; rollback").await.unwrap();
    error
}

#[tokio::test]
async fn a_view_is_as_good_as_what_its_owner_or_reader_may() {
    for version in versions() {
        let db = Installation::new(version).await;
        let (client, clerk, staff) = orders(&db).await;
        db.run(&format!(
            "create role weak_{0}; grant usage, create on schema api to weak_{0};
             create view api.all_of_them as select * from api.orders;
             create view api.own with (security_invoker = true) as select id, org from api.orders;
             create view api.notes with (security_invoker = true) as select note from api.orders;
             create view api.broken as select * from api.orders;
             alter view api.broken owner to weak_{0};
             grant select on api.all_of_them, api.own, api.notes, api.broken to {staff}",
            db.unique
        ))
        .await;
        for (view, key, verdict) in [
            ("api.all_of_them", &[][..], Verdict::Allowed),
            ("api.all_of_them", &[("id", "2")], Verdict::Allowed),
            ("api.own", &[("id", "1")], Verdict::Allowed),
            ("api.own", &[("id", "2")], Verdict::Unknown),
            ("api.notes", &[], Verdict::Denied),
            ("api.broken", &[], Verdict::Denied),
        ] {
            let question = table(&clerk, view, Privilege::Select, &[], key);
            let explanation = ask(&client, &question).await;
            assert_eq!(
                explanation.verdict,
                verdict,
                "{}",
                explanation.render_text()
            );
            if key.is_empty() {
                let real = attempt(&client, &clerk, &format!("select * from {view}"), false).await;
                assert_eq!(explanation.verdict, real, "{view}");
            }
        }
        db.remove().await;
    }
}

#[tokio::test]
async fn what_cannot_be_known_is_unknown() {
    for version in versions() {
        let db = Installation::new(version).await;
        let (client, clerk, staff) = orders(&db).await;
        for (policy, claims, verdict) in [
            ("random() < 2", None, Verdict::Unknown),
            (
                "org = (select rolegate.claim('org'))",
                Some("{\"org\": \"a\"}"),
                Verdict::Unknown,
            ),
            (
                "org = current_setting('request.jwt.claims')::json ->> 'org'",
                None,
                Verdict::Unknown,
            ),
            (
                "org = current_setting('request.jwt.claims')::json ->> 'org'",
                Some("{\"org\": \"a\"}"),
                Verdict::Allowed,
            ),
            (
                "org = current_setting('request.jwt.claims')::json ->> 'org'",
                Some("{\"org\": \"b\"}"),
                Verdict::Denied,
            ),
            ("id / 0 = 1", None, Verdict::Unknown),
        ] {
            db.run(&format!(
                "drop policy of_a on api.orders; create policy of_a on api.orders to {staff} using ({policy})"
            ))
            .await;
            let mut question = table(
                &clerk,
                "api.orders",
                Privilege::Select,
                &["id"],
                &[("id", "1")],
            );
            question.claims = claims.map(str::to_owned);
            let explanation = ask(&client, &question).await;
            assert_eq!(
                explanation.verdict,
                verdict,
                "{}",
                explanation.render_text()
            );
        }
        // A row that the server completes or a trigger changes.
        db.run("alter table api.orders alter note set default 'z'")
            .await;
        let question = table(
            &clerk,
            "api.orders",
            Privilege::Insert,
            &[],
            &[("id", "9"), ("org", "a")],
        );
        assert_eq!(ask(&client, &question).await.verdict, Verdict::Unknown);
        db.remove().await;
    }
}

/// Functions of policies run while a superuser asks: they must stay inside the role.
#[tokio::test]
async fn a_policy_cannot_use_the_question_to_leave_its_role() {
    for version in versions() {
        let db = Installation::new(version).await;
        let (client, clerk, staff) = orders(&db).await;
        for escape in [
            "perform set_config(''role'', ''none'', true)",
            "reset role",
            "set local role postgres",
            "set session authorization default",
            "execute ''reset role''",
            "perform set_config(''transaction_read_only'', ''off'', true)",
            "perform api.write_loot()",
        ] {
            // Whatever does not raise ends in an answer: true if the role was left. Immutable, so
            // that the planner calls it too.
            db.run(&format!(
                "create table api.loot (who text); grant insert on api.loot to public;
                 create function api.write_loot() returns void language sql
                     as 'insert into api.loot values (current_user)';
                 create function api.evil(text) returns boolean language plpgsql immutable
                     as 'begin {escape}; return current_user = session_user; end';
                 drop policy of_a on api.orders;
                 create policy of_a on api.orders to {staff} using (api.evil(org));
                 create policy constant on api.orders to {staff} using (api.evil('x'))"
            ))
            .await;
            let question = table(
                &clerk,
                "api.orders",
                Privilege::Select,
                &["id"],
                &[("id", "1")],
            );
            let explanation = ask(&client, &question).await;
            assert_eq!(
                explanation.verdict,
                Verdict::Unknown,
                "{}",
                explanation.render_text()
            );
            let text = ask(&client, &sql(&clerk, "select id from api.orders")).await;
            assert_eq!(text.verdict, Verdict::Unknown, "{}", text.render_text());
            let loot = client.query("select from api.loot", &[]).await.unwrap();
            assert!(loot.is_empty(), "{escape}");
            db.run(
                "drop function api.evil, api.write_loot cascade; drop table api.loot;
                 create policy of_a on api.orders using (true)",
            )
            .await;
        }
        db.remove().await;
    }
}

#[tokio::test]
async fn a_statement_is_planned_as_the_role_and_never_run() {
    for version in versions() {
        let db = Installation::new(version).await;
        let (client, clerk, _) = orders(&db).await;
        let allowed = ask(&client, &sql(&clerk, "select id from api.orders -- all")).await;
        assert_eq!(allowed.verdict, Verdict::Allowed);
        let text = allowed.render_text();
        assert!(text.contains("Scan") && !text.contains("rows="), "{text}");
        let denied = ask(&client, &sql(&clerk, "select note from api.orders")).await;
        assert_eq!(denied.verdict, Verdict::Denied);
        assert!(denied.steps[0].text.contains("orders"), "{denied:?}");
        assert_eq!(
            ask(&client, &sql(&clerk, "delete from api.orders"))
                .await
                .verdict,
            Verdict::Allowed
        );
        for text in [
            "select 1; drop table api.orders",
            "select 1; commit; drop table api.orders",
            "analyze select 1",
            "(analyze) delete from api.orders",
            "drop table api.orders",
            "commit",
            "",
        ] {
            let refused = ask(&client, &sql(&clerk, text)).await;
            assert_eq!(
                refused.verdict,
                Verdict::Unknown,
                "{text}: {}",
                refused.render_text()
            );
        }
        let count: i64 = client
            .query_one("select count(*) from api.orders", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(count, 2);
        db.remove().await;
    }
}

#[tokio::test]
async fn an_ordinary_login_gets_the_grants_and_tries_nothing() {
    for version in versions() {
        let db = Installation::new(version).await;
        let (_, clerk, staff) = orders(&db).await;
        let client = db.connect(&db.application_role("asker").await).await;
        // It may not even connect unless somebody lets it.
        assert!(client.is_err());
        let client = db.operator(&staff).await;
        for (question, verdict) in [
            (
                table(&clerk, "api.orders", Privilege::Select, &["id"], &[]),
                Verdict::Allowed,
            ),
            (
                table(&clerk, "api.orders", Privilege::Select, &["note"], &[]),
                Verdict::Denied,
            ),
            (
                table(
                    &clerk,
                    "api.orders",
                    Privilege::Select,
                    &["id"],
                    &[("id", "1")],
                ),
                Verdict::Unknown,
            ),
            (function(&clerk, "api.g"), Verdict::Denied),
            (sql(&clerk, "select 1"), Verdict::Unknown),
        ] {
            let explanation = ask(&client, &question).await;
            assert_eq!(
                explanation.verdict,
                verdict,
                "{}",
                explanation.render_text()
            );
        }
        db.remove().await;
    }
}
