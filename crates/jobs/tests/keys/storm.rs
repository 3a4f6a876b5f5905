//! Many producers, workers that die, cancellations: no limit is exceeded, no order broken, nobody
//! forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_testkit::{TestDatabase, for_each_version};

use crate::table::{Table, Taken, finish, register, take};

const PRODUCERS: usize = 3;
const WORKERS: usize = 3;
const JOBS: usize = 250;
/// Of the queue, and of each limit key.
const CONCURRENCY: usize = 5;
const KEY_CONCURRENCY: usize = 2;

/// What can be seen from outside. Who is about to end an attempt says so before, and who begins one
/// after: what overlaps here overlapped there.
#[derive(Debug, Default)]
struct Seen {
    key_of: BTreeMap<i64, Option<String>>,
    running: BTreeSet<i64>,
    /// Taken from their workers: not to be counted any more.
    over: BTreeSet<i64>,
    /// First attempts of each ordering key, and in which order they were enqueued.
    started: BTreeMap<String, Vec<i64>>,
    enqueued: BTreeMap<String, Vec<i64>>,
}

impl Seen {
    fn begin(&mut self, root: i64) {
        self.over.remove(&root);
        self.running.insert(root);
        let key = self.key_of[&root].clone();
        let counted = self.running.difference(&self.over);
        let of_key = counted
            .clone()
            .filter(|other| self.key_of[other] == key)
            .count();
        assert!(counted.count() <= CONCURRENCY, "{:?}", self.running);
        match key {
            Some(key) if key.starts_with('o') => {
                assert_eq!(of_key, 1, "{key}: {:?}", self.running);
                let started = self.started.entry(key).or_default();
                if !started.contains(&root) {
                    started.push(root);
                }
            }
            Some(key) => assert!(of_key <= KEY_CONCURRENCY, "{key}: {:?}", self.running),
            None => {}
        }
    }

    fn check_order(&self) {
        for (key, started) in &self.started {
            let enqueued = &self.enqueued[key];
            let places = started
                .iter()
                .filter_map(|root| enqueued.iter().position(|other| other == root));
            assert!(places.is_sorted(), "{key}: {enqueued:?}, began {started:?}");
        }
    }
}

/// The same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_hold_and_nobody_is_forgotten() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        table
            .limits(&format!(
                "concurrency => {CONCURRENCY}, key_concurrency => {KEY_CONCURRENCY}"
            ))
            .await;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let role = db.create_role("many").await;
        table
            .run(&format!("grant rolegate_producer to {role}"))
            .await;
        let mut producers = Vec::new();
        for nth in 0..PRODUCERS {
            let client = db.connect_as(&role).await;
            producers.push(tokio::spawn(produce(client, nth, Arc::clone(&seen))));
        }
        let mut workers = Vec::new();
        for nth in 0..WORKERS {
            let client = db.connect_as("rolegate_worker").await;
            let hands = work(client, nth, Arc::clone(&seen), Arc::clone(&stop));
            workers.push(tokio::spawn(hands));
        }
        let people = tokio::spawn(interfere(
            db.superuser().await,
            db.connect_as("rolegate_maintenance").await,
            Arc::clone(&seen),
            Arc::clone(&stop),
        ));
        for producer in producers {
            producer.await.unwrap();
        }
        drain(&table, db).await;
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.await.unwrap();
        }
        people.await.unwrap();
        table.is_clear().await;
        seen.lock().unwrap().check_order();
    })
    .await;
}

