//! Jobs that are copied from Rust are those that would have been enqueued.

use std::time::{Duration, SystemTime};

use rolegate_jobs::{Enqueue, EnqueueCopy};
use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use super::stage::Stage;

const SILENCE: Duration = Duration::from_secs(30);

/// What can be read of the job of a kind, without what differs between any two.
async fn read(stage: &Stage<'_>, kind: &str) -> Value {
    let sql = "select to_jsonb(j) - array['id', 'kind', 'enqueued_at', 'args'] || \
            jsonb_build_object('args', j.args, 'run_at', date_trunc('hour', j.run_at)) \
        from rolegate.list_jobs(only_kind => $1) l, rolegate.job(l.id) j";
    stage
        .producer
        .query_one(sql, &[&kind])
        .await
        .unwrap()
        .get(0)
}

fn everything(kind: &'static str, at: SystemTime) -> Enqueue {
    Enqueue::of(kind, &json!({"tab": "a\tb\\t\n\r", "quote": "\"'\\"}))
        .queue("second")
        .run_at(at)
        .priority(4)
        .max_attempts(7)
        .unique_key(format!("{kind}\tkey"))
        .unique_for(Duration::from_mins(1))
        .deadline(Duration::from_millis(1500))
        .tags(["a,b", "{\"c\\d\"}", "", "null"])
        .metadata(&json!({"null": null, "text": "\\N"}))
        .trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        .ordering_key("\\.")
}

#[tokio::test]
async fn a_copied_job_is_like_an_enqueued_one() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.run("select rolegate.create_queue('second')").await;
        let tomorrow = SystemTime::now() + Duration::from_hours(24);
        for job in [
            Enqueue::of("plain", &json!(1)),
            everything("full", tomorrow),
        ] {
            job.send(&stage.producer).await.unwrap();
        }
        let mut copy = EnqueueCopy::start(&stage.producer).await.unwrap();
        for job in [
            Enqueue::of("plain copy", &json!(1)),
            everything("full copy", tomorrow),
            Enqueue::of("soon", &json!(1)).run_after(Duration::from_millis(3_600_500)),
        ] {
            copy.add(job).await.unwrap();
        }
        assert_eq!(copy.finish().await.unwrap(), 3);
        let report = stage.tick(SILENCE).await;
        assert_eq!((report.staged, report.staged_refused), (3, 0));
        for kind in ["plain", "full"] {
            let copied = read(&stage, &format!("{kind} copy")).await;
            assert_eq!(copied, read(&stage, kind).await);
        }
        let full = read(&stage, "full copy").await;
        assert_eq!(full["tags"], json!(["a,b", "{\"c\\d\"}", "", "null"]));
        assert_eq!(full["state"], "scheduled");
        let soon = stage.number(
            "select extract(epoch from d.run_at - d.enqueued_at)::bigint \
             from rolegate.job_deferred d where kind = 'soon'",
        );
        assert!((3590..=3600).contains(&soon.await));
        // The unique key is held as by an enqueued job.
        let again = everything("full copy", tomorrow)
            .send(&stage.producer)
            .await;
        assert!(again.unwrap_err().is_duplicate());
    })
    .await;
}

#[tokio::test]
async fn a_copy_is_part_of_the_callers_transaction() {
    for_each_version(async |db| {
        let mut stage = Stage::new(db).await;
        for commits in [false, true] {
            let transaction = stage.producer.transaction().await.unwrap();
            let mut copy = EnqueueCopy::start(&transaction).await.unwrap();
            for n in 0..2000 {
                copy.add(Enqueue::of("x", &json!({"n": n, "pad": "x".repeat(100)})))
                    .await
                    .unwrap();
            }
            assert_eq!(copy.finish().await.unwrap(), 2000);
            // Not before the commit.
            let maintenance = stage.db.connect_as("rolegate_maintenance").await;
            let sql = "select moved from rolegate.move_staged_jobs(1000)";
            assert_eq!(
                maintenance
                    .query_one(sql, &[])
                    .await
                    .unwrap()
                    .get::<_, i32>(0),
                0
            );
            if commits {
                transaction.commit().await.unwrap();
            } else {
                transaction.rollback().await.unwrap();
            }
            let report = stage.tick(SILENCE).await;
            assert_eq!(report.staged, if commits { 2000 } else { 0 });
        }
        // In its order, and what was dropped is not there.
        let mut copy = EnqueueCopy::start(&stage.producer).await.unwrap();
        copy.add(Enqueue::of("dropped", &0)).await.unwrap();
        drop(copy);
        stage.producer.batch_execute("select 1").await.unwrap();
        assert_eq!(stage.tick(SILENCE).await.staged, 0);
        let wrong = "select count(*) from (select (args ->> 'n')::int - row_number() over (order by id) as d \
                     from rolegate.job) x where d <> -1";
        assert_eq!(stage.number(wrong).await, 0);
    })
    .await;
}

#[tokio::test]
async fn one_wrong_job_is_an_error_that_says_why_and_nothing_is_copied() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        for (wrong, code, says) in [
            (Enqueue::of("", &1), "23514", "kind has 1 to 200 characters"),
            (
                Enqueue::of("x", &1).priority(5),
                "23514",
                "priority is 1 (first) to 4",
            ),
            (
                Enqueue::of("x", &1).max_attempts(0),
                "23514",
                "max_attempts is 1 to 1000",
            ),
            (
                Enqueue::of("x", &1).queue("none"),
                "42704",
                "there is no queue 'none'",
            ),
            (
                Enqueue::of("x", &1).tags(["t"; 21]),
                "23514",
                "a job has at most 20 tags",
            ),
            (
                Enqueue::of("x", &1).trace("t".repeat(201)),
                "23514",
                "trace has at most 200 characters",
            ),
            (
                Enqueue::of("x", &1).unique_key("k".repeat(1001)),
                "23514",
                "a unique_key has at most 1000 characters",
            ),
            (
                Enqueue::of("x", &1).deadline(Duration::ZERO),
                "23514",
                "deadline is above zero",
            ),
            (
                Enqueue::of("x", &1).ordering_key("o").limit_key("l"),
                "23514",
                "an ordering_key or a limit_key, not both",
            ),
            (
                Enqueue::of("x", &1).limit_key(""),
                "23514",
                "a limit_key has 1 to 200 characters",
            ),
            (
                Enqueue::of("x", &1).run_after(Duration::from_secs(1 << 40)),
                "23514",
                "run_after is at most 100 years",
            ),
            (Enqueue::of("x", &"\0"), "22P05", ""),
        ] {
            let mut copy = EnqueueCopy::start(&stage.producer).await.unwrap();
            for n in 0..5000 {
                copy.add(Enqueue::of("x", &n)).await.unwrap();
            }
            copy.add(wrong).await.unwrap();
            for n in 0..5000 {
                copy.add(Enqueue::of("x", &n)).await.unwrap();
            }
            let refused = copy.finish().await.unwrap_err();
            let rolegate_jobs::EnqueueError::Postgres(refused) = refused else {
                panic!("{refused:?}");
            };
            let error = refused.as_db_error().unwrap();
            assert_eq!(error.code().code(), code, "{error:?}");
            assert!(error.message().contains(says), "{error:?}");
        }
        assert_eq!(
            stage.number("select waiting from rolegate.staging()").await,
            0
        );
        assert_eq!(stage.tick(SILENCE).await.staged, 0);
    })
    .await;
}
