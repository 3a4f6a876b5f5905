//! Jobs whose kind is a SQL function: they run as whoever enqueued them, with the rights he has when
//! they run.

mod principals;

use std::sync::Arc;
use std::time::Duration;

use rolegate_jobs::{Handlers, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_server::config::Mode;
use rolegate_server::function_jobs::FunctionJobs;
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::harness::{Gateway, Options, api, text};

/// `later` is the application's own: its owner may enqueue, its callers may not.
const FUNCTIONS: &str = "
    create table public.seen (
        who text not null default session_user, whose text default current_setting('role'),
        org text, n numeric, at timestamptz default now(),
        trace text default nullif(current_setting('request.headers', true), '')::jsonb ->> 'traceparent');
    create function api.note(n numeric) returns numeric language plpgsql volatile as $$
    begin
        insert into public.seen (org, n) values (rolegate.claim('org'), n);
        return n;
    end $$;
    create function api.claimed() returns jsonb language sql stable as 'select rolegate.claims()';
    create function api.refuses() returns void language plpgsql as $$
    begin raise exception 'not today' using errcode = 'PT503'; end $$;
    create function api.sleeps() returns void language sql as 'select pg_sleep(60)';
    create function api.later(kind text, args jsonb) returns bigint
        language sql security definer set search_path = pg_catalog, pg_temp
        as 'select rolegate.enqueue(kind, args, max_attempts => 1)';
    create function api.stage(n numeric) returns void
        language sql security definer set search_path = pg_catalog, pg_temp
        as 'insert into rolegate.job_staging (kind, args) values (''api.note'', jsonb_build_array(n))';
    create function api.bulk(jobs jsonb) returns void
        language sql security definer set search_path = pg_catalog, pg_temp
        as 'select rolegate.enqueue_many(''api.note'', array(select jsonb_array_elements(jobs -> ''jobs'')))';
";

async fn ready(db: &TestDatabase, mode: Mode) -> (Gateway, String, Worker, Client) {
    let options = Options {
        mode,
        ..Options::default()
    };
    ready_with(db, options).await
}

async fn ready_with(db: &TestDatabase, options: Options) -> (Gateway, String, Worker, Client) {
    let admitted = match options.mode {
        Mode::Login => Admitted::Login,
        Mode::Assume => Admitted::Assume,
    };
    let clerk = db.create_role_with("clerk", "login", admitted).await;
    api(db, &[&clerk], FUNCTIONS).await;
    let superuser = db.superuser().await;
    superuser
        .batch_execute(&format!(
            "grant insert on public.seen to {clerk}; \
             create role {clerk}_app nologin; grant rolegate_producer to {clerk}_app; \
             grant usage, create on schema api to {clerk}_app; \
             alter function api.later(text, jsonb) owner to {clerk}_app; \
             alter function api.stage(numeric) owner to {clerk}_app; \
             alter function api.bulk(jsonb) owner to {clerk}_app"
        ))
        .await
        .expect("granted");
    let gateway = Gateway::start_with(db, options).await;
    let worker = work(&gateway, db).await;
    (gateway, clerk, worker, superuser)
}

async fn work(gateway: &Gateway, db: &TestDatabase) -> Worker {
    work_as(gateway, db, WorkerConfig::default()).await
}

async fn work_as(gateway: &Gateway, db: &TestDatabase, config: WorkerConfig) -> Worker {
    let handlers = Handlers::default().others(FunctionJobs::new(Arc::clone(&gateway.database)));
    Worker::start(
        &db.wire_endpoint(),
        &Login::peer("rolegate_worker"),
        &EngineSql::new("rolegate"),
        handlers,
        config,
    )
    .await
    .expect("it is registered")
}

async fn enqueue(gateway: &Gateway, token: &str, kind: &str, args: Value) -> i64 {
    let params = json!({"kind": kind, "args": args}).to_string();
    let (status, body) = gateway.call(token, "later", &params).await;
    assert_eq!(status.as_u16(), 200, "{body}");
    body.parse().expect("an id")
}

/// The failed job's reason and error, when it is there.
async fn failure(superuser: &Client, id: i64) -> (String, Value) {
    for _ in 0..500 {
        let sql = "select reason, error::text, dead_letter from rolegate.job_ended where root = $1";
        if let Some(row) = superuser.query_opt(sql, &[&id]).await.expect("read") {
            let error: String = row.get(1);
            let reason: String = row.get(0);
            assert_eq!(row.get::<_, bool>(2), reason == "not_permitted");
            return (reason, serde_json::from_str(&error).expect("JSON"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("job {id} did not fail");
}

async fn seen(superuser: &Client, count: i64) -> Vec<(String, String, Option<String>, String)> {
    for _ in 0..500 {
        let sql = "select who, whose, org, n::text from public.seen order by n";
        let rows = superuser.query(sql, &[]).await.expect("read");
        if i64::try_from(rows.len()) == Ok(count) {
            return rows
                .iter()
                .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
                .collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not {count} rows");
}

async fn runs_as_its_enqueuer(db: &TestDatabase, mode: Mode) {
    let (gateway, clerk, worker, superuser) = ready(db, mode).await;
    let token = gateway.token(&clerk).await;
    enqueue(&gateway, &token, "api.note", json!({"n": 1.10})).await;
    let large = json!([9_007_199_254_740_993_i64]);
    enqueue(&gateway, &token, "api.note", large).await;
    let rows = seen(&superuser, 2).await;
    let values: Vec<&str> = rows.iter().map(|row| row.3.as_str()).collect();
    assert_eq!(values, ["1.1", "9007199254740993"]);
    for (who, whose, _, _) in &rows {
        match mode {
            Mode::Login => assert_eq!((who, whose.as_str()), (&clerk, "none")),
            Mode::Assume => {
                assert_eq!((who.as_str(), whose), ("rolegate_authenticator", &clerk));
            }
        }
    }
    assert!(worker.stop().await);
}

#[tokio::test]
async fn a_job_runs_as_its_enqueuer_in_login_mode() {
    for_each_version(async |db| runs_as_its_enqueuer(db, Mode::Login).await).await;
}

#[tokio::test]
async fn a_job_runs_as_its_enqueuer_in_assume_mode() {
    for_each_version(async |db| runs_as_its_enqueuer(db, Mode::Assume).await).await;
}

async fn is_staged_like_enqueued(db: &TestDatabase, mode: Mode) {
    let (gateway, clerk, worker, superuser) = ready(db, mode).await;
    let token = gateway.token(&clerk).await;
    enqueue(&gateway, &token, "api.note", json!([1])).await;
    let (status, body) = gateway.call(&token, "stage", "[2]").await;
    assert_eq!(status.as_u16(), 200, "{body}");
    let maintenance = db.connect_as("rolegate_maintenance").await;
    let part = "select moved from rolegate.move_staged_jobs(10)";
    let moved = maintenance.query_one(part, &[]).await.expect("moved");
    assert_eq!(moved.get::<_, i32>(0), 1);
    let rows = seen(&superuser, 2).await;
    assert_eq!((&rows[0].0, &rows[0].1), (&rows[1].0, &rows[1].1));
    // With the claims of the request, which the gateway signed.
    let sql = "select count(*) = 2 and count(distinct j.principal) = 1 \
               and bool_and(p.claims is not null and p.role_name = $1::text::name) \
               from rolegate.job j join rolegate.job_principal p on p.id = j.principal";
    let same = superuser.query_one(sql, &[&clerk]).await.expect("read");
    assert!(same.get::<_, bool>(0));
    assert!(worker.stop().await);
}

#[tokio::test]
async fn a_staged_job_is_its_requests_like_an_enqueued_one() {
    for_each_version(async |db| is_staged_like_enqueued(db, Mode::Login).await).await;
    for_each_version(async |db| is_staged_like_enqueued(db, Mode::Assume).await).await;
}

#[tokio::test]
async fn what_the_role_may_not_do_any_more_is_a_dead_letter_that_says_why() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Login).await;
        let token = gateway.token(&clerk).await;
        // Enqueued while it may; run when it may not.
        let pause = "select rolegate.pause_queue('default')";
        superuser.execute(pause, &[]).await.expect("paused");
        let id = enqueue(&gateway, &token, "api.note", json!({"n": 1})).await;
        superuser
            .batch_execute(
                "revoke execute on function api.note(numeric) from public; \
                 select rolegate.resume_queue('default')",
            )
            .await
            .expect("revoked");
        let (reason, error) = failure(&superuser, id).await;
        assert_eq!(reason, "not_permitted", "{error}");
        assert_eq!(
            error["explain"],
            format!("rolegate explain --as {clerk} --function api.note")
        );
        // What does not exist is the same, and its name is nothing to paste.
        let id = enqueue(&gateway, &token, "api.x; rm -rf /", json!({})).await;
        let (reason, error) = failure(&superuser, id).await;
        assert_eq!(reason, "not_permitted", "{error}");
        assert_eq!(error.get("explain"), None, "{error}");
        // Functions of other schemas are not exposed.
        let id = enqueue(&gateway, &token, "pg_catalog.pg_sleep", json!([1])).await;
        assert_eq!(failure(&superuser, id).await.0, "not_permitted");
        assert!(seen(&superuser, 0).await.is_empty());
        assert!(worker.stop().await);
    })
    .await;
}

#[tokio::test]
async fn other_failures_keep_what_the_function_said() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Login).await;
        let token = gateway.token(&clerk).await;
        let id = enqueue(&gateway, &token, "api.refuses", json!({})).await;
        let (reason, error) = failure(&superuser, id).await;
        assert_eq!(reason, "max_attempts_exhausted", "{error}");
        assert_eq!(error["title"], "not today", "{error}");
        let id = enqueue(&gateway, &token, "api.note", json!({"n": "many"})).await;
        let (reason, error) = failure(&superuser, id).await;
        assert_eq!(reason, "terminal_error", "{error}");
        assert_eq!(error["code"], "invalid_params", "{error}");
        assert!(worker.stop().await);
    })
    .await;
}

