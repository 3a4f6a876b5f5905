//! Cancel, retry, move, drain and purge, one at a time.

use rolegate_testkit::for_each_version;

use super::stage::{Stage, listed, one, refused, seen, state};

const ENQUEUE: &str = "select rolegate.enqueue('mail')";
const CANCEL: &str = "select rolegate.cancel($1, 'no more')";

#[tokio::test]
async fn cancelling_ends_a_job_wherever_it_is_and_once() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let unique = "select rolegate.enqueue('mail', unique_key => 'k')";
        let available: i64 = one(&on.alice, unique, &[]).await;
        let deferred: i64 = one(
            &on.alice,
            "select rolegate.enqueue('mail', run_at => now() + interval '1 hour', unique_key => 'l')",
            &[],
        )
        .await;
        assert_eq!(refused(&on.bob, unique).await, "23505");
        for id in [available, deferred] {
            assert!(!one::<bool>(&on.bob, CANCEL, &[&id]).await, "it is not his");
            assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
            assert!(!one::<bool>(&on.alice, CANCEL, &[&id]).await, "it has ended");
            let told = ("cancelled".to_owned(), Some("no more".to_owned()), 0);
            assert_eq!(seen(&on.alice, id).await, Some(told));
        }
        let who: String = one(
            &on.alice,
            "select error #>> '{}' from rolegate.job($1)",
            &[&available],
        )
        .await;
        assert_eq!(who, format!("cancelled by {}", on.alice_role));
        let keys: i64 = one(&on.superuser, "select count(*) from rolegate.job_unique", &[]).await;
        assert_eq!(keys, 0);
        assert_eq!(listed(&on.viewer, Some("available")).await, [0_i64; 0]);
        let counted: i64 = one(&on.viewer, "select available from rolegate.queues()", &[]).await;
        assert_eq!(counted, 0);

        // The claim leaves it out and forgets the tombstone.
        let next: i64 = one(&on.bob, unique, &[]).await;
        let claimed = on.worker.claim(10).await;
        assert_eq!(claimed.iter().map(|a| a.id).collect::<Vec<_>>(), [next]);
        let graves: i64 = one(&on.superuser, "select count(*) from rolegate.job_tombstone", &[]).await;
        assert_eq!(graves, 0);
        assert_eq!(state(&on.alice, available).await, "cancelled");

        // An operator cancels anybody's.
        assert!(one::<bool>(&on.operator, CANCEL, &[&next]).await);
        assert!(!on.worker.finish(&claimed[0], "c", "").await, "too late");
        assert_eq!(state(&on.bob, next).await, "cancelled");
        assert_eq!(
            refused(&on.alice, "select rolegate.cancel(1, repeat('x', 1001))").await,
            "22023"
        );
    })
    .await;
}

#[tokio::test]
async fn cancelling_what_runs_or_is_parked_fences_what_comes_later() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let running: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let parked: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let attempts = on.worker.claim(2).await;
        let parking = &attempts[1];
        let callback: String = one(
            &on.worker.client,
            "select rolegate.register_callback($1, $2, $3::text::timestamptz, '1 hour')::text",
            &[&parking.claim, &parking.ordinal, &parking.claimed_at],
        )
        .await;
        assert!(on.worker.finish(parking, "w", "").await);
        for id in [running, parked] {
            assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
            assert!(!one::<bool>(&on.alice, CANCEL, &[&id]).await);
            assert_eq!(state(&on.alice, id).await, "cancelled");
        }
        for letter in ["c", "r", "f", "x"] {
            assert!(
                !on.worker.finish(&attempts[0], letter, "{}").await,
                "{letter}"
            );
        }
        let receiver = db.connect_as("rolegate_receiver").await;
        let verdict: String = one(
            &receiver,
            "select verdict from rolegate.callback_complete($1::text::uuid, '1', 'x')",
            &[&callback],
        )
        .await;
        assert_eq!(verdict, "gone");
        let row = on
            .superuser
            .query_one(
                "select (select count(*) from rolegate.job_ended), (select count(*) from \
                 rolegate.job_deferred) + (select count(*) from rolegate.job_parked), \
                 (select count(*) from rolegate.job)",
                &[],
            )
            .await
            .unwrap();
        assert_eq!([0, 1, 2].map(|n| row.get::<_, i64>(n)), [2, 0, 2]);
        let completed: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let last = on.worker.claim(1).await.remove(0);
        assert!(on.worker.finish(&last, "c", "").await);
        assert!(!one::<bool>(&on.operator, CANCEL, &[&completed]).await);
        assert_eq!(state(&on.alice, completed).await, "completed");
    })
    .await;
}

