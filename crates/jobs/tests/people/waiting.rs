//! An operator has a job run again that waits for an answer from outside.

use rolegate_testkit::for_each_version;
use tokio_postgres::types::ToSql;

use super::stage::{Stage, one, refused, seen, state};

#[tokio::test]
async fn a_job_that_waits_for_an_answer_is_run_again() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        on.operator.batch_execute("select rolegate.create_queue('slow')").await.unwrap();
        let enqueue = "select rolegate.enqueue('pay', '1', max_attempts => 3, ordering_key => 'a', \
            unique_key => 'a')";
        let id: i64 = one(&on.alice, enqueue, &[]).await;
        let next = "select rolegate.enqueue('pay', '2', ordering_key => 'a')";
        let next: i64 = one(&on.alice, next, &[]).await;
        let park = async || {
            let attempt = on.worker.claim(9).await.remove(0);
            assert_eq!((attempt.id, attempt.failed), (id, 0), "its key is its own");
            let register = "select rolegate.register_callback($1, $2, $3::text::timestamptz, '1 hour')";
            let values: [&(dyn ToSql + Sync); 3] =
                [&attempt.claim, &attempt.ordinal, &attempt.claimed_at];
            on.worker.client.execute(register, &values).await.unwrap();
            assert!(on.worker.finish(&attempt, "w", "").await);
            assert_eq!(state(&on.alice, id).await, "waiting_external");
        };
        let retry = "select rolegate.retry($1)";
        park().await;
        assert_eq!(refused(&on.alice, &format!("select rolegate.retry({id})")).await, "42501");
        assert!(one::<bool>(&on.operator, retry, &[&id]).await);
        assert!(!one::<bool>(&on.operator, retry, &[&id]).await, "it waits no more");
        assert_eq!(seen(&on.alice, id).await.unwrap(), ("available".to_owned(), None, 0));
        let taken = "select rolegate.enqueue('pay', unique_key => 'a')";
        assert_eq!(refused(&on.alice, taken).await, "23505");
        park().await;
        // Nothing is lost by what is refused.
        for (sql, code) in [("queue => 'absent'", "42704"), ("priority => 5", "22023")] {
            let sql = format!("select rolegate.retry({id}, {sql})");
            assert_eq!(refused(&on.operator, &sql).await, code);
            assert_eq!(state(&on.alice, id).await, "waiting_external");
        }

        // With changes: in another queue it has no place in the order of this one.
        let changed = "select rolegate.retry($1, 'slow', 4, now() + interval '1 hour', '{\"to\": 2}')";
        assert!(one::<bool>(&on.operator, changed, &[&id]).await);
        let right: bool = one(
            &on.alice,
            "select queue = 'slow' and priority = 4 and state = 'scheduled' and reason = 'operator' \
             and args = '{\"to\": 2}' and run_at > now() from rolegate.job($1)",
            &[&id],
        )
        .await;
        assert!(right);
        assert_eq!(on.worker.claim(9).await[0].id, next);
    })
    .await;
}
