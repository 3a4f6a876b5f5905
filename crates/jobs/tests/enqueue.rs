//! Enqueueing from Rust, with both drivers, as a producer.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::{Duration, SystemTime};

use rolegate_jobs::{Enqueue, EnqueueMany, JobArgs};
use rolegate_testkit::{TestDatabase, for_each_version};
use serde::Serialize;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use stage::Stage;

#[derive(Serialize)]
struct SendEmail<'a> {
    to: &'a str,
}

impl JobArgs for SendEmail<'_> {
    const KIND: &'static str = "send_email";
}

const EMAIL: SendEmail<'_> = SendEmail {
    to: "a@example.org",
};

/// What the database made of it.
async fn job(stage: &Stage<'_>, id: i64) -> serde_json::Value {
    let sql = "select to_jsonb(j) - array['id', 'enqueued_at', 'enqueued_by', 'errors', 'error', \
               'output', 'progress', 'claimed_at', 'ended_at', 'run_at', 'reason', 'dead_letter'] \
               from rolegate.job($1) j";
    stage.producer.query_one(sql, &[&id]).await.unwrap().get(0)
}

async fn count(stage: &Stage<'_>) -> i64 {
    stage
        .number("select (select count(*) from rolegate.job) + (select count(*) from rolegate.job_deferred)")
        .await
}

async fn sqlx_connection(db: &TestDatabase) -> (PgConnection, String) {
    let role = db.create_role("sqlx").await;
    let grant = format!("grant rolegate_producer to {role}");
    db.superuser().await.batch_execute(&grant).await.unwrap();
    let rolegate_pg::wire::Address::Unix { directory, port } = db.endpoint().address() else {
        panic!("tests use the socket");
    };
    let options = PgConnectOptions::new_without_pgpass()
        .socket(directory)
        .port(port)
        .username(&role)
        .database(db.name())
        .ssl_mode(PgSslMode::Disable);
    (PgConnection::connect_with(&options).await.unwrap(), role)
}

#[tokio::test]
async fn a_job_is_part_of_the_callers_transaction() {
    for_each_version(async |db| {
        let mut stage = Stage::new(db).await;
        let transaction = stage.producer.transaction().await.unwrap();
        Enqueue::new(&EMAIL).send(&transaction).await.unwrap();
        transaction.rollback().await.unwrap();
        assert_eq!(count(&stage).await, 0);
        let transaction = stage.producer.transaction().await.unwrap();
        let id = Enqueue::new(&EMAIL).send(&transaction).await.unwrap();
        transaction.commit().await.unwrap();
        let made = job(&stage, id).await;
        assert_eq!(made["kind"], "send_email");
        assert_eq!(made["args"], serde_json::json!({"to": "a@example.org"}));
        assert_eq!(made["queue"], "default");
        assert_eq!(made["priority"], 2);

        let (mut connection, role) = sqlx_connection(db).await;
        let mut transaction = connection.begin().await.unwrap();
        Enqueue::new(&EMAIL)
            .send_sqlx(&mut *transaction)
            .await
            .unwrap();
        transaction.rollback().await.unwrap();
        assert_eq!(count(&stage).await, 1);
        let mut transaction = connection.begin().await.unwrap();
        let id = Enqueue::new(&EMAIL)
            .send_sqlx(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        let sql = "select enqueued_by from rolegate.job($1)";
        let row = stage.superuser.query_one(sql, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), role);
        connection.close().await.unwrap();
    })
    .await;
}

fn with_everything() -> Enqueue {
    Enqueue::of("everything", &[1, 2])
        .queue("default")
        .run_after(Duration::from_hours(1))
        .priority(4)
        .max_attempts(7)
        .unique_key("k")
        .unique_for(Duration::from_hours(2))
        .deadline(Duration::from_millis(1500))
        .tags(["a", "b"])
        .metadata(&serde_json::json!({"m": 1}))
        .trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
}

#[tokio::test]
async fn every_option_arrives() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (mut connection, _) = sqlx_connection(db).await;
        let first = with_everything().send(&stage.producer).await.unwrap();
        let made = job(&stage, first).await;
        let expected = serde_json::json!({
            "kind": "everything", "queue": "default", "priority": 4, "state": "scheduled", "attempt": 0,
            "max_attempts": 7, "args": [1, 2], "tags": ["a", "b"], "metadata": {"m": 1},
            "trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "deadline": "00:00:01.5",
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&made[key], value, "{key}");
        }
        let sql = "select run_at - enqueued_at between '59 min' and '61 min' from rolegate.job($1)";
        let row = stage.producer.query_one(sql, &[&first]).await.unwrap();
        assert!(row.get::<_, bool>(0));
        // The key is taken, whoever asks.
        let duplicate = with_everything().send(&stage.producer).await.unwrap_err();
        assert!(duplicate.is_duplicate(), "{duplicate:?}");
        let duplicate = with_everything().send_sqlx(&mut connection).await.unwrap_err();
        assert!(duplicate.is_duplicate(), "{duplicate:?}");
        let same = with_everything().or_existing().send_sqlx(&mut connection).await.unwrap();
        assert_eq!(same, first);
        let held = "select held_until - clock_timestamp() between '119 min' and '121 min' from rolegate.job_unique";
        assert!(stage.superuser.query_one(held, &[]).await.unwrap().get::<_, bool>(0));

        let other = with_everything()
            .unique_key("other")
            .send_sqlx(&mut connection)
            .await
            .unwrap();
        let row = stage
            .superuser
            .query_one("select to_jsonb(j) from rolegate.job($1) j", &[&other])
            .await
            .unwrap();
        let made: serde_json::Value = row.get(0);
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&made[key], value, "{key}");
        }
        let refused = Enqueue::of("k", &1).queue("nowhere").send(&stage.producer).await;
        assert!(!refused.unwrap_err().is_duplicate());
    })
    .await;
}