#[tokio::test]
async fn the_worker_of_a_cancelled_job_is_told() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let (listener, mut connection) = db
            .config("rolegate_worker")
            .connect(tokio_postgres::NoTls)
            .await
            .unwrap();
        let (send, mut told) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let tokio_postgres::AsyncMessage::Notification(note) = message {
                    send.send(note.payload().to_owned()).unwrap();
                }
            }
        });
        listener
            .batch_execute("listen rolegate_job_cancel")
            .await
            .unwrap();
        let ids: Vec<i64> = one(
            &on.alice,
            "select rolegate.enqueue_many('mail', array_fill('1'::jsonb, array[3]))",
            &[],
        )
        .await;
        let attempts = on.worker.claim(2).await;
        // The third waits: nobody has to be told.
        for id in [ids[2], ids[1]] {
            assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
        }
        let wait = std::time::Duration::from_secs(10);
        let note = tokio::time::timeout(wait, told.recv())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            note,
            format!("{}:{}", attempts[1].claim, attempts[1].ordinal)
        );
        assert!(told.try_recv().is_err());
    })
    .await;
}

#[tokio::test]
async fn retrying_gives_all_attempts_again_and_keeps_the_errors() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        on.operator
            .batch_execute("select rolegate.set_queue('default', dead_letters => true)")
            .await
            .unwrap();
        let id: i64 = one(
            &on.alice,
            "select rolegate.enqueue('mail', '{\"to\": 1}', max_attempts => 2)",
            &[],
        )
        .await;
        for _ in 0..2 {
            let attempt = on.worker.claim(1).await.remove(0);
            assert!(on.worker.finish(&attempt, "r", r#"{"error": "no", "delay": 0}"#).await);
        }
        let told = ("failed".to_owned(), Some("max_attempts_exhausted".to_owned()), 2);
        assert_eq!(seen(&on.alice, id).await, Some(told));
        let retry = "select rolegate.retry($1)";
        assert!(one::<bool>(&on.operator, retry, &[&id]).await);
        assert!(!one::<bool>(&on.operator, retry, &[&id]).await);
        assert!(!one::<bool>(&on.operator, retry, &[&-1_i64]).await);
        assert_eq!(seen(&on.alice, id).await.unwrap(), ("available".to_owned(), None, 0));
        let attempt = on.worker.claim(1).await.remove(0);
        assert_eq!((attempt.id, attempt.failed), (id, 0));
        assert!(on.worker.finish(&attempt, "f", r#"{"error": "still no"}"#).await);
        let errors: i32 = one(
            &on.alice,
            "select jsonb_array_length(errors) from rolegate.job($1)",
            &[&id],
        )
        .await;
        assert_eq!(errors, 3);

        // With changes, and for later.
        on.operator.batch_execute("select rolegate.create_queue('slow')").await.unwrap();
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

        // Nothing is lost by what is refused.
        assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
        for (sql, code) in [("queue => 'absent'", "42704"), ("priority => 5", "22023")] {
            let sql = format!("select rolegate.retry({id}, {sql})");
            assert_eq!(refused(&on.operator, &sql).await, code);
            assert_eq!(state(&on.alice, id).await, "cancelled");
        }
    })
    .await;
}

#[tokio::test]
async fn a_retried_job_has_its_unique_key_only_if_nobody_could_take_it() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let kept = "select rolegate.enqueue('mail', unique_key => 'a', unique_for => '1 hour')";
        let lost = "select rolegate.enqueue('mail', unique_key => 'b')";
        for (sql, again) in [(kept, "23505"), (lost, "00000")] {
            let id: i64 = one(&on.alice, sql, &[]).await;
            assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
            assert!(one::<bool>(&on.operator, "select rolegate.retry($1)", &[&id]).await);
            if again == "00000" {
                // Another job may have it, and keeps it when the first one ends.
                let other: i64 = one(&on.alice, sql, &[]).await;
                assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
                assert_eq!(refused(&on.alice, sql).await, "23505");
                assert!(one::<bool>(&on.alice, CANCEL, &[&other]).await);
            } else {
                let held: bool = one(
                    &on.superuser,
                    "select not ended from rolegate.job_unique where root = $1",
                    &[&id],
                )
                .await;
                assert!(held);
                assert_eq!(refused(&on.alice, sql).await, again);
            }
        }
    })
    .await;
}

