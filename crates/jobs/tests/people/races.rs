//! Two sessions want to decide about the same job: each order of theirs, forced.

use std::time::Instant;

use rolegate_testkit::for_each_version;
use tokio_postgres::Client;

use super::stage::{Stage, one, pid, refused, state, waits};

const ENQUEUE: &str = "select rolegate.enqueue('mail')";
const CANCEL: &str = "select rolegate.cancel($1)";
const RETRY: &str = "select rolegate.retry($1)";
const PREFER: &str = "select rolegate.set_job_priority($1, 1)";
const DRAIN: &str = "select rolegate.drain_queue('default')";

/// Runs a statement about a job in `second` while `first` has an open transaction, which is committed
/// when the statement waits for it.
pub(crate) async fn behind<T>(
    on: &Stage,
    first: &Client,
    second: &Client,
    sql: &str,
    id: Option<i64>,
) -> T
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    let waiting = pid(second).await;
    let statement = async {
        match &id {
            Some(id) => one(second, sql, &[id]).await,
            None => one(second, sql, &[]).await,
        }
    };
    let commit = async {
        waits(&on.superuser, waiting).await;
        first.batch_execute("commit").await.unwrap();
    };
    tokio::join!(statement, commit).0
}

#[tokio::test]
async fn cancel_and_claim() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        // The cancel is first: the claim passes by, and leaves it out afterwards.
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let next: i64 = one(&on.alice, ENQUEUE, &[]).await;
        on.alice.batch_execute("begin").await.unwrap();
        assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
        assert!(on.worker.claim(10).await.is_empty());
        on.alice.batch_execute("commit").await.unwrap();
        let claimed = on.worker.claim(10).await;
        assert_eq!(claimed.iter().map(|a| a.id).collect::<Vec<_>>(), [next]);
        // Undone, it is as if nothing had been.
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        on.alice.batch_execute("begin").await.unwrap();
        assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
        on.alice.batch_execute("rollback").await.unwrap();
        assert_eq!(on.worker.claim(10).await[0].id, id);

        // The claim is first: the cancel finds it running.
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        on.worker.client.batch_execute("begin").await.unwrap();
        let attempt = on.worker.claim(10).await.remove(0);
        assert!(behind::<bool>(&on, &on.worker.client, &on.alice, CANCEL, Some(id)).await);
        assert_eq!(state(&on.alice, id).await, "cancelled");
        assert!(!on.worker.finish(&attempt, "c", "").await);
        let closed: String = one(
            &on.superuser,
            "select states::text from rolegate.job_outcome where claim = $1",
            &[&attempt.claim],
        )
        .await;
        assert_eq!(closed, "{x}", "by the cancel, and not by a tombstone");
    })
    .await;
}

#[tokio::test]
async fn cancel_and_finish() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        for (letter, detail, after, won) in [
            ("c", "1", "completed", false),
            ("f", r#"{"error": 1}"#, "failed", false),
            // It has gone on when the cancel comes to it.
            ("r", r#"{"error": 1, "delay": 60}"#, "cancelled", true),
            ("b", "{}", "cancelled", true),
        ] {
            let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
            let attempt = on.worker.claim(1).await.remove(0);
            on.worker.client.batch_execute("begin").await.unwrap();
            assert!(on.worker.finish(&attempt, letter, detail).await);
            let cancelled =
                behind::<bool>(&on, &on.worker.client, &on.alice, CANCEL, Some(id)).await;
            assert_eq!(cancelled, won, "{letter}");
            assert_eq!(state(&on.alice, id).await, after, "{letter}");

            let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
            let attempt = on.worker.claim(1).await.remove(0);
            assert_eq!(attempt.id, id);
            on.alice.batch_execute("begin").await.unwrap();
            assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
            let waiting = pid(&on.worker.client).await;
            let commit = async {
                waits(&on.superuser, waiting).await;
                on.alice.batch_execute("commit").await.unwrap();
            };
            let (finished, ()) = tokio::join!(on.worker.finish(&attempt, letter, detail), commit);
            assert!(!finished, "{letter}");
            assert_eq!(state(&on.alice, id).await, "cancelled");
            assert!(on.worker.claim(10).await.is_empty());
        }
    })
    .await;
}

