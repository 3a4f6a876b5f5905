//! Two operators want to decide about the same dead letters: each order of theirs, forced.

use rolegate_testkit::{TestDatabase, for_each_version};
use tokio_postgres::Client;

use super::races::behind;
use super::stage::{Stage, one, state};

const RETRY: &str = "select rolegate.retry($1)";
const PURGE: &str = "select rolegate.purge_dead_letter($1)";
const RETRY_ALL: &str = "select rolegate.retry_dead_letters(most => $1)";
const PURGE_ALL: &str = "select rolegate.purge_dead_letters(most => $1)";

async fn scene(db: &TestDatabase) -> (Stage, Client) {
    let on = Stage::set(db).await;
    let letters = "select rolegate.set_queue('default', dead_letters => true)";
    on.operator.batch_execute(letters).await.unwrap();
    let deputy = db.connect_as(&on.operator_role).await;
    (on, deputy)
}

/// So many new dead letters.
async fn letters(on: &Stage, number: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for _ in 0..number {
        ids.push(one(&on.alice, "select rolegate.enqueue('mail')", &[]).await);
    }
    for attempt in on.worker.claim(100).await {
        assert!(on.worker.finish(&attempt, "f", r#"{"error": "no"}"#).await);
    }
    ids
}

async fn claimed(on: &Stage) -> Vec<i64> {
    let claimed = on.worker.claim(100).await;
    let mut ids: Vec<i64> = claimed.iter().map(|attempt| attempt.id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_retry_and_a_purge() {
    for_each_version(async |db| {
        let (on, deputy) = scene(db).await;
        // The retry is first: there is no letter any more, and the job is there once.
        let id = letters(&on, 1).await[0];
        on.operator.batch_execute("begin").await.unwrap();
        assert!(one::<bool>(&on.operator, RETRY, &[&id]).await);
        assert_eq!(
            one::<i32>(&deputy, PURGE_ALL, &[&10]).await,
            0,
            "without waiting"
        );
        assert!(!behind::<bool>(&on, &on.operator, &deputy, PURGE, Some(id)).await);
        assert_eq!(claimed(&on).await, [id]);
        // The purge is first: nobody is left to try again.
        for all in [false, true] {
            let id = letters(&on, 1).await[0];
            on.operator.batch_execute("begin").await.unwrap();
            if all {
                assert_eq!(one::<i32>(&on.operator, PURGE_ALL, &[&10]).await, 1);
            } else {
                assert!(one::<bool>(&on.operator, PURGE, &[&id]).await);
            }
            assert_eq!(
                one::<i32>(&deputy, RETRY_ALL, &[&10]).await,
                0,
                "without waiting"
            );
            assert!(!behind::<bool>(&on, &on.operator, &deputy, RETRY, Some(id)).await);
            assert_eq!(state(&on.alice, id).await, "nothing");
            assert!(claimed(&on).await.is_empty());
        }
        // Undone, it is as if nothing had been.
        let id = letters(&on, 1).await[0];
        on.operator.batch_execute("begin").await.unwrap();
        assert!(one::<bool>(&on.operator, PURGE, &[&id]).await);
        on.operator.batch_execute("rollback").await.unwrap();
        assert!(one::<bool>(&deputy, RETRY, &[&id]).await);
        assert_eq!(claimed(&on).await, [id]);
    })
    .await;
}

#[tokio::test]
async fn two_retries_of_many() {
    for_each_version(async |db| {
        let (on, deputy) = scene(db).await;
        let ids = letters(&on, 5).await;
        on.operator.batch_execute("begin").await.unwrap();
        assert_eq!(one::<i32>(&on.operator, RETRY_ALL, &[&3]).await, 3);
        // The other takes what is left, without waiting.
        assert_eq!(one::<i32>(&deputy, RETRY_ALL, &[&5]).await, 2);
        assert_eq!(one::<i32>(&deputy, PURGE_ALL, &[&5]).await, 0);
        on.operator.batch_execute("commit").await.unwrap();
        assert_eq!(one::<i32>(&deputy, RETRY_ALL, &[&5]).await, 0);
        assert_eq!(claimed(&on).await, ids, "each is there once");
    })
    .await;
}
