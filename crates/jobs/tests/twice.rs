//! An attempt that a worker names twice in one call ends once, or not at all.
#![allow(clippy::unwrap_used)]

mod stage;

use rolegate_testkit::for_each_version;
use stage::{Claimed, Stage};
use tokio_postgres::{Client, Error};

/// Ends one job twice in a call, with these states and flags.
async fn finish(
    worker: &Client,
    id: i64,
    job: &Claimed,
    states: &str,
    flags: i16,
    follow_ups: Option<&str>,
) -> Result<Vec<i32>, Error> {
    let details = "array['{\"delay\": 1}', null]::jsonb[]";
    let arguments = format!(
        "$1, array[$2::bigint, $2], array[$3::smallint, $3], array[$4::timestamptz, $4], \
         string_to_array('{states}', ',')::\"char\"[], {details}, array[{flags}, {flags}]::smallint[]"
    );
    let sql = match follow_ups {
        Some(jobs) => format!(
            "select rolegate.finish_jobs_with({arguments}, array['{jobs}', '{jobs}']::jsonb[])"
        ),
        None => format!("select rolegate.finish_jobs({arguments})"),
    };
    let row = worker
        .query_one(&sql, &[&id, &job.claim, &job.ordinal, &job.at])
        .await?;
    row.try_get(0)
}

#[tokio::test]
async fn a_job_that_is_named_twice_is_not_doubled() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        stage.enqueue("k", 1).await;
        let job = stage.claim(&worker, id, 1).await.remove(0);
        let places = "select (select count(*) from rolegate.job) + (select count(*) from rolegate.job_deferred) \
            + (select count(*) from rolegate.job_ended) + (select count(*) from rolegate.job_outcome)";
        assert_eq!(stage.number(places).await, 1);
        for (states, flags) in [
            ("b,b", 0),
            ("r,r", 0),
            ("f,f", 0),
            ("x,x", 0),
            ("s,s", 0),
            ("c,b", 0),
            ("r,c", 0),
            ("c,c", 1),
        ] {
            let error = finish(&worker, id, &job, states, flags, None).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "22023", "{states}: {error}");
            assert_eq!(stage.number(places).await, 1, "{states}: nothing has changed");
        }
        let jobs = r#"[{"kind": "next"}]"#;
        let error = finish(&worker, id, &job, "c,c", 0, Some(jobs)).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "22023");
        assert_eq!(stage.number(places).await, 1);
        // Completed and nothing else: that is so however often it is said.
        let refused = finish(&worker, id, &job, "c,c", 0, None).await.unwrap();
        assert_eq!(refused, [0; 0]);
        let sql = "select state from rolegate.job($1)";
        let row = stage.producer.query_one(sql, &[&job.id]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "completed");
        let refused = finish(&worker, id, &job, "c,c", 0, None).await.unwrap();
        assert_eq!(refused, [1, 2], "it has ended");
        assert!(stage.claim(&worker, id, 10).await.is_empty());
    })
    .await;
}