#[tokio::test]
async fn cancel_and_rescue() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let rescue = "select jobs from rolegate.rescue_jobs('-1 s')";
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        assert_eq!(on.worker.claim(1).await.len(), 1);
        on.maintenance.batch_execute("begin").await.unwrap();
        assert_eq!(one::<i32>(&on.maintenance, rescue, &[]).await, 1);
        assert!(behind::<bool>(&on, &on.maintenance, &on.alice, CANCEL, Some(id)).await);
        assert_eq!(state(&on.alice, id).await, "cancelled");
        let other = super::stage::Hand::register(db, &["default"]).await;
        assert!(other.claim(10).await.is_empty(), "it does not come back");

        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        assert_eq!(other.claim(1).await.len(), 1);
        on.alice.batch_execute("begin").await.unwrap();
        assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
        let rescued = behind::<i32>(&on, &on.alice, &on.maintenance, rescue, None).await;
        assert_eq!(rescued, 0);
        assert_eq!(state(&on.alice, id).await, "cancelled");
    })
    .await;
}

#[tokio::test]
async fn cancel_and_move_against_promotion() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let promote = "select promoted from rolegate.promote_jobs(100)";
        let later =
            "select rolegate.enqueue('mail', run_at => clock_timestamp() + interval '50 ms')";
        let due = async || {
            let id: i64 = one(&on.alice, later, &[]).await;
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            id
        };
        for (sql, who, after) in [
            (CANCEL, &on.alice, "cancelled"),
            (PREFER, &on.operator, "available"),
        ] {
            // The promotion is first.
            let id = due().await;
            on.maintenance.batch_execute("begin").await.unwrap();
            assert_eq!(one::<i32>(&on.maintenance, promote, &[]).await, 1);
            assert!(behind::<bool>(&on, &on.maintenance, who, sql, Some(id)).await);
            assert_eq!(state(&on.alice, id).await, after);
            // The other is first: the promotion passes by.
            let id = due().await;
            who.batch_execute("begin").await.unwrap();
            assert!(one::<bool>(who, sql, &[&id]).await);
            assert_eq!(one::<i32>(&on.maintenance, promote, &[]).await, 0);
            who.batch_execute("commit").await.unwrap();
            let promoted = one::<i32>(&on.maintenance, promote, &[]).await;
            assert_eq!(promoted, i32::from(after == "available"));
            assert_eq!(state(&on.alice, id).await, after);
        }
        let priorities: i64 = one(
            &on.alice,
            "select count(*) from rolegate.list_jobs('available') where priority = 1",
            &[],
        )
        .await;
        assert_eq!(priorities, 2);
        assert_eq!(on.worker.claim(100).await.len(), 2, "each once");

        // A queue that is drained waits for those that are on their way.
        let id = due().await;
        on.maintenance.batch_execute("begin").await.unwrap();
        assert_eq!(one::<i32>(&on.maintenance, promote, &[]).await, 1);
        let drained = behind::<i32>(&on, &on.maintenance, &on.operator, DRAIN, None).await;
        assert_eq!(drained, 1);
        assert_eq!(state(&on.alice, id).await, "cancelled");
    })
    .await;
}

#[tokio::test]
async fn move_and_drain_against_claims() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        on.operator.batch_execute("begin").await.unwrap();
        assert!(one::<bool>(&on.operator, PREFER, &[&id]).await);
        assert!(on.worker.claim(10).await.is_empty());
        on.operator.batch_execute("commit").await.unwrap();
        let attempt = on.worker.claim(10).await;
        assert_eq!(
            attempt.iter().map(|a| a.id).collect::<Vec<_>>(),
            [id],
            "once"
        );
        assert!(on.worker.claim(10).await.is_empty());

        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        on.worker.client.batch_execute("begin").await.unwrap();
        assert_eq!(on.worker.claim(10).await.len(), 1);
        assert!(!behind::<bool>(&on, &on.worker.client, &on.operator, PREFER, Some(id)).await);
        assert_eq!(state(&on.alice, id).await, "running");

        // Draining.
        let many = "select rolegate.enqueue_many('mail', array_fill('1'::jsonb, array[20]))";
        on.alice.batch_execute(many).await.unwrap();
        on.worker.client.batch_execute("begin").await.unwrap();
        let claimed = on.worker.claim(5).await;
        assert_eq!(claimed.len(), 5);
        let drained = behind::<i32>(&on, &on.worker.client, &on.operator, DRAIN, None).await;
        assert_eq!(drained, 15);
        for attempt in &claimed {
            assert!(on.worker.finish(attempt, "c", "").await);
        }
        on.alice.batch_execute(many).await.unwrap();
        on.operator.batch_execute("begin").await.unwrap();
        assert_eq!(one::<i32>(&on.operator, DRAIN, &[]).await, 20);
        assert!(on.worker.claim(10).await.is_empty());
        on.operator.batch_execute("rollback").await.unwrap();
        assert_eq!(on.worker.claim(100).await.len(), 20, "undone");
    })
    .await;
}