#[tokio::test]
async fn moving_keeps_the_job_and_changes_where_or_when() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let first: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let second: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let third: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let prefer = "select rolegate.set_job_priority($1, 1)";
        assert!(one::<bool>(&on.operator, prefer, &[&third]).await);
        assert!(
            one::<bool>(&on.operator, prefer, &[&third]).await,
            "it is there"
        );
        let later = "select rolegate.move_job($1, run_at => now() + interval '1 hour')";
        assert!(one::<bool>(&on.operator, later, &[&first]).await);
        assert_eq!(
            seen(&on.alice, first).await.unwrap(),
            ("scheduled".to_owned(), None, 0)
        );
        assert_eq!(state(&on.alice, third).await, "available");
        assert_eq!(listed(&on.alice, None).await.len(), 3);
        let waited: bool = one(
            &on.superuser,
            "select count(distinct enqueued_at) = 1 from rolegate.job where $1 in (id, root)",
            &[&third],
        )
        .await;
        assert!(waited, "how long it has waited counts");

        let claimed: Vec<i64> = on.worker.claim(10).await.iter().map(|a| a.id).collect();
        assert_eq!(claimed, [third, second]);
        // A deferred one, to the present and another queue.
        on.operator
            .batch_execute("select rolegate.create_queue('other')")
            .await
            .unwrap();
        let now = "select rolegate.move_job($1, 'other', run_at => now())";
        assert!(one::<bool>(&on.operator, now, &[&first]).await);
        let sql = "select promoted from rolegate.promote_jobs(10)";
        assert_eq!(one::<i32>(&on.maintenance, sql, &[]).await, 1);
        let queue: String = one(&on.alice, "select queue from rolegate.job($1)", &[&first]).await;
        assert_eq!(queue, "other");
        // Not what runs, nor what is not there.
        for id in [second, third, 999] {
            assert!(!one::<bool>(&on.operator, prefer, &[&id]).await);
        }
        assert_eq!(
            refused(&on.operator, "select rolegate.set_job_priority(1, null)").await,
            "22023"
        );
    })
    .await;
}

