//! Many sessions that do everything at once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_testkit::TestDatabase;
use tokio_postgres::{Client, Error};

const PRODUCERS: usize = 4;
const WORKERS: usize = 4;
const QUEUES: &str = "{default,second}";

pub(crate) struct Crowd {
    producers: Vec<Client>,
    workers: Vec<Client>,
    maintenance: Vec<Client>,
    canceller: Client,
    superuser: Client,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    random: AtomicU64,
    sent: Mutex<Vec<i64>>,
    /// How each job ended, as whoever ended it was told.
    ended: Mutex<BTreeMap<i64, String>>,
    /// Numbers of workers, to be taken away from them.
    numbers: Mutex<Vec<i64>>,
}

impl Shared {
    fn random(&self, below: u64) -> u64 {
        let seed = self
            .random
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 33) % below
    }

    fn end(&self, id: i64, how: &str) {
        let before = self.ended.lock().unwrap().insert(id, how.to_owned());
        assert_eq!(before, None, "job {id} ended again: {how}");
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// Errors that people and processes expect of each other; a deadlock is none of them.
fn expected(error: &Error, codes: &[&str]) {
    let code = error.code().map_or("none", |code| code.code());
    assert!(codes.contains(&code), "{error:?}");
}

impl Crowd {
    pub(crate) async fn gather(db: &TestDatabase) -> Self {
        let superuser = db.superuser().await;
        let producer = db.create_role("producer").await;
        let operator = db.create_role("operator").await;
        superuser
            .batch_execute(&format!(
                "grant rolegate_producer to {producer}; grant rolegate_operator to {operator}; \
                 select rolegate.create_queue('second'); \
                 update rolegate.job_setting set completed_retention = '0'"
            ))
            .await
            .unwrap();
        let mut crowd = Self {
            producers: Vec::new(),
            workers: Vec::new(),
            maintenance: Vec::new(),
            canceller: db.connect_as(&operator).await,
            superuser,
            shared: Arc::default(),
        };
        for _ in 0..PRODUCERS {
            crowd.producers.push(db.connect_as(&producer).await);
        }
        for _ in 0..WORKERS {
            crowd.workers.push(db.connect_as("rolegate_worker").await);
        }
        for _ in 0..3 {
            crowd
                .maintenance
                .push(db.connect_as("rolegate_maintenance").await);
        }
        crowd
    }

    pub(crate) async fn run(&self, time: Duration) {
        let shared = &self.shared;
        let mut everybody: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        for client in &self.producers {
            everybody.push(Box::pin(produce(client, shared)));
        }
        for client in &self.workers {
            everybody.push(Box::pin(work(client, shared)));
        }
        everybody.push(Box::pin(cancel(&self.canceller, shared)));
        everybody.push(Box::pin(rescue(
            &self.maintenance[0],
            &self.superuser,
            shared,
        )));
        everybody.push(Box::pin(turn(&self.maintenance[1], shared)));
        everybody.push(Box::pin(promote(&self.maintenance[2], shared)));
        everybody.push(Box::pin(async {
            tokio::time::sleep(time).await;
            shared.stop.store(true, Ordering::Relaxed);
        }));
        futures_util::future::join_all(everybody).await;
    }

    /// Everything that is left runs.
    pub(crate) async fn drain(&self) {
        let left = "select coalesce(array_agg(id), '{}') from rolegate.job_worker";
        let numbers: Vec<i64> = self.superuser.query_one(left, &[]).await.unwrap().get(0);
        let (id, queues) = register(&self.workers[0]).await;
        for number in numbers {
            let sql = "select rolegate.unregister_worker($1)";
            self.workers[0].query_one(sql, &[&number]).await.unwrap();
        }
        loop {
            let promoted = "select promoted from rolegate.promote_jobs(1000)";
            self.maintenance[2].query_one(promoted, &[]).await.unwrap();
            if claim(&self.workers[0], id, &queues, &self.shared, true).await == Some(0) {
                let waits = "select count(*) from rolegate.job_deferred";
                let waiting: i64 = self.superuser.query_one(waits, &[]).await.unwrap().get(0);
                if waiting == 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub(crate) async fn check(&self) {
        let sql = "select root, state from rolegate.job_ended";
        for row in self.superuser.query(sql, &[]).await.unwrap() {
            let (id, state): (i64, String) = (row.get(0), row.get(1));
            let told = self.shared.ended.lock().unwrap().get(&id).cloned();
            match told.as_deref() {
                // Of one that failed too often nobody was told that it was the last time.
                None => self.shared.end(id, &state),
                Some(told) => assert_eq!(told, state, "job {id}"),
            }
        }
        let ended = self.shared.ended.lock().unwrap();
        let sent = self.shared.sent.lock().unwrap();
        let lost: Vec<&i64> = sent.iter().filter(|id| !ended.contains_key(id)).collect();
        assert!(lost.is_empty(), "{} lost: {lost:?}", lost.len());
        assert_eq!(sent.len(), ended.len());
        let of = |how: &str| ended.values().filter(|state| *state == how).count();
        let counts = ["completed", "failed", "cancelled"].map(of);
        println!(
            "{} jobs; completed, failed, cancelled: {counts:?}",
            sent.len()
        );
        assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    }
}

async fn produce(client: &Client, shared: &Shared) {
    while shared.goes_on() {
        let mut ids: Vec<i64> = Vec::new();
        client.batch_execute("begin").await.unwrap();
        for _ in 0..=shared.random(6) {
            let sql = "select rolegate.enqueue('x', queue => $1, priority => $2, \
                run_at => case when $3 then clock_timestamp() + interval '100 ms' end)";
            let queue = ["default", "second"][usize::from(shared.random(2) == 0)];
            let priority = i32::try_from(shared.random(4)).unwrap() + 1;
            let later = shared.random(8) == 0;
            let row = client
                .query_one(sql, &[&queue, &priority, &later])
                .await
                .unwrap();
            ids.push(row.get(0));
        }
        tokio::time::sleep(Duration::from_millis(shared.random(10))).await;
        if shared.random(10) == 0 {
            client.batch_execute("rollback").await.unwrap();
        } else {
            client.batch_execute("commit").await.unwrap();
            shared.sent.lock().unwrap().extend(ids);
        }
        tokio::time::sleep(Duration::from_millis(shared.random(5))).await;
    }
}

async fn register(client: &Client) -> (i64, Vec<i32>) {
    let sql =
        format!("select worker, queue_ids from rolegate.register_worker('w', '', '{QUEUES}')");
    let row = client.query_one(&sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

async fn work(client: &Client, shared: &Shared) {
    while shared.goes_on() {
        let (id, queues) = register(client).await;
        shared.numbers.lock().unwrap().push(id);
        while shared.goes_on() && claim(client, id, &queues, shared, false).await.is_some() {}
    }
}

/// Claims some, and ends them in two batches. How many; `None` if the worker was given up.
async fn claim(
    client: &Client,
    id: i64,
    queues: &[i32],
    shared: &Shared,
    completes: bool,
) -> Option<usize> {
    let most = i32::try_from(shared.random(30)).unwrap() + 1;
    let sql = "select claim, ordinal, claimed_at, root, flags from rolegate.claim_jobs($1, $2, $3)";
    let rows = match client.query(sql, &[&id, &queues, &most]).await {
        Ok(rows) => rows,
        Err(error) => {
            expected(&error, &["P0002"]);
            return None;
        }
    };
    let found = rows.len();
    let rows: Vec<_> = rows
        .iter()
        .filter(|row| row.get::<_, Option<i64>>(0).is_some())
        .collect();
    for half in rows.chunks(rows.len().div_ceil(2).max(1)) {
        let claims: Vec<i64> = half.iter().map(|row| row.get(0)).collect();
        let ordinals: Vec<i16> = half.iter().map(|row| row.get(1)).collect();
        let at: Vec<std::time::SystemTime> = half.iter().map(|row| row.get(2)).collect();
        let flags: Vec<i16> = half.iter().map(|row| row.get(4)).collect();
        let letters: Vec<u8> = half
            .iter()
            .map(|_| match shared.random(20) {
                _ if completes => b'c',
                0 => b'f',
                1 => b'x',
                2..5 => b'r',
                5 => b's',
                6 => b'b',
                _ => b'c',
            })
            .collect();
        let details: Vec<Option<serde_json::Value>> = letters
            .iter()
            .map(|letter| match letter {
                b'r' | b's' => Some(serde_json::json!({"error": "e", "delay": 0})),
                b'f' => Some(serde_json::json!({"error": "e"})),
                _ => None,
            })
            .collect();
        let states: Vec<i8> = letters.iter().map(|letter| letter.cast_signed()).collect();
        let sql = "select rolegate.finish_jobs($1, $2, $3, $4, $5, $6, $7)";
        let row = client
            .query_one(
                sql,
                &[&id, &claims, &ordinals, &at, &states, &details, &flags],
            )
            .await
            .unwrap();
        let refused: Vec<i32> = row.get(0);
        for (nth, letter) in (1..).zip(&letters) {
            let how = match letter {
                b'c' => "completed",
                b'f' => "failed",
                b'x' => "cancelled",
                _ => continue,
            };
            if !refused.contains(&nth) {
                shared.end(half[usize::try_from(nth - 1).unwrap()].get(3), how);
            }
        }
    }
    let none: Option<i64> = None;
    let sql = "select rolegate.worker_alive($1, $2)";
    let alive: bool = client.query_one(sql, &[&id, &none]).await.unwrap().get(0);
    alive.then_some(found)
}

async fn cancel(client: &Client, shared: &Shared) {
    while shared.goes_on() {
        tokio::time::sleep(Duration::from_millis(3)).await;
        let id = {
            let sent = shared.sent.lock().unwrap();
            let recent = sent.len().min(60);
            if recent == 0 {
                continue;
            }
            sent[sent.len() - 1 - usize::try_from(shared.random(recent as u64)).unwrap()]
        };
        match client.query_one("select rolegate.cancel($1)", &[&id]).await {
            Ok(row) if row.get(0) => shared.end(id, "cancelled"),
            Ok(_) => {}
            Err(error) => expected(&error, &["55P03"]),
        }
    }
}

/// Takes the jobs of a worker that is at work.
async fn rescue(client: &Client, superuser: &Client, shared: &Shared) {
    while shared.goes_on() {
        tokio::time::sleep(Duration::from_millis(40)).await;
        let number = shared.numbers.lock().unwrap().pop();
        let Some(number) = number else { continue };
        let silent =
            "update rolegate.job_worker set seen_at = now() - interval '1 day' where id = $1";
        superuser.execute(silent, &[&number]).await.unwrap();
        let sql = "select held, problem from rolegate.rescue_jobs('1 hour')";
        let row = client.query_one(sql, &[]).await.unwrap();
        let problem: Option<String> = row.get(1);
        assert!(
            problem
                .as_ref()
                .is_none_or(|problem| !problem.contains("deadlock")),
            "{problem:?}"
        );
    }
}

async fn turn(client: &Client, shared: &Shared) {
    while shared.goes_on() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        for step in [
            "rotate_jobs",
            "close_turns",
            "carry_cursors",
            "empty_segment",
        ] {
            let sql = format!("select rolegate.{step}()");
            if let Err(error) = client.batch_execute(&sql).await {
                expected(&error, &["55P03"]);
            }
        }
    }
}

async fn promote(client: &Client, shared: &Shared) {
    while shared.goes_on() {
        tokio::time::sleep(Duration::from_millis(15)).await;
        let sql = "select rolegate.promote_jobs(100)";
        client.batch_execute(sql).await.unwrap();
    }
}
