//! Where a lane's next claim goes on, while transactions are open that have written to it: nothing is left behind.

use std::time::Duration;

use rolegate_testkit::{TestDatabase, for_each_version};
use tokio::time::Instant;
use tokio_postgres::Client;

use super::stage::{Stage, eventually, pause};

/// What was enqueued and is in no claim.
const LEFT_BEHIND: &str = "select count(*) from rolegate.job j where not exists ( \
    select from (select unnest(k.jobs) as id from rolegate.job_claim k) c where c.id = j.id)";
/// The second lane of the queue.
const LANE: i32 = 5;

async fn enqueue(client: &Client, priority: i32) -> i64 {
    let sql = "select rolegate.enqueue('x', priority => $1)";
    client.query_one(sql, &[&priority]).await.unwrap().get(0)
}

/// Claims halt after their first lane, until the superuser's session unlocks.
async fn halt_claims(stage: &Stage<'_>) {
    stage
        .run(
            "create function public.halt() returns trigger language plpgsql as $$ begin \
                 perform pg_catalog.pg_advisory_xact_lock_shared(1); return null; end $$; \
             create trigger halt after insert on rolegate.job_claim for each row \
                 when (new.lane = 4) execute function public.halt(); \
             select pg_advisory_lock(1)",
        )
        .await;
}

async fn has_halted(stage: &Stage<'_>) {
    let waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted \
        and database = (select oid from pg_database where datname = current_database()))";
    eventually(&stage.superuser, waits).await;
}

async fn producers(db: &TestDatabase, number: usize) -> Vec<Client> {
    let role = db.create_role("others").await;
    let superuser = db.superuser().await;
    let grant = format!("grant rolegate_producer to {role}");
    superuser.batch_execute(&grant).await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..number {
        clients.push(db.connect_as(&role).await);
    }
    clients
}

/// A claim has a transaction id from its first lane on. Who gets one after that, and an id before it comes to the
/// second, commits late there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_enqueued_between_two_lanes_of_a_claim_is_not_lost() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        halt_claims(&stage).await;
        let clients = producers(db, 2).await;
        let (early, late) = (&clients[0], &clients[1]);
        for priority in [1, 2] {
            enqueue(&stage.producer, priority).await;
        }
        let (worker, other) = (stage.worker().await, stage.worker().await);
        let (id, other_id) = (stage.register(&worker).await, stage.register(&other).await);

        let claiming = stage.claim(&worker, id, 10);
        let meanwhile = async {
            has_halted(&stage).await;
            early
                .batch_execute("begin; select pg_current_xact_id()")
                .await
                .unwrap();
            late.batch_execute("begin").await.unwrap();
            let hidden = enqueue(late, 2).await;
            let next = enqueue(early, 2).await;
            stage.run("select pg_advisory_unlock(1)").await;
            (hidden, next)
        };
        let (first, (hidden, next)) = tokio::join!(claiming, meanwhile);
        assert_eq!(first.len(), 2);
        early.batch_execute("commit").await.unwrap();
        let second = stage.claim(&other, other_id, 10).await;
        assert_eq!(second.iter().map(|job| job.id).collect::<Vec<_>>(), [next]);
        late.batch_execute("commit").await.unwrap();
        let third = stage.claim(&worker, id, 10).await;
        assert_eq!(third.iter().map(|job| job.id).collect::<Vec<_>>(), [hidden]);
        // Transactions of others may have ended in between, and have saved it: so the bound as well.
        let bound = format!("select min(last) from rolegate.job_claim where lane = {LANE}");
        assert!(stage.number(&bound).await < hidden);
    })
    .await;
}

/// A plan of before a segment hands out nothing of it, and counts it as handed out. So no turn begins in a new one
/// before all who may have such a plan have ended.
#[tokio::test]
async fn a_new_segment_waits_for_those_who_may_not_know_it() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.retention("0").await;
        enqueue(&stage.producer, 2).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        pause(1100).await;
        let turned = async || -> bool {
            let sql = "select rolegate.rotate_jobs()";
            stage.superuser.query_one(sql, &[]).await.unwrap().get(0)
        };
        worker.batch_execute("begin").await.unwrap();
        assert_eq!(stage.claim(&worker, id, 10).await.len(), 1);
        // Made, and looked at by whoever claims.
        for _ in 0..4 {
            assert!(!turned().await);
        }
        // One who comes later knows it.
        let (late, waits) = (stage.worker().await, stage.worker().await);
        let late_id = stage.register(&late).await;
        late.batch_execute("begin").await.unwrap();
        enqueue(&stage.producer, 3).await;
        assert_eq!(stage.claim(&late, late_id, 10).await.len(), 1);
        assert!(!turned().await);
        worker.batch_execute("commit").await.unwrap();
        assert!(turned().await);
        late.batch_execute("commit").await.unwrap();
        let last = enqueue(&stage.producer, 2).await;
        let id = stage.register(&waits).await;
        assert_eq!(stage.claim(&waits, id, 10).await[0].id, last);
    })
    .await;
}