#[tokio::test]
async fn draining_cancels_what_waits_and_nothing_else() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        on.operator.batch_execute("select rolegate.create_queue('other')").await.unwrap();
        let running: i64 = one(&on.alice, "select rolegate.enqueue('mail', priority => 1)", &[]).await;
        let attempt = on.worker.claim(1).await.remove(0);
        on.alice
            .batch_execute(
                "select rolegate.enqueue_many('mail', array_fill('1'::jsonb, array[1200])); \
                 select rolegate.enqueue_many('mail', array_fill('1'::jsonb, array[300]), priority => 4); \
                 select rolegate.enqueue('mail', run_at => now() + interval '1 h') \
                    from generate_series(1, 40); \
                 select rolegate.enqueue('mail', unique_key => 'k'); \
                 select rolegate.enqueue('mail', queue => 'other')",
            )
            .await
            .unwrap();
        let cancelled: i64 = one(
            &on.alice,
            "select id from rolegate.list_jobs('available', max_rows => 1, only_queue => 'default')",
            &[],
        )
        .await;
        assert!(one::<bool>(&on.alice, CANCEL, &[&cancelled]).await);
        on.operator.batch_execute("select rolegate.pause_queue('default')").await.unwrap();
        let before: String = one(
            &on.superuser,
            "select paused_at::text || paused_by from rolegate.job_queue where name = 'default'",
            &[],
        )
        .await;
        let mut calls = Vec::new();
        loop {
            let n: i32 = one(&on.operator, "select rolegate.drain_queue('default')", &[]).await;
            if n == 0 {
                break;
            }
            calls.push(n);
        }
        assert_eq!(calls.iter().sum::<i32>(), 1540, "{calls:?}");
        assert_eq!(calls[0], 1000);
        let row = on
            .superuser
            .query_one(
                "select (select count(*) from rolegate.job_ended where state = 'cancelled' and reason = \
                 'drained'), (select count(*) from rolegate.job_tombstone), (select count(*) from \
                 rolegate.job_deferred), (select count(*) from rolegate.job_unique), \
                 (select count(*) from rolegate.job_worker), (select paused_at::text || paused_by from \
                 rolegate.job_queue where name = 'default'), (select count(*) from rolegate.open_attempts())",
                &[],
            )
            .await
            .unwrap();
        let counts = [0, 1, 2, 3, 4, 6].map(|n| row.get::<_, i64>(n));
        assert_eq!(counts, [1540, 0, 0, 0, 1, 1]);
        assert_eq!(row.get::<_, String>(5), before, "it is paused as before");

        assert_eq!(state(&on.alice, running).await, "running");
        assert!(on.worker.finish(&attempt, "c", "").await);
        let other: i64 = one(
            &on.viewer,
            "select available from rolegate.queues() where queue = 'other'",
            &[],
        )
        .await;
        assert_eq!(other, 1);
        on.operator.batch_execute("select rolegate.resume_queue('default')").await.unwrap();
        let next: i64 = one(&on.alice, ENQUEUE, &[]).await;
        assert_eq!(on.worker.claim(10).await[0].id, next);
        // What the claim needed holds for the claim only.
        on.operator
            .batch_execute("begin; set local synchronous_commit = on; select rolegate.drain_queue('default')")
            .await
            .unwrap();
        let durable: String = one(&on.operator, "show synchronous_commit", &[]).await;
        assert_eq!(durable, "on");
        assert_eq!(refused(&on.operator, "select rolegate.drain_queue('absent')").await, "42704");
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_retried_and_purged_by_what_they_are() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        on.operator
            .batch_execute("select rolegate.set_queue('default', dead_letters => true)")
            .await
            .unwrap();
        on.alice
            .batch_execute(
                "select rolegate.enqueue('k' || n % 2) from generate_series(1, 10) n; \
                 select rolegate.enqueue('k3', tags => array['late', tag]) \
                 from unnest('{old,old,new}'::text[]) tag",
            )
            .await
            .unwrap();
        for attempt in on.worker.claim(20).await {
            assert!(on.worker.finish(&attempt, "f", r#"{"error": "no"}"#).await);
        }
        for (sql, done) in [
            ("select rolegate.retry_dead_letters(only_kind => 'k0', only_tag => 'late')", 0),
            ("select rolegate.retry_dead_letters(only_tag => 'new')", 1),
            ("select rolegate.purge_dead_letters(only_tag => 'new')", 0),
            ("select rolegate.purge_dead_letters(only_tag => 'late')", 2),
        ] {
            assert_eq!(one::<i32>(&on.operator, sql, &[]).await, done, "{sql}");
        }
        let late = on.worker.claim(10).await;
        assert_eq!(late.len(), 1);
        assert!(on.worker.finish(&late[0], "x", "").await);
        let count = "select count(*) from rolegate.dead_letters()";
        assert_eq!(one::<i64>(&on.alice, count, &[]).await, 10);
        assert_eq!(one::<i64>(&on.bob, count, &[]).await, 0);
        let sql = "select rolegate.retry_dead_letters(only_kind => 'k1', before => clock_timestamp(), most => 3)";
        assert_eq!(one::<i32>(&on.operator, sql, &[]).await, 3);
        assert_eq!(one::<i32>(&on.operator, sql, &[]).await, 2);
        assert_eq!(one::<i32>(&on.operator, sql, &[]).await, 0);
        assert_eq!(on.worker.claim(10).await.len(), 5);
        for (sql, purged) in [
            ("select rolegate.purge_dead_letters(only_kind => 'k1')", 0),
            (
                "select rolegate.purge_dead_letters(before => now() - interval '1 hour')",
                0,
            ),
            (
                "select rolegate.purge_dead_letters('default', 'k0', null, now(), 4)",
                4,
            ),
            ("select rolegate.purge_dead_letters()", 1),
        ] {
            assert_eq!(one::<i32>(&on.operator, sql, &[]).await, purged, "{sql}");
        }
        // Purged is forgotten, though the ring still has what happened.
        assert_eq!(listed(&on.alice, None).await.len(), 6);
        assert_eq!(
            refused(&on.operator, "select rolegate.purge_dead_letters('absent')").await,
            "42704"
        );
    })
    .await;
}

#[tokio::test]
async fn a_decision_needs_what_is_committed_and_is_not_left_open() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        for level in ["repeatable read", "serializable"] {
            on.alice
                .batch_execute(&format!("begin isolation level {level}"))
                .await
                .unwrap();
            assert_eq!(refused(&on.alice, "select rolegate.cancel(1)").await, "25000");
            on.alice.batch_execute("rollback").await.unwrap();
        }
        on.alice
            .batch_execute("begin; set local lock_timeout = '7s'; set local idle_in_transaction_session_timeout = '1h'")
            .await
            .unwrap();
        assert!(one::<bool>(&on.alice, CANCEL, &[&id]).await);
        assert_eq!(one::<String>(&on.alice, "show lock_timeout", &[]).await, "7s");
        let idle = "show idle_in_transaction_session_timeout";
        assert_eq!(one::<String>(&on.alice, idle, &[]).await, "10s");
        on.alice.batch_execute("rollback").await.unwrap();
        assert_eq!(state(&on.alice, id).await, "available", "undone with its transaction");
        assert_eq!(one::<String>(&on.alice, idle, &[]).await, "0");
        assert_eq!(on.worker.claim(1).await[0].id, id);
    })
    .await;
}
