//! Cron entries that are declared as a list: by the leader's configuration, and by a program.
#![allow(clippy::unwrap_used)]

mod stage;

use std::collections::BTreeMap;

use rolegate_jobs::cron::{CronEntry, DeclareError, Declared, declare};
use rolegate_pg::EngineSql;
use rolegate_testkit::for_each_version;
use serde_json::json;
use stage::{Stage, eventually};
use tokio_postgres::Client;

/// A role as which declared entries may run.
async fn allowed(stage: &Stage<'_>) -> String {
    let role = stage.db.create_role("janitor").await;
    stage
        .run(&format!("select rolegate.allow_declared_cron('{role}')"))
        .await;
    role
}

fn entry(name: &str, role: &str) -> CronEntry {
    CronEntry::new(name, "0 0 1 1 *", "x", role)
}

/// Declares them as the worker's login would; what became of each.
async fn outcomes(client: &Client, list: &str, entries: &[CronEntry]) -> BTreeMap<String, String> {
    let declared = said(client, list, entries).await;
    declared.into_iter().map(|d| (d.name, d.outcome)).collect()
}

async fn said(client: &Client, list: &str, entries: &[CronEntry]) -> Vec<Declared> {
    let sql = EngineSql::new("rolegate");
    declare(client, &sql, list, entries).await.unwrap()
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |&(name, outcome): &(&str, &str)| (name.to_owned(), outcome.to_owned());
    pairs.iter().map(owned).collect()
}

/// Everything that somebody set about the entries, and nothing that time changes.
async fn shown(stage: &Stage<'_>) -> Vec<String> {
    let sql = "select concat_ws(' ', name, expression, time_zone, kind, args, queue, priority, max_attempts, \
               runs_as, missed, only_one, source, declared_in, paused_by) \
               from rolegate.list_crons() order by name";
    let rows = stage.superuser.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_list_is_applied_as_a_whole_and_touches_nothing_else() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = allowed(&stage).await;
        let worker = stage.worker().await;
        stage.cron("by hand", "@yearly").await;
        let full = entry("full", &role)
            .time_zone("Europe/Berlin")
            .args(json!({"n": 1}))
            .priority(4)
            .max_attempts(3)
            .catch_up()
            .only_one();
        let list = [entry("a", &role), entry("b", &role), full];
        let all = |outcome| map(&[("a", outcome), ("b", outcome), ("full", outcome)]);
        assert_eq!(outcomes(&worker, "one", &list).await, all("made"));
        let whose = "one (rolegate_worker)";
        assert_eq!(
            shown(&stage).await,
            [
                format!("a 0 0 1 1 * UTC x {{}} default 2 25 {role} coalesce f code {whose}"),
                format!("b 0 0 1 1 * UTC x {{}} default 2 25 {role} coalesce f code {whose}"),
                "by hand @yearly UTC tick {} default 2 25 postgres coalesce f sql".to_owned(),
                format!(
                    "full 0 0 1 1 * Europe/Berlin x {{\"n\": 1}} default 4 3 {role} catch_up t code {whose}"
                ),
            ]
        );
        // Another program's, and the same name from another login, are other lists.
        let maintenance = db.connect_as("rolegate_maintenance").await;
        assert_eq!(
            outcomes(&worker, "two", &[entry("c", &role)]).await,
            map(&[("c", "made")])
        );
        assert_eq!(
            outcomes(&maintenance, "one", &[entry("d", &role)]).await,
            map(&[("d", "made")])
        );
        // Nothing is written when nothing is different.
        let revisions = "select sum(revision)::bigint from rolegate.job_cron";
        let before = stage.number(revisions).await;
        assert_eq!(outcomes(&worker, "one", &list).await, all("same"));
        assert_eq!(stage.number(revisions).await, before);

        stage.run("select rolegate.pause_cron('a')").await;
        let changed = [entry("a", &role).priority(1), list[2].clone()];
        assert_eq!(
            outcomes(&worker, "one", &changed).await,
            map(&[("a", "changed"), ("b", "removed"), ("full", "same")])
        );
        let names: Vec<String> = shown(&stage).await;
        let names: Vec<&str> = names.iter().map(|row| &row[..2]).collect();
        assert_eq!(names, ["a ", "by", "c ", "d ", "fu"]);
        let paused = "select count(*) from rolegate.job_cron where paused_at is not null and name = 'a'";
        assert_eq!(stage.number(paused).await, 1, "an operator's pause stays");
        assert_eq!(
            outcomes(&worker, "one", &[]).await,
            map(&[("a", "removed"), ("full", "removed")])
        );
        assert_eq!(stage.number("select count(*) from rolegate.job_cron").await, 3);
    })
    .await;
}