#[tokio::test]
async fn a_role_that_was_made_again_does_not_inherit_jobs() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Assume).await;
        let token = gateway.token(&clerk).await;
        let pause = "select rolegate.pause_queue('default')";
        superuser.execute(pause, &[]).await.expect("paused");
        let id = enqueue(&gateway, &token, "api.note", json!({"n": 1})).await;
        superuser
            .batch_execute(&format!(
                "update rolegate.job_principal set role_oid = role_oid::int8::int4 + 1 \
                    where role_name = '{clerk}'; \
                 select rolegate.resume_queue('default')"
            ))
            .await
            .expect("as if it had been another");
        let (reason, error) = failure(&superuser, id).await;
        assert_eq!(reason, "not_permitted", "{error}");
        assert_eq!(error["code"], "role_replaced", "{error}");
        assert!(worker.stop().await);
    })
    .await;
}

/// How many statements of callers sleep.
async fn sleepers(superuser: &Client) -> i64 {
    let sql = "select count(*) from pg_stat_activity \
               where datname = current_database() and wait_event = 'PgSleep'";
    superuser.query_one(sql, &[]).await.expect("read").get(0)
}

async fn until_sleepers(superuser: &Client, wanted: i64, within: Duration) {
    let end = tokio::time::Instant::now() + within;
    while sleepers(superuser).await != wanted {
        assert!(
            tokio::time::Instant::now() < end,
            "not {wanted} within {within:?}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_statement_of_a_cancelled_job_is_cancelled() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Login).await;
        let token = gateway.token(&clerk).await;
        let id = enqueue(&gateway, &token, "api.sleeps", json!({})).await;
        until_sleepers(&superuser, 1, Duration::from_secs(5)).await;
        let cancel = "select rolegate.cancel($1, 'enough')";
        assert!(
            superuser
                .query_one(cancel, &[&id])
                .await
                .expect("cancelled")
                .get::<_, bool>(0)
        );
        until_sleepers(&superuser, 0, Duration::from_secs(1)).await;
        assert_eq!(failure(&superuser, id).await.0, "enough");
        assert!(worker.stop().await, "no slot is taken by it");
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_stops_cancels_what_it_can_not_wait_for() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Login).await;
        assert!(worker.stop().await);
        let config = WorkerConfig {
            shutdown: Duration::from_millis(300),
            ..WorkerConfig::default()
        };
        let worker = work_as(&gateway, db, config).await;
        let token = gateway.token(&clerk).await;
        let id = enqueue(&gateway, &token, "api.sleeps", json!({})).await;
        until_sleepers(&superuser, 1, Duration::from_secs(5)).await;
        assert!(!worker.stop().await, "it did not wait");
        until_sleepers(&superuser, 0, Duration::from_secs(1)).await;
        let sql = "select state, attempt from rolegate.job($1)";
        let row = superuser.query_one(sql, &[&id]).await.expect("it is there");
        let state: (String, i32) = (row.get(0), row.get(1));
        assert_eq!(
            state,
            ("available".to_owned(), 0),
            "somebody else may have it"
        );
    })
    .await;
}

