//! For how long what has ended is found, and that nothing goes with it that has not.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::Duration;

use rolegate_jobs::{Handlers, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::{TestDatabase, for_each_version};
use stage::{Stage, eventually};

const SILENCE: Duration = Duration::from_secs(30);
const CLOSED: &str = "select closed_at is not null \
    and not exists (select from rolegate.lane_cursors() c where c.segment = t.segment) \
    from rolegate.job_turn t order by turn limit 1";

async fn enqueue(stage: &Stage<'_>, kind: &str, queue: &str) -> i64 {
    let sql = "select rolegate.enqueue($1, 'null', queue => $2)";
    let row = stage.producer.query_one(sql, &[&kind, &queue]).await;
    row.unwrap().get(0)
}

/// State of each that its producer still finds.
async fn found(stage: &Stage<'_>, ids: &[i64]) -> Vec<String> {
    let mut states = Vec::new();
    for id in ids {
        let sql = "select state, dead_letter from rolegate.job($1)";
        if let Some(row) = stage.producer.query_opt(sql, &[id]).await.unwrap() {
            let dead = row.get::<_, Option<bool>>(1) == Some(true);
            states.push(if dead { "dead".to_owned() } else { row.get(0) });
        }
    }
    states
}

/// As if so much time had passed, in which maintenance looks several times.
async fn pass(stage: &Stage<'_>, minutes: i32) {
    stage
        .run(&format!(
            "update rolegate.job_turn set started_at = started_at - interval '{minutes} min', \
                usable_from = usable_from - interval '{minutes} min', \
                closed_at = closed_at - interval '{minutes} min'; \
             update rolegate.job_ended set ended_at = ended_at - interval '{minutes} min', \
                keep_until = keep_until - interval '{minutes} min'"
        ))
        .await;
    for _ in 0..4 {
        stage.tick(SILENCE).await;
    }
}

async fn work(db: &TestDatabase) -> Worker {
    let handlers = Handlers::default()
        .function("works", |(): (), _| async { Outcome::completed() })
        .function("fails", |(): (), _| async { Outcome::failed("no") });
    let config = WorkerConfig {
        queues: vec!["default".to_owned(), "letters".to_owned()],
        ..WorkerConfig::default()
    };
    let login = Login::peer("rolegate_worker");
    let sql = EngineSql::new("rolegate");
    Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
        .await
        .unwrap()
}

#[tokio::test]
async fn what_has_ended_is_found_for_as_long_as_it_is_kept_and_not_longer() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage
            .run(
                "select rolegate.create_queue('letters'); \
                 select rolegate.set_queue('letters', dead_letters => true); \
                 select rolegate.set_job_retention('2 hours', '10 hours', '20 hours')",
            )
            .await;
        let worker = work(db).await;
        let ids = [
            enqueue(&stage, "works", "default").await,
            enqueue(&stage, "fails", "default").await,
            enqueue(&stage, "fails", "letters").await,
        ];
        let ended = "select (select count(*) = 2 from rolegate.job_ended) \
            and exists (select from rolegate.job_outcome)";
        eventually(&stage.superuser, ended).await;
        assert!(worker.stop().await);
        let all = ["completed", "failed", "dead"];
        assert_eq!(found(&stage, &ids).await, all);
        // Completed ones go with their turn, which lasts for half the time they are kept.
        pass(&stage, 61).await;
        let closed = "select count(*) from rolegate.job_turn where closed_at is not null";
        assert_eq!(stage.number(closed).await, 1, "the turn is closed");
        pass(&stage, 118).await;
        assert_eq!(found(&stage, &ids).await, all, "1:58 after that");
        pass(&stage, 3).await;
        assert_eq!(found(&stage, &ids).await, all[1..], "2:01 after that");
        pass(&stage, 600 - 182 - 2).await;
        assert_eq!(found(&stage, &ids).await, all[1..], "after 9:58");
        pass(&stage, 3).await;
        assert_eq!(found(&stage, &ids).await, all[2..], "after 10:01");
        pass(&stage, 597).await;
        assert_eq!(found(&stage, &ids).await, all[2..], "after 19:58");
        pass(&stage, 3).await;
        assert!(found(&stage, &ids).await.is_empty(), "after 20:01");
    })
    .await;
}

/// A producer that was halted between its choice of the segment and the insert.
#[tokio::test]
async fn a_row_that_comes_after_its_segment_was_closed_is_not_emptied_with_it() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("0").await;
        let (worker, maintenance) = (
            stage.worker().await,
            db.connect_as("rolegate_maintenance").await,
        );
        let id = stage.register(&worker).await;
        stage.enqueue("x", 1).await;
        let claimed = stage.claim(&worker, id, 1).await;
        stage.complete(&worker, id, &claimed).await;
        let nothing = format!("select rolegate.worker_alive({id}, null)");
        worker.batch_execute(&nothing).await.unwrap();
        let old = "update rolegate.job_turn set started_at = started_at - interval '1 min', \
            usable_from = usable_from - interval '1 min'";
        let look = "select rolegate.close_turns(); select rolegate.carry_cursors()";
        for _ in 0..3 {
            stage.run(old).await;
            let turn = "select rolegate.rotate_jobs()";
            maintenance.batch_execute(turn).await.unwrap();
            maintenance.batch_execute(look).await.unwrap();
        }
        let closed = stage.superuser.query_one(CLOSED, &[]).await.unwrap();
        assert!(closed.get::<_, bool>(0), "its time has come");
        let late = stage
            .number(
                "insert into rolegate.job \
                    (lane, segment, max_attempts, flags, kind, principal, args, options) \
                 select j.lane, j.segment, j.max_attempts, j.flags, 'late', j.principal, j.args, \
                    j.options \
                 from rolegate.job j returning id",
            )
            .await;
        let empty = "select rolegate.empty_segment()";
        let row = maintenance.query_one(empty, &[]).await.unwrap();
        assert!(!row.get::<_, bool>(0), "somebody waits in it");
        let claimed = stage.claim(&worker, id, 10).await;
        let ids: Vec<i64> = claimed.iter().map(|job| job.id).collect();
        assert_eq!(ids, [late]);
        // After that it goes its way.
        stage.complete(&worker, id, &claimed).await;
        worker.batch_execute(&nothing).await.unwrap();
        maintenance.batch_execute(look).await.unwrap();
        let row = maintenance.query_one(empty, &[]).await.unwrap();
        assert!(row.get::<_, bool>(0), "nothing is left in it");
    })
    .await;
}