#[tokio::test]
async fn of_two_people_one_decides() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let deputy = db.connect_as(&on.operator_role).await;
        // Available, deferred and running: the second cancel waits, and comes too late.
        let later = "select rolegate.enqueue('mail', run_at => now() + interval '1 hour')";
        for sql in [ENQUEUE, later, "running"] {
            let id: i64 = if sql == "running" {
                let id = one(&on.alice, ENQUEUE, &[]).await;
                assert_eq!(on.worker.claim(1).await[0].id, id);
                id
            } else {
                one(&on.alice, sql, &[]).await
            };
            on.alice.batch_execute("begin").await.unwrap();
            assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
            assert!(!behind::<bool>(&on, &on.alice, &on.operator, CANCEL, Some(id)).await);
            // So does the second retry.
            on.operator.batch_execute("begin").await.unwrap();
            assert!(one::<bool>(&on.operator, RETRY, &[&id]).await);
            let again = behind::<bool>(&on, &on.operator, &deputy, RETRY, Some(id)).await;
            assert!(!again);
            assert_eq!(state(&on.alice, id).await, "available");
            assert_eq!(on.worker.claim(10).await.len(), 1, "it is there once");
        }
        // A unique key is free when the cancel is committed, not before.
        let unique = "select rolegate.enqueue('mail', unique_key => 'k')";
        let id: i64 = one(&on.alice, unique, &[]).await;
        on.alice.batch_execute("begin").await.unwrap();
        assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
        // Who asks before that is told at once.
        assert_eq!(refused(&on.bob, unique).await, "23505");
        on.alice.batch_execute("commit").await.unwrap();
        assert_ne!(one::<i64>(&on.bob, unique, &[]).await, id);
    })
    .await;
}

/// Who decides gives up before the server looks for a deadlock, so that no worker is the one to be
/// chosen.
#[tokio::test]
async fn a_decision_does_not_wait_for_long_and_deadlocks_nobody() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let ids: Vec<i64> = one(
            &on.alice,
            "select rolegate.enqueue_many('mail', array_fill('1'::jsonb, array[2]))",
            &[],
        )
        .await;
        on.worker.client.batch_execute("begin").await.unwrap();
        let mut attempts = on.worker.claim(1).await;
        let begun = Instant::now();
        let sql = format!("select rolegate.cancel({})", ids[1]);
        assert_eq!(refused(&on.alice, &sql).await, "55P03");
        let waited = begun.elapsed().as_millis();
        assert!((800..2000).contains(&waited), "{waited} ms");
        on.worker.client.batch_execute("commit").await.unwrap();

        // A worker finishes two claims in their order, a person cancels in the other.
        attempts.extend(on.worker.claim(1).await);
        assert!(attempts[0].claim < attempts[1].claim);
        on.alice.batch_execute("begin").await.unwrap();
        assert!(one::<bool>(&on.alice, CANCEL, &[&ids[1]]).await);
        let waiting = pid(&on.worker.client).await;
        let id = on.worker.id.to_string();
        let [first, second] = &attempts[..] else {
            panic!()
        };
        let finish = format!(
            "select cardinality(rolegate.finish_jobs({id}, array[{}, {}]::bigint[], '{{1,1}}', \
             array['{}', '{}']::timestamptz[]))",
            first.claim, second.claim, first.claimed_at, second.claimed_at
        );
        let other = async {
            waits(&on.superuser, waiting).await;
            let sql = format!("select rolegate.cancel({})", ids[0]);
            assert_eq!(refused(&on.alice, &sql).await, "55P03");
            on.alice.batch_execute("rollback").await.unwrap();
        };
        let (left, ()) = tokio::join!(one::<i32>(&on.worker.client, &finish, &[]), other);
        assert_eq!(left, 0, "both are finished");
        assert_eq!(state(&on.alice, ids[1]).await, "completed");
    })
    .await;
}