/// From the request to its job, to what that enqueues, and to what is staged.
#[tokio::test]
async fn the_trace_of_a_request_goes_through_its_jobs() {
    for_each_version(async |db| {
        let (gateway, clerk, worker, superuser) = ready(db, Mode::Login).await;
        let token = gateway.token(&clerk).await;
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let relayed = json!({"kind": "api.later",
            "args": {"kind": "api.note", "args": {"n": 1}}});
        let odd = json!({"kind": "api.note", "args": {"n": 2}});
        for (body, header) in [(&relayed, trace), (&odd, "\"; drop table x --")] {
            let request = gateway.post("/later", Some(&token), &body.to_string());
            let (status, body) = text(request.header("traceparent", header)).await;
            assert_eq!(status.as_u16(), 200, "{body}");
        }
        enqueue(&gateway, &token, "api.note", json!({"n": 3})).await;
        seen(&superuser, 3).await;
        let sql = "select array_agg(trace order by n) from public.seen";
        let row = superuser.query_one(sql, &[]).await.expect("read");
        let traces: Vec<Option<String>> = row.get(0);
        assert_eq!(traces, [Some(trace.to_owned()), None, None]);
        for (jobs, header) in [("[{\"n\": 5}, {\"n\": 6}]", trace), ("[{\"n\": 7}]", "?")] {
            let body = format!("{{\"jobs\": {jobs}}}");
            let request = gateway.post("/bulk", Some(&token), &body);
            let (status, body) = text(request.header("traceparent", header)).await;
            assert!(status.is_success(), "{body}");
        }
        seen(&superuser, 6).await;
        let sql = "select array_agg(trace order by n) from public.seen where n > 4";
        let row = superuser.query_one(sql, &[]).await.expect("read");
        let traces: Vec<Option<String>> = row.get(0);
        assert_eq!(
            traces,
            [Some(trace.to_owned()), Some(trace.to_owned()), None]
        );
        let request = gateway.post("/stage", Some(&token), "{\"n\": 4}");
        let (status, body) = text(request.header("traceparent", trace)).await;
        assert!(status.is_success(), "{body}");
        let sql = "select trace from rolegate.job_staging";
        let row = superuser.query_one(sql, &[]).await.expect("read");
        assert_eq!(row.get::<_, &str>(0), trace);
        assert!(worker.stop().await);
    })
    .await;
}