#[tokio::test]
async fn times_and_keys_arrive() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(4_102_444_800_123_456);
        let id = Enqueue::of("k", &())
            .run_at(time)
            .send(&stage.producer)
            .await
            .unwrap();
        let row = stage
            .producer
            .query_one("select run_at from rolegate.job($1)", &[&id])
            .await
            .unwrap();
        assert_eq!(row.get::<_, SystemTime>(0), time);
        let past = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let id = Enqueue::of("k", &())
            .run_at(past)
            .send(&stage.producer)
            .await
            .unwrap();
        assert_eq!(job(&stage, id).await["state"], "available");
        Enqueue::of("k", &())
            .ordering_key("o")
            .send(&stage.producer)
            .await
            .unwrap();
        Enqueue::of("k", &())
            .limit_key("l")
            .send(&stage.producer)
            .await
            .unwrap();
        let sql = "select count(*) from rolegate.job where options ->> 'ordering_key' = 'o' \
                   or options ->> 'limit_key' = 'l'";
        assert_eq!(stage.number(sql).await, 2);
    })
    .await;
}

#[tokio::test]
async fn many_jobs_are_one_statement() {
    for_each_version(async |db| {
        let mut stage = Stage::new(db).await;
        let emails: Vec<SendEmail<'_>> = ["a", "b", "c"].map(|to| SendEmail { to }).into();
        let transaction = stage.producer.transaction().await.unwrap();
        let ids = EnqueueMany::new(&emails)
            .priority(1)
            .max_attempts(3)
            .send(&transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        for (id, to) in ids.iter().zip(["a", "b", "c"]) {
            let made = job(&stage, *id).await;
            assert_eq!(made["args"]["to"], to);
            assert_eq!(
                (&made["priority"], &made["max_attempts"]),
                (&1.into(), &3.into())
            );
        }
        let (mut connection, _) = sqlx_connection(db).await;
        let ids = EnqueueMany::of("n", &[1, 2])
            .queue("default")
            .send_sqlx(&mut connection)
            .await
            .unwrap();
        assert_eq!(ids.len(), 2);
        let none: [SendEmail<'_>; 0] = [];
        let ids = EnqueueMany::new(&none).send(&stage.producer).await.unwrap();
        assert!(ids.is_empty());
        assert_eq!(count(&stage).await, 5);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_waits_for_its_time_can_be_replaced() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let later = |args: i32| {
            Enqueue::of("report", &args)
                .unique_key("k")
                .run_after(Duration::from_hours(1))
                .or_replace()
        };
        let first = later(1).send(&stage.producer).await.unwrap();
        let second = later(2)
            .priority(1)
            .tags(["new"])
            .unique_for(Duration::from_hours(3));
        assert_eq!(second.send(&stage.producer).await.unwrap(), first);
        let made = job(&stage, first).await;
        let expected =
            serde_json::json!({"args": 2, "priority": 1, "tags": ["new"], "state": "scheduled"});
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(&made[key], value, "{key}");
        }
        let held =
            "select held_until > clock_timestamp() + interval '2 hours' from rolegate.job_unique";
        let row = stage.superuser.query_one(held, &[]).await.unwrap();
        assert!(row.get::<_, bool>(0));
        // Somebody else's is not his to change.
        let other = db.create_role("other").await;
        stage
            .run(&format!("grant rolegate_producer to {other}"))
            .await;
        let other = db.connect_as(&other).await;
        let refused = later(3).send(&other).await.unwrap_err();
        assert!(refused.is_duplicate(), "{refused:?}");
        // At once, and from then on it is not replaced any more.
        let now = Enqueue::of("report", &4).unique_key("k").or_replace();
        assert_eq!(now.send(&stage.producer).await.unwrap(), first);
        stage.tick(Duration::from_mins(1)).await;
        assert_eq!(job(&stage, first).await["state"], "available");
        let refused = later(5).send(&stage.producer).await.unwrap_err();
        assert!(refused.is_duplicate(), "{refused:?}");
        assert_eq!(job(&stage, first).await["args"], 4);
        let count: i64 = stage.number("select count(*) from rolegate.job").await;
        assert_eq!(count, 1);
    })
    .await;
}