/// What a transaction's first claim read is no bound for its second one: it has not ended.
#[tokio::test]
async fn two_claims_of_a_transaction_lose_nothing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let clients = producers(db, 2).await;
        let (early, late) = (&clients[0], &clients[1]);
        let first = enqueue(&stage.producer, 2).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        early
            .batch_execute("begin; select pg_current_xact_id()")
            .await
            .unwrap();
        late.batch_execute("begin").await.unwrap();
        let hidden = enqueue(late, 2).await;
        let next = enqueue(early, 2).await;
        worker.batch_execute("begin").await.unwrap();
        let mut claimed = stage.claim(&worker, id, 10).await;
        early.batch_execute("commit").await.unwrap();
        claimed.extend(stage.claim(&worker, id, 10).await);
        worker.batch_execute("commit").await.unwrap();
        late.batch_execute("commit").await.unwrap();
        claimed.extend(stage.claim(&worker, id, 10).await);
        let ids: Vec<i64> = claimed.iter().map(|job| job.id).collect();
        assert_eq!(ids, [first, next, hidden]);
        let bound = format!(
            "select min(prev_last) from rolegate.job_claim where jobs = array[{next}::bigint]"
        );
        assert!(stage.number(&bound).await < hidden);
    })
    .await;
}

/// A queue that is named twice is one.
#[tokio::test]
async fn a_queue_that_is_named_twice_is_looked_at_once() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        // So large that a claim hands out one of them.
        let large = "select rolegate.enqueue('x', (select jsonb_build_object('x', string_agg(md5(g::text), '')) \
            from generate_series(1, 150000) g)) from generate_series(1, 2)";
        stage.producer.query(large, &[]).await.unwrap();
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let sql = "select from rolegate.claim_jobs($1, array[1, 1], 10)";
        assert_eq!(worker.query(sql, &[&id]).await.unwrap().len(), 1);
        let claims = "select count(*) from rolegate.job_claim";
        assert_eq!(stage.number(claims).await, 1);
    })
    .await;
}

/// What the first claim of a transaction read is no bound for its second one.
#[tokio::test]
async fn a_second_look_at_a_lane_keeps_the_bound_of_the_first() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (before, cancelled) = (
            enqueue(&stage.producer, 2).await,
            enqueue(&stage.producer, 2).await,
        );
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        assert_eq!(stage.claim(&worker, id, 1).await[0].id, before);
        stage
            .run(&format!("select rolegate.cancel({cancelled})"))
            .await;
        let taken = enqueue(&stage.producer, 2).await;
        assert_eq!(stage.claim(&worker, id, 1).await[0].id, taken);
        let sql = "select jobs, prev_last, last from rolegate.job_claim order by id";
        let rows = stage.superuser.query(sql, &[]).await.unwrap();
        let rows: Vec<(Vec<i64>, i64, i64)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect();
        let wanted = [
            (vec![before], 0, cancelled),
            (vec![cancelled], cancelled, taken),
            (vec![taken], cancelled, taken),
        ];
        assert_eq!(rows, wanted);
    })
    .await;
}

/// Somebody claims in a transaction that has written before.
#[tokio::test]
async fn a_claim_that_comes_late_in_its_transaction_loses_nothing() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let clients = producers(db, 2).await;
        let (early, late) = (&clients[0], &clients[1]);
        let first = enqueue(&stage.producer, 2).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        for client in [&worker, early] {
            client
                .batch_execute("begin; select pg_current_xact_id()")
                .await
                .unwrap();
        }
        late.batch_execute("begin").await.unwrap();
        let hidden = enqueue(late, 2).await;
        let next = enqueue(early, 2).await;
        let mut claimed = stage.claim(&worker, id, 10).await;
        for client in [&worker, early] {
            client.batch_execute("commit").await.unwrap();
        }
        claimed.extend(stage.claim(&worker, id, 10).await);
        late.batch_execute("commit").await.unwrap();
        claimed.extend(stage.claim(&worker, id, 10).await);
        let ids: Vec<i64> = claimed.iter().map(|job| job.id).collect();
        assert_eq!(ids, [first, next, hidden]);
        let bound = "select min(last) from rolegate.job_claim";
        assert!(stage.number(bound).await < hidden);
    })
    .await;
}

/// Transactions with jobs for several lanes, while everybody claims from all of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_behind_in_any_lane() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let clients = producers(db, 4).await;
        let workers = [stage.worker().await, stage.worker().await];
        let until = Instant::now() + Duration::from_secs(3);
        let producing = clients.iter().zip(1_u64..).map(async |(client, nth)| {
            let mut round = nth;
            while Instant::now() < until {
                client.batch_execute("begin").await.unwrap();
                for _ in 0..4 {
                    round = round
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(nth);
                    enqueue(client, i32::try_from(round >> 33 & 3).unwrap() + 1).await;
                }
                pause(round >> 40 & 1).await;
                client.batch_execute("commit").await.unwrap();
            }
        });
        let claiming = workers.iter().map(async |worker| {
            let id = stage.register(worker).await;
            while Instant::now() < until {
                stage.claim(worker, id, 30).await;
            }
        });
        tokio::join!(
            futures_util::future::join_all(producing),
            futures_util::future::join_all(claiming)
        );
        let id = stage.register(&workers[0]).await;
        while !stage.claim(&workers[0], id, 1000).await.is_empty() {}
        assert!(stage.number("select count(*) from rolegate.job").await > 100);
        assert_eq!(stage.number(LEFT_BEHIND).await, 0);
    })
    .await;
}