async fn produce(mut client: tokio_postgres::Client, nth: usize, seen: Arc<Mutex<Seen>>) {
    let mut dice = Dice(u64::try_from(nth).unwrap() + 1);
    for _ in 0..JOBS {
        let (column, key) = match dice.below(3) {
            // One producer for each ordering key, or nobody knows in which order they were.
            0 => ("ordering_key", Some(format!("o{nth}{}", dice.below(2)))),
            1 => ("limit_key", Some(format!("l{}", dice.below(3)))),
            _ => ("limit_key", None),
        };
        let undone = dice.below(10) == 0;
        let transaction = client.transaction().await.unwrap();
        let sql = format!("select rolegate.enqueue('k', max_attempts => 5, {column} => $1)");
        let root: i64 = transaction.query_one(&sql, &[&key]).await.unwrap().get(0);
        seen.lock().unwrap().key_of.insert(root, key.clone());
        if dice.below(4) == 0 {
            tokio::time::sleep(Duration::from_millis(dice.below(10))).await;
        }
        if undone {
            transaction.rollback().await.unwrap();
            continue;
        }
        if let Some(key) = key.filter(|key| key.starts_with('o')) {
            let mut seen = seen.lock().unwrap();
            seen.enqueued.entry(key).or_default().push(root);
        }
        transaction.commit().await.unwrap();
    }
}

async fn work(
    client: tokio_postgres::Client,
    nth: usize,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
) {
    let mut dice = Dice(u64::try_from(nth).unwrap() + 100);
    let (mut id, queue) = register(&client, "default").await;
    while !stop.load(Ordering::SeqCst) {
        let most = [1, 4, 20][usize::try_from(dice.below(3)).unwrap()];
        let (mut taken, _) = take(&client, id, &[queue], most).await;
        if taken.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        {
            let mut seen = seen.lock().unwrap();
            for job in &taken {
                seen.begin(job.root);
            }
        }
        if dice.below(40) == 0 {
            let roots: Vec<i64> = taken.iter().map(|job| job.root).collect();
            seen.lock().unwrap().over.extend(roots);
            let sql = "select rolegate.unregister_worker($1)";
            client.execute(sql, &[&id]).await.unwrap();
            (id, _) = register(&client, "default").await;
            continue;
        }
        while !taken.is_empty() {
            let some = usize::try_from(dice.below(3)).unwrap() + 1;
            let rest = taken.split_off(some.min(taken.len()));
            end(&client, id, &taken, &mut dice, &seen).await;
            taken = rest;
        }
    }
}

async fn end(
    client: &tokio_postgres::Client,
    id: i64,
    jobs: &[Taken],
    dice: &mut Dice,
    seen: &Mutex<Seen>,
) {
    let letters: Vec<char> = jobs
        .iter()
        .map(|_| ['c', 'c', 'c', 'c', 'R', 'S', 'b', 'f'][usize::try_from(dice.below(8)).unwrap()])
        .collect();
    {
        let mut seen = seen.lock().unwrap();
        for job in jobs {
            seen.running.remove(&job.root);
        }
    }
    finish(client, id, jobs, &letters).await;
}

/// Promotes, and cancels whatever.
async fn interfere(
    people: tokio_postgres::Client,
    maintenance: tokio_postgres::Client,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
) {
    let mut dice = Dice(7);
    while !stop.load(Ordering::SeqCst) {
        let promote = "select rolegate.promote_jobs(100)";
        maintenance.execute(promote, &[]).await.unwrap();
        let victim = {
            let mut seen = seen.lock().unwrap();
            let jobs = seen.key_of.len().max(1);
            let nth = usize::try_from(dice.below(u64::try_from(jobs).unwrap())).unwrap();
            let victim = seen.key_of.keys().nth(nth).copied();
            seen.over.extend(victim.filter(|_| dice.below(3) == 0));
            victim.filter(|victim| seen.over.contains(victim))
        };
        if let Some(victim) = victim {
            // It may be too busy to decide.
            let _ = people
                .execute("select rolegate.cancel($1)", &[&victim])
                .await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn drain(table: &Table, db: &TestDatabase) {
    let sql = "select coalesce(sum(available + running + scheduled + retryable), 0)::bigint \
               from rolegate.queues()";
    for _ in 0..3000 {
        let left: i64 = table.superuser.query_one(sql, &[]).await.unwrap().get(0);
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let state = "select jsonb_build_object('places', (select jsonb_agg(p) from rolegate.job_place p), \
                 'openings', (select jsonb_agg(o) from rolegate.job_opening o), \
                 'waiting', (select jsonb_agg(to_jsonb(d) - 'args') from rolegate.job_deferred d))";
    panic!("{}: {}", db.name(), table.text(state).await);
}