#[tokio::test]
async fn what_is_refused_is_said_with_a_hint_and_keeps_no_other_from_firing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = allowed(&stage).await;
        let other = db.create_role("other").await;
        let worker = stage.worker().await;
        stage.cron("by hand", "@yearly").await;
        outcomes(&worker, "two", &[entry("of two", &role)]).await;
        outcomes(&worker, "one", &[entry("changes", &role)]).await;
        let before = shown(&stage).await;
        let list = [
            entry("by hand", &role),
            entry("of two", &role),
            entry("no queue", &role).queue("nowhere"),
            entry("no right", &other),
            entry("no role", "nobody"),
            entry("too powerful", "rolegate_owner"),
            entry("changes", &other),
            entry("good", &role),
        ];
        let said: BTreeMap<String, Declared> = said(&worker, "one", &list)
            .await
            .into_iter()
            .map(|declared| (declared.name.clone(), declared))
            .collect();
        assert_eq!(said["good"].outcome, "made");
        for (name, problem, hint) in [
            ("by hand", "made by hand", "rolegate cron remove"),
            ("of two", "declared in two (rolegate_worker)", "another name"),
            ("no queue", "there is no queue 'nowhere'", "create_queue"),
            ("no right", "may not run as", &*format!("rolegate cron allow {other}")),
            ("no role", "may not run as nobody", "rolegate cron allow nobody"),
            ("too powerful", "may not run as rolegate_owner", "rolegate cron allow"),
            ("changes", "may not run as", "rolegate cron allow"),
        ] {
            let declared = &said[name];
            assert_eq!(declared.outcome, "refused", "{declared:?}");
            assert!(declared.problem.as_ref().unwrap().contains(problem), "{declared:?}");
            assert!(declared.hint.as_ref().unwrap().contains(hint), "{declared:?}");
        }
        // What was there is as it was, and fires no more; the others' entries don't know of it.
        let after: Vec<String> = shown(&stage).await;
        let after: Vec<String> = after.into_iter().filter(|row| !row.starts_with("good")).collect();
        assert_eq!(after, before);
        let problems = "select count(*) from rolegate.job_cron where problem is not null";
        assert_eq!(stage.number(problems).await, 1);
        let stopped = "select count(*) from rolegate.job_cron \
                       where name = 'changes' and problem like '%may not run as%'";
        assert_eq!(stage.number(stopped).await, 1);
        // The problem is gone: it counts from now.
        stage
            .run("update rolegate.job_cron set since = now() - interval '3 years' where name = 'changes'")
            .await;
        let again = outcomes(&worker, "one", &[entry("changes", &role), entry("good", &role)]).await;
        assert_eq!(again, map(&[("changes", "changed"), ("good", "same")]));
        assert_eq!(stage.number(problems).await, 0);
        assert_eq!(stage.tick(std::time::Duration::from_secs(30)).await.cron_jobs, 0);

        // By hand nobody changes what is declared.
        let error = stage
            .superuser
            .query_one("select rolegate.set_cron('good', '@daily', 'y')", &[])
            .await
            .unwrap_err();
        assert_eq!(error.code().unwrap().code(), "55000");
        let sql = EngineSql::new("rolegate");
        let wrong = [entry("good", &role), CronEntry::new("bad", "never", "x", &role)];
        let error = declare(&worker, &sql, "one", &wrong).await.unwrap_err();
        assert!(matches!(error, DeclareError::Schedule { name, .. } if name == "bad"));
        for sql in [
            r#"select rolegate.declare_crons('one', '{"name": "a"}')"#,
            r#"select rolegate.declare_crons('one', '[{"kind": "a"}]')"#,
            r#"select rolegate.declare_crons('one', '[{"name": "a"}, {"name": "a"}]')"#,
            "select rolegate.declare_crons('', '[]')",
        ] {
            let error = worker.query(sql, &[]).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "22023", "{sql}");
        }
    })
    .await;
}

