//! How long a query may take, how many there may be, and who still waits for it.

use std::time::Duration;

use rolegate_server::budget::DefaultBudget;
use rolegate_testkit::for_each_version;
use serde_json::json;
use tokio_postgres::Client;

use super::Setting;
use super::live::stage::LONG;
use crate::harness::{Options, outcome};

/// Longer than anybody waits.
fn endless(table: &str) -> String {
    format!(
        "select count(*) as n from {table}, generate_series(1, 1000000) a, generate_series(1, 1000000) b"
    )
}

fn with_budget(budget: DefaultBudget) -> Options {
    Options {
        budget,
        ..Options::default()
    }
}

/// Waits until as many read the table, or wait for it. What callers run is not shown, but what they have locked.
async fn until_running(superuser: &Client, table: &str, count: i64) {
    let sql = format!(
        "select count(distinct pid) from pg_locks where relation = 'api.{table}'::regclass and pid <> pg_backend_pid()"
    );
    let running = async {
        while superuser
            .query_one(&sql, &[])
            .await
            .expect("a row")
            .get::<_, i64>(0)
            != count
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let running = tokio::time::timeout(LONG, running).await;
    assert!(running.is_ok(), "never {count} of them");
}

/// Has it explained, so that nothing but the query itself is run when it is asked for.
async fn look_at(setting: &Setting, token: Option<&str>, body: &serde_json::Value) {
    let url = format!("http://{}/query/explain", setting.gateway.address);
    let post = setting.gateway.client.post(url).body(body.to_string());
    let post = post.header("content-type", "application/json");
    let post = match token {
        Some(token) => post.bearer_auth(token),
        None => post,
    };
    let (status, _, text) = outcome(post).await;
    assert_eq!(status, 200, "{text}");
}

#[tokio::test]
async fn what_takes_too_long_is_ended_and_said() {
    for_each_version(async |db| {
        for follow in [false, true] {
            let budget = DefaultBudget {
                statement_timeout: Duration::from_millis(300),
                ..DefaultBudget::default()
            };
            let options = Options {
                follow,
                ..with_budget(budget)
            };
            let setting = if follow {
                // The tables are there already.
                let gateway = crate::harness::Gateway::start_with(db, options).await;
                let member = db
                    .create_role_with("second", "login", rolegate_testkit::Admitted::Login)
                    .await;
                let token = gateway.token(&member).await;
                Setting {
                    gateway,
                    token,
                    member,
                }
            } else {
                Setting::lay_with(db, options).await
            };
            for token in [None, Some(setting.token.as_str())] {
                let answer = setting
                    .ask(token, &json!({"sql": endless("open")}))
                    .send()
                    .await
                    .expect("an answer");
                assert_eq!(answer.status(), 504);
                assert_eq!(answer.headers()["cache-control"], "no-store");
                assert_eq!(answer.headers()["content-type"], "application/problem+json");
                let problem: serde_json::Value = answer.json().await.expect("JSON");
                assert_eq!(problem["sqlstate"], "57014", "{problem}");
                until_running(&db.superuser().await, "open", 0).await;
            }
            // And the next one is answered.
            assert_eq!(setting.anonymous("select id from open").await.0 / 100, 2);
        }
    })
    .await;
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    for_each_version(async |db| {
        let budget = DefaultBudget {
            requests_per_second: Some(10),
            ..DefaultBudget::default()
        };
        let options = Options {
            follow: true,
            ..with_budget(budget)
        };
        let setting = Setting::lay_with(db, options).await;
        // Each is another one: what is kept costs nobody anything.
        let mut refused = None;
        for number in 0..50 {
            let sql = format!("select {number} as a, id from open");
            let answer = setting
                .ask(None, &json!({"sql": sql}))
                .send()
                .await
                .expect("an answer");
            if answer.status() == 429 {
                refused = Some(answer);
                break;
            }
            assert!(answer.status().is_success(), "{}", answer.status());
        }
        let refused = refused.expect("refused");
        assert_eq!(refused.headers()["cache-control"], "no-store");
        let seconds = refused.headers()["retry-after"].to_str().expect("text");
        assert!(
            seconds.parse::<u64>().is_ok_and(|seconds| seconds > 0),
            "{seconds}"
        );
        let problem: serde_json::Value = refused.json().await.expect("JSON");
        assert_eq!(problem["code"], "budget_exceeded", "{problem}");
        // The anonymous role's budget is not that of others.
        let (status, _, body) = setting.member("select secret from closed").await;
        assert_eq!(status, 200, "{body}");
    })
    .await;
}

/// Whoever floods us without a token takes nothing from those who have one, not even of what is public.
#[tokio::test]
async fn who_has_a_token_asks_within_his_own_budget() {
    for_each_version(async |db| {
        let options = Options {
            follow: true,
            ..Options::default()
        };
        let least = "select rolegate.set_budget('rolegate_anonymous', 1, null, null, null, null);";
        let setting = Setting::lay_more(db, options, least).await;
        for number in 0..5 {
            let sql = format!("select {number} as a, id from open");
            // It would be looked at, planned and run: that is more than one.
            let (status, code, body) = setting.anonymous(&sql).await;
            assert_eq!((status, &*code), (429, "budget_exceeded"), "{body}");
            let answer = setting.ask(Some(&setting.token), &json!({"sql": sql}));
            let answer = answer.header("prefer", "return=representation");
            let answer = answer.send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
            assert_eq!(answer.headers()["rolegate-scope"], "public");
        }
    })
    .await;
}

/// Whoever goes away takes his query with him, and gives his place back.
#[tokio::test]
async fn nobody_waits_for_what_nobody_wants() {
    for_each_version(async |db| {
        let budget = DefaultBudget {
            concurrency: 1,
            statement_timeout: Duration::from_mins(10),
            ..DefaultBudget::default()
        };
        let options = Options {
            follow: true,
            ..with_budget(budget)
        };
        let setting = Setting::lay_with(db, options).await;
        let superuser = db.superuser().await;
        let light = "select secret from closed";
        for token in [None, Some(setting.token.as_str())] {
            let light = if token.is_some() {
                light
            } else {
                "select id, now() as at from open"
            };
            let light = async || outcome(setting.ask(token, &json!({"sql": light}))).await;
            // What is private runs as the member; what is public, as nobody.
            let table = if token.is_some() { "closed" } else { "open" };
            let heavy = json!({"sql": endless(table)});
            look_at(&setting, token, &heavy).await;
            let asked = tokio::spawn(setting.ask(token, &heavy).send());
            until_running(&superuser, table, 1).await;
            let (status, code, body) = light().await;
            assert_eq!((status, &*code), (429, "budget_exceeded"), "{body}");
            asked.abort();
            until_running(&superuser, table, 0).await;
            let answered = async {
                while light().await.0 != 200 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(LONG, answered).await.expect("a place");
        }
    })
    .await;
}

/// Two want the same, and the one who was first goes away: the other one gets it.
#[tokio::test]
async fn who_waits_for_the_same_does_not_go_with_the_first() {
    for_each_version(async |db| {
        let options = Options {
            follow: true,
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        let superuser = db.superuser().await;
        let body = json!({"sql": "select count(*) as n from open"});
        look_at(&setting, None, &body).await;
        let lock = "begin; lock table api.open in access exclusive mode";
        let second = loop {
            superuser.batch_execute(lock).await.expect("locked");
            let first = tokio::spawn(setting.ask(None, &body).send());
            until_running(&superuser, "open", 1).await;
            let second = tokio::spawn(setting.ask(None, &body).send());
            // By the time that others are answered, who came later, it waits for the first.
            for number in 0..5 {
                let sql = format!("select {number} as a, now() as at");
                assert_eq!(setting.anonymous(&sql).await.0, 200);
            }
            first.abort();
            let gone = first.await.is_err();
            superuser.batch_execute("commit").await.expect("unlocked");
            if gone {
                break second;
            }
            // What other tests do to roles of the server may have ended it before.
            second.abort();
        };
        let second = tokio::time::timeout(LONG, second).await.expect("in time");
        let answer = second.expect("asked").expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.expect("text"), "[{\"n\":2}]");
    })
    .await;
}

/// Whatever somebody does to other roles meanwhile.
#[tokio::test]
async fn what_runs_counts_as_long_as_it_runs() {
    for_each_version(async |db| {
        let budget = DefaultBudget {
            concurrency: 1,
            ..DefaultBudget::default()
        };
        let setting = Setting::lay_with(db, with_budget(budget)).await;
        let superuser = db.superuser().await;
        let lock = "begin; lock table api.closed in access exclusive mode";
        superuser.batch_execute(lock).await.expect("locked");
        let body = json!({"sql": "select secret from closed"});
        let waits = tokio::spawn(setting.ask(Some(&setting.token), &body).send());
        until_running(&superuser, "closed", 1).await;
        let other = db
            .create_role_with("other", "login", rolegate_testkit::Admitted::Login)
            .await;
        db.superuser()
            .await
            .batch_execute(&format!("grant usage on schema api to \"{other}\""))
            .await
            .expect("granted");
        let other = setting.gateway.token(&other).await;
        // He may be known of by now: then his coming has been noticed.
        let noticed = async || {
            outcome(setting.ask(Some(&other), &json!({"sql": "select id from open"})))
                .await
                .0
        };
        while noticed().await / 100 != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for _ in 0..20 {
            let (status, code, body) = setting.member("select 1 as a").await;
            assert_eq!((status, &*code), (429, "budget_exceeded"), "{body}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        superuser.batch_execute("commit").await.expect("unlocked");
        let answer = waits.await.expect("asked").expect("an answer");
        assert_eq!(answer.status(), 200);
    })
    .await;
}

/// Somebody changes a table: who reads others does not wait for him.
#[tokio::test]
async fn a_table_that_is_locked_delays_nobody_who_reads_another() {
    for_each_version(async |db| {
        let options = Options {
            follow: true,
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        let superuser = db.superuser().await;
        let lock = "begin; lock table api.open in access exclusive mode";
        superuser.batch_execute(lock).await.expect("locked");
        for number in 0..5 {
            // A new text each time.
            let sql = format!("select secret, {number} as a from closed");
            let asked = setting.member(&sql);
            let (status, _, body) = tokio::time::timeout(LONG, asked).await.expect("in time");
            assert_eq!(status, 200, "{body}");
        }
        superuser.batch_execute("commit").await.expect("unlocked");
    })
    .await;
}

/// Every state of the catalog gives every text another statement: the server does not keep them all.
#[tokio::test]
async fn a_connection_keeps_a_bounded_number_of_statements() {
    for_each_version(async |db| {
        let options = Options {
            connections_per_login: 1,
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        let superuser = db.superuser().await;
        let rows = async |sql: String| setting.rows(&json!({"sql": sql})).await;
        let mut most = 0;
        for state in 0..8 {
            let sql = format!(
                "drop table if exists api.counted; create table api.counted as select 7 as n{state};
                 grant select on api.counted to \"{}\"",
                setting.member
            );
            superuser.batch_execute(&sql).await.expect("made");
            let known = format!("select n{state} from counted");
            let known = async || {
                outcome(setting.ask(Some(&setting.token), &json!({"sql": known})))
                    .await
                    .0
            };
            while known().await != 200 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            for number in 0..24 {
                // From the second time on it is worth preparing.
                for _ in 0..3 {
                    rows(format!("select secret, {number} as a from closed")).await;
                }
            }
            let counted = rows("select rolegate.session_statements() as n".to_owned()).await;
            let counted = counted[0]["n"].as_u64().expect("a number");
            assert!(counted < 80, "{counted} statements after {state} changes");
            most = most.max(counted);
        }
        assert!(most > 60, "never more than {most}");
    })
    .await;
}
