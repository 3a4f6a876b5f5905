//! What bounds an attempt and the end of its worker, whatever the handler does.
#![allow(clippy::unwrap_used)]

mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rolegate_jobs::{Context, Handlers, Job, Outcome, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::{TestDatabase, for_each_version};
use stage::{Stage, eventually, pause};

/// Longer than any bound of these tests.
const BLOCKS: Duration = Duration::from_secs(5);

async fn start(db: &TestDatabase, handlers: Handlers, config: WorkerConfig) -> Worker {
    let login = Login::peer("rolegate_worker");
    let sql = EngineSql::new("rolegate");
    Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
        .await
        .unwrap()
}

async fn enqueue(stage: &Stage<'_>, sql: &str) {
    stage.producer.batch_execute(sql).await.unwrap();
}

/// Counts what began and what ended.
#[derive(Debug, Clone, Default)]
struct Counts(Arc<[AtomicUsize; 2]>);

impl Counts {
    fn begin(&self) {
        self.0[0].fetch_add(1, Ordering::SeqCst);
    }

    fn end(&self) {
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self) -> [usize; 2] {
        [&self.0[0], &self.0[1]].map(|number| number.load(Ordering::SeqCst))
    }

    async fn until(&self, wanted: [usize; 2]) {
        for _ in 0..1000 {
            if self.get() == wanted {
                return;
            }
            pause(10).await;
        }
        panic!("{:?}, not {wanted:?}", self.get());
    }
}

/// `blocks` blocks its thread, which nobody can end; `quick` does nothing.
fn blocking(blocks: &Counts, quick: &Counts) -> Handlers {
    let (blocks, quick) = (blocks.clone(), quick.clone());
    Handlers::default()
        .function_in("blocks", move |(): (), _: Job, context: Context| {
            let counts = blocks.clone();
            async move {
                counts.begin();
                std::thread::sleep(BLOCKS);
                counts.end();
                context.progress(100, "too late");
                Outcome::completed()
            }
        })
        .function("quick", move |(): (), _| {
            quick.begin();
            async { Outcome::completed() }
        })
}

const ONE: &str =
    "select rolegate.enqueue('blocks', 'null', deadline => '200 ms', max_attempts => 1)";
const HAS_FAILED: &str = "select count(*) = 1 from rolegate.job_ended where kind = 'blocks' \
    and state = 'failed' and error #>> '{}' like '%longer than its deadline'";

/// Its attempt ends in time. Its slot is taken until it returns, so that such handlers never are more
/// than the worker has slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_blocks_its_thread_ends_at_its_deadline_and_keeps_its_slot() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (blocks, quick) = (Counts::default(), Counts::default());
        let config = WorkerConfig {
            concurrency: 1,
            ..WorkerConfig::default()
        };
        let worker = start(db, blocking(&blocks, &quick), config).await;
        enqueue(&stage, ONE).await;
        blocks.until([1, 0]).await;
        enqueue(&stage, "select rolegate.enqueue('quick', 'null')").await;
        eventually(&stage.superuser, HAS_FAILED).await;
        pause(100).await;
        assert_eq!(blocks.get(), [1, 0], "it blocks still");
        assert_eq!(quick.get(), [0, 0], "there is no slot for another");
        blocks.until([1, 1]).await;
        quick.until([1, 0]).await;
        // What it said after that is of no attempt.
        assert!(worker.stop().await);
        let notes = "select count(*) from rolegate.job_progress";
        assert_eq!(stage.number(notes).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn stopping_does_not_wait_for_a_handler_whose_deadline_is_over() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (blocks, quick) = (Counts::default(), Counts::default());
        let worker = start(db, blocking(&blocks, &quick), WorkerConfig::default()).await;
        enqueue(&stage, ONE).await;
        eventually(&stage.superuser, HAS_FAILED).await;
        let begun = Instant::now();
        assert!(worker.stop().await);
        assert!(begun.elapsed() < Duration::from_secs(2));
        assert_eq!(blocks.get(), [1, 0], "it blocks still");
        blocks.until([1, 1]).await;
    })
    .await;
}

/// A handler that computes can't be dropped either, but it can look.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_looks_ends_after_its_deadline() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let counts = Counts::default();
        let counted = counts.clone();
        let handlers =
            Handlers::default().function_in("computes", move |(): (), _: Job, context: Context| {
                let counts = counted.clone();
                async move {
                    counts.begin();
                    let begun = Instant::now();
                    while !context.is_cancelled() && begun.elapsed() < BLOCKS {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    counts.end();
                    Outcome::output(&context.is_cancelled())
                }
            });
        let config = WorkerConfig {
            deadline: Some(Duration::from_millis(300)),
            ..WorkerConfig::default()
        };
        let worker = start(db, handlers, config).await;
        enqueue(&stage, "select rolegate.enqueue('computes', 'null')").await;
        // What it gave back counts: nobody else had its job.
        eventually(
            &stage.superuser,
            "select exists (select from rolegate.job_outcome where outputs = array['true'::jsonb])",
        )
        .await;
        assert_eq!(counts.get(), [1, 1]);
        assert!(worker.stop().await);
    })
    .await;
}

/// Takes three seconds.
fn slow(counts: &Counts) -> Handlers {
    let counts = counts.clone();
    Handlers::default().function("slow", move |(): (), _| {
        let counts = counts.clone();
        async move {
            counts.begin();
            pause(3000).await;
            counts.end();
            Outcome::completed()
        }
    })
}

/// Maintenance gives a worker up that is silent for a second; this one stops for three.
#[tokio::test]
async fn a_worker_that_stops_keeps_its_jobs_until_they_have_ended() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let leader = stage.lead_with(|config| config.silence = Duration::from_secs(1));
        let counts = Counts::default();
        let config = WorkerConfig {
            pulse: Duration::from_millis(200),
            ..WorkerConfig::default()
        };
        let worker = start(db, slow(&counts), config.clone()).await;
        let three = "select rolegate.enqueue_many('slow', array_fill('null'::jsonb, array[3]))";
        enqueue(&stage, three).await;
        counts.until([3, 0]).await;
        // Who would take them if they were given up.
        let other = start(db, slow(&counts), config).await;
        let begun = Instant::now();
        assert!(worker.stop().await, "they ended by themselves");
        assert!(begun.elapsed() > Duration::from_secs(2), "it waited");
        assert_eq!(counts.get(), [3, 3], "each ran once");
        assert!(other.stop().await && leader.stop().await);
    })
    .await;
}