#[tokio::test]
async fn whoever_declares_can_name_no_role_that_nobody_has_allowed() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = db.create_role("janitor").await;
        let boss = db.create_role("boss").await;
        stage.run(&format!("grant rolegate_operator to {boss}")).await;
        let operator = db.connect_as(&boss).await;
        let worker = stage.worker().await;
        let list = [entry("a", &role)];
        let code = async |client: &Client, sql: &str| {
            let error = client.query_one(sql, &[]).await.unwrap_err();
            error.code().unwrap().code().to_owned()
        };
        let allow = format!("select rolegate.allow_declared_cron('{role}')");
        let forbid = format!("select rolegate.forbid_declared_cron('{role}')");
        for sql in [&allow, &forbid, &"select rolegate.set_cron('a', '@daily', 'x')".to_owned()] {
            assert_eq!(code(&worker, sql).await, "42501", "{sql}");
            assert_eq!(code(&stage.producer, sql).await, "42501", "{sql}");
        }
        let declaring = "select rolegate.declare_crons('x', '[]')";
        assert_eq!(code(&stage.producer, declaring).await, "42501");
        assert_eq!(code(&operator, &allow).await, "42501", "no member of the role");
        assert_eq!(outcomes(&worker, "one", &list).await, map(&[("a", "refused")]));
        stage.run(&format!("grant {role} to {boss}")).await;
        operator.query_one(&allow, &[]).await.unwrap();
        assert_eq!(outcomes(&worker, "one", &list).await, map(&[("a", "made")]));

        // Taken back, it fires no more, and not again when it is declared again.
        operator.query_one(&forbid, &[]).await.unwrap();
        stage
            .run("update rolegate.job_cron set since = now() - interval '3 years', next_fire = now()")
            .await;
        assert_eq!(stage.tick(std::time::Duration::from_secs(30)).await.cron_jobs, 0);
        assert_eq!(outcomes(&worker, "one", &list).await, map(&[("a", "refused")]));
        operator.query_one(&allow, &[]).await.unwrap();
        assert_eq!(outcomes(&worker, "one", &list).await, map(&[("a", "changed")]));
        // A role of the same name is another role.
        stage
            .run(&format!("drop owned by {role}; drop role {role}; create role {role} login"))
            .await;
        stage.run(&format!("grant rolegate_admitted to {role}")).await;
        assert_eq!(outcomes(&worker, "one", &list).await, map(&[("a", "refused")]));
        stage.run(&format!("drop owned by {role}; drop role {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn the_leader_applies_its_configuration() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let role = allowed(&stage).await;
        stage.cron("by hand", "@yearly").await;
        let every_second = CronEntry::new("beat", "* * * * * *", "beat", &role);
        let crons = vec![
            every_second,
            entry("old", &role),
            entry("refused", "nobody"),
        ];
        let leader = stage.lead_with(|config| config.crons = Some(crons));
        // One that is refused keeps the others from nothing.
        eventually(
            &stage.superuser,
            "select count(*) >= 2 from rolegate.job where kind = 'beat'",
        )
        .await;
        assert!(leader.stop().await);
        let names = "select string_agg(name, ' ' order by name) = $1 from rolegate.list_crons()";
        let are = async |expected: &str| {
            let row = stage
                .superuser
                .query_one(names, &[&expected])
                .await
                .unwrap();
            assert!(
                row.get::<_, bool>(0),
                "{expected}: {:?}",
                shown(&stage).await
            );
        };
        are("beat by hand old").await;
        // A process without such a list leaves everything as it is; another configuration removes.
        let term = "select term from rolegate.job_leader";
        for (crons, expected) in [
            (None, "beat by hand old"),
            (Some(vec![entry("old", &role)]), "by hand old"),
            (Some(Vec::new()), "by hand"),
        ] {
            let before = stage.number(term).await;
            let leader = stage.lead_with(|config| config.crons = crons);
            let leads = format!("select term > {before} from rolegate.job_leader");
            eventually(&stage.superuser, &leads).await;
            eventually(
                &stage.superuser,
                &names.replace("$1", &format!("'{expected}'")),
            )
            .await;
            assert!(leader.stop().await);
            are(expected).await;
        }
    })
    .await;
}
