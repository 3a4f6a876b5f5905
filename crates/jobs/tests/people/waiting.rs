//! An operator has a job run again that waits for an answer from outside.

use rolegate_testkit::for_each_version;
use tokio_postgres::types::ToSql;

use super::stage::{Attempt, Stage, one, refused, seen, state};

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

/// It waits for an answer from now on.
async fn park(on: &Stage, attempt: &Attempt) {
    let register = "select rolegate.register_callback($1, $2, $3::text::timestamptz, '1 hour')";
    let values: [&(dyn ToSql + Sync); 3] = [&attempt.claim, &attempt.ordinal, &attempt.claimed_at];
    on.worker.client.execute(register, &values).await.unwrap();
    assert!(on.worker.finish(attempt, "w", "").await);
}

#[tokio::test]
async fn a_batch_runs_jobs_again_that_wait_for_an_answer_and_no_others() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let enqueue = "select rolegate.enqueue('k' || n % 2, tags => array['of ' || n % 3]) \
            from generate_series(0, 11) n";
        on.alice.query(enqueue, &[]).await.unwrap();
        for attempt in on.worker.claim(100).await {
            park(&on, &attempt).await;
        }
        // Of those with the tag: one waits, one was answered meanwhile, and one runs.
        on.alice
            .query("select rolegate.enqueue('k0', tags => array['of 1'])", &[])
            .await
            .unwrap();
        let runs = on.worker.claim(1).await.remove(0);
        let answered: i64 = one(
            &on.superuser,
            "select root from rolegate.job_parked \
             where options -> 'tags' ? 'of 1' and kind = 'k0' order by root limit 1",
            &[],
        )
        .await;
        let answer = "select verdict from rolegate.callback_complete(\
            (select c.id from rolegate.job_callback c where c.root = $1), '1', null)";
        let word: String = one(&on.superuser, answer, &[&answered]).await;
        assert_eq!(word, "ok");

        let states = "select string_agg(format('%s %s %s', state, tag, n), ',' order by state, tag) from (\
            select l.state, j.tags[1] as tag, count(*) as n \
            from rolegate.list_jobs(max_rows => 1000) l, rolegate.job(l.id) j group by 1, 2) x";
        let preview = "select jobs from rolegate.preview_batch(\
            'retry', 'waiting_external', only_kind => 'k0', only_tag => 'of 1')";
        let jobs: i64 = one(&on.operator, preview, &[]).await;
        assert_eq!(jobs, 1);
        for (filter, expected) in [
            (
                "only_kind => 'k0', only_tag => 'of 1'",
                "available of 1 1,completed of 1 1,running of 1 1,\
                 waiting_external of 0 4,waiting_external of 1 2,waiting_external of 2 4",
            ),
            (
                "only_tag => 'of 2'",
                "available of 1 1,available of 2 4,completed of 1 1,running of 1 1,\
                 waiting_external of 0 4,waiting_external of 1 2",
            ),
            (
                "only_queue => 'default', to_priority => 4",
                "available of 0 4,available of 1 3,available of 2 4,completed of 1 1,running of 1 1",
            ),
        ] {
            let submit = format!("select rolegate.submit_batch('retry', 'waiting_external', {filter})");
            on.operator.query_one(&submit, &[]).await.unwrap();
            let part = "select rolegate.run_batch(3)";
            while one::<Option<i32>>(&on.maintenance, part, &[]).await.is_some() {}
            let now: String = one(&on.operator, states, &[]).await;
            assert_eq!(now, expected, "{filter}");
        }
        let counts = "select string_agg(format('%s %s %s', state, changed, refused), ',' order by id) \
            from rolegate.batches()";
        let counts: String = one(&on.operator, counts, &[]).await;
        assert_eq!(counts, "done 1 0,done 4 0,done 6 0");
        let fourth = "select count(*) from rolegate.list_jobs(only_state => 'available') where priority = 4";
        assert_eq!(one::<i64>(&on.operator, fourth, &[]).await, 6);
        // The callbacks that they waited for answer nothing any more, and what ran ends as ever.
        let open = "select count(*) from rolegate.job_callback where state = 'open'";
        assert_eq!(one::<i64>(&on.superuser, open, &[]).await, 0);
        assert!(on.worker.finish(&runs, "c", "").await);

        for wrong in [
            "select rolegate.submit_batch('move', 'waiting_external', to_priority => 1)",
            "select rolegate.submit_batch('retry', 'completed')",
            "select rolegate.submit_batch('retry', 'running')",
            "select rolegate.submit_batch('retry', only_queue => 'default')",
        ] {
            assert_eq!(refused(&on.operator, wrong).await, "22023", "{wrong}");
        }
    })
    .await;
}
