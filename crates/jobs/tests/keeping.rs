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

/// What is found when, of a completed job, a failed one, and a dead letter, which are kept for 2, 10 and 20 hours.
async fn timeline(db: &TestDatabase) -> Vec<(&'static str, Vec<String>)> {
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
    let mut seen = vec![("at once", found(&stage, &ids).await)];
    // Completed ones go with their turn, which lasts for half the time they are kept.
    for (minutes, when) in [
        (61, "the turn is closed"),
        (118, "1:58 after that"),
        (3, "2:01 after that"),
        (600 - 182 - 2, "after 9:58"),
        (3, "after 10:01"),
        (597, "after 19:58"),
        (3, "after 20:01"),
    ] {
        pass(&stage, minutes).await;
        seen.push((when, found(&stage, &ids).await));
    }
    seen
}

/// The same as it has to be.
fn kept() -> Vec<(&'static str, Vec<String>)> {
    let all = ["completed", "failed", "dead"].map(str::to_owned);
    [
        ("at once", 0),
        ("the turn is closed", 0),
        ("1:58 after that", 0),
        ("2:01 after that", 1),
        ("after 9:58", 1),
        ("after 10:01", 2),
        ("after 19:58", 2),
        ("after 20:01", 3),
    ]
    .map(|(when, gone)| (when, all[gone..].to_vec()))
    .to_vec()
}

#[tokio::test]
async fn what_has_ended_is_found_for_as_long_as_it_is_kept_and_not_longer() {
    for_each_version(async |db| assert_eq!(timeline(db).await, kept())).await;
}

/// A test that has never failed shows nothing: with each of these functions it does, where it should.
#[tokio::test]
async fn a_retention_that_is_broken_is_seen() {
    const KEEP: &str = "x.keep_until <= pg_catalog.clock_timestamp()";
    const LETTERS: &str = "s.dead_letter_retention";
    for_each_version(async |db| {
        for (what, breaks, first) in [
            (
                "nothing that ended badly is removed",
                vec![("prune_jobs(integer)", KEEP, "false")],
                "after 10:01",
            ),
            (
                "it is removed three minutes too early",
                vec![(
                    "prune_jobs(integer)",
                    KEEP,
                    "x.keep_until <= pg_catalog.clock_timestamp() + interval '3 min'",
                )],
                "after 9:58",
            ),
            (
                "dead letters go like completed jobs",
                vec![(
                    "end_job(rolegate.job,text,text,jsonb)",
                    LETTERS,
                    "s.completed_retention",
                )],
                "1:58 after that",
            ),
            (
                "dead letters go like others that failed",
                vec![(
                    "end_job(rolegate.job,text,text,jsonb)",
                    LETTERS,
                    "s.failed_retention",
                )],
                "after 10:01",
            ),
            (
                "a segment is emptied too early",
                vec![
                    (
                        "empty_segment()",
                        "select s.completed_retention from",
                        "select s.completed_retention - interval '10 min' from",
                    ),
                    (
                        "carry_cursors()",
                        "select s.completed_retention from",
                        "select s.completed_retention - interval '10 min' from",
                    ),
                    (
                        "maintenance_due(interval)",
                        "oldest.closed_at + setting.completed_retention",
                        "oldest.closed_at + setting.completed_retention - interval '10 min'",
                    ),
                ],
                "1:58 after that",
            ),
            (
                "no segment is emptied",
                vec![(
                    "maintenance_due(interval)",
                    "oldest.closed_at + setting.completed_retention",
                    "oldest.closed_at + interval '1 year'",
                )],
                "2:01 after that",
            ),
        ] {
            let db = TestDatabase::create(db.version()).await;
            let superuser = db.superuser().await;
            for (function, from, to) in breaks {
                let sql = "select pg_get_functiondef($1::text::regprocedure)";
                let row = superuser
                    .query_one(sql, &[&format!("rolegate.{function}")])
                    .await;
                let text: String = row.unwrap().get(0);
                assert!(text.contains(from), "{function} has no {from}");
                superuser
                    .batch_execute(&text.replace(from, to))
                    .await
                    .unwrap();
            }
            let (seen, expected) = (timeline(&db).await, kept());
            let wrong = seen
                .iter()
                .zip(&expected)
                .find(|(seen, expected)| seen != expected);
            assert_eq!(
                wrong.map(|(seen, _)| seen.0),
                Some(first),
                "{what}: {seen:?}"
            );
            drop(superuser);
            db.drop().await;
        }
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
