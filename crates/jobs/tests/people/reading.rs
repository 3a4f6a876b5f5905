//! `rolegate.job`: what it says of every state, and to whom.

use rolegate_testkit::for_each_version;

use super::stage::{Hand, Stage, listed, one, refused, seen, state};

const ENQUEUE: &str = "select rolegate.enqueue('mail')";

#[tokio::test]
async fn every_state_is_told_with_what_belongs_to_it() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        on.operator
            .batch_execute("select rolegate.set_queue('default', dead_letters => true)")
            .await
            .unwrap();
        let mut jobs = Vec::new();
        for _ in 0..6 {
            jobs.push(one::<i64>(&on.alice, ENQUEUE, &[]).await);
        }
        let attempts = on.worker.claim(6).await;
        let [done, again, dead, stopped, parked, running] = jobs[..] else {
            panic!()
        };
        for (attempt, id) in attempts.iter().zip(&jobs) {
            assert_eq!(attempt.id, *id);
            assert_eq!(seen(&on.alice, *id).await.unwrap(), ("running".to_owned(), None, 1));
        }
        let end = async |n: usize, letter: &str, detail: &str| {
            assert!(on.worker.finish(&attempts[n], letter, detail).await);
        };
        end(0, "c", r#"{"sent": 9007199254740993}"#).await;
        end(1, "r", r#"{"error": "not yet", "delay": 3600}"#).await;
        end(2, "f", r#"{"error": "no such address", "reason": "bounced"}"#).await;
        end(3, "x", r#"{"reason": "too old"}"#).await;
        let parking = &attempts[4];
        on.worker
            .client
            .execute(
                "select rolegate.register_callback($1, $2, $3::text::timestamptz, '1 hour')",
                &[&parking.claim, &parking.ordinal, &parking.claimed_at],
            )
            .await
            .unwrap();
        end(4, "w", "").await;
        let available: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let scheduled: i64 = one(
            &on.alice,
            "select rolegate.enqueue('mail', '{\"n\": 1.10}', run_at => now() + interval '1 day', \
             priority => 1, max_attempts => 3, deadline => '90 s', tags => '{a,b}', \
             metadata => '{\"m\": 1}', trace => '00-1-2-01')",
            &[],
        )
        .await;

        for (id, told) in [
            (done, ("completed", None, 1)),
            (again, ("retryable", Some("retry"), 1)),
            (dead, ("failed", Some("bounced"), 1)),
            (stopped, ("cancelled", Some("too old"), 0)),
            (parked, ("waiting_external", None, 1)),
            (running, ("running", None, 1)),
            (available, ("available", None, 0)),
            (scheduled, ("scheduled", None, 0)),
        ] {
            let told = (told.0.to_owned(), told.1.map(str::to_owned), told.2);
            assert_eq!(seen(&on.alice, id).await, Some(told.clone()), "{id}");
            // Each is in the list of its state, and in no other.
            assert_eq!(listed(&on.alice, Some(&told.0)).await, [id], "{}", told.0);
        }
        let all = [scheduled, available, running, parked, stopped, dead, again, done];
        assert_eq!(listed(&on.alice, None).await, all);

        let checks: Vec<bool> = vec![
            one(&on.alice, "select output = '{\"sent\": 9007199254740993}' and ended_at >= claimed_at \
                and errors is null from rolegate.job($1)", &[&done]).await,
            one(&on.alice, "select run_at > now() + interval '59 min' and errors -> 0 ->> 'error' = 'not yet' \
                and (errors -> 0 ->> 'attempt')::int = 1 from rolegate.job($1)", &[&again]).await,
            one(&on.alice, "select dead_letter and error = '\"no such address\"' and ended_at <= clock_timestamp() \
                from rolegate.job($1)", &[&dead]).await,
            one(&on.alice, "select args::text = '{\"n\": 1.10}' and tags = '{a,b}' and metadata = '{\"m\": 1}' \
                and trace = '00-1-2-01' and deadline = '90 s' and priority = 1 and max_attempts = 3 \
                and queue = 'default' and kind = 'mail' and claimed_at is null from rolegate.job($1)",
                &[&scheduled]).await,
            one(&on.alice, "select enqueued_by = $2 and enqueued_at <= clock_timestamp() and tags = '{}' \
                from rolegate.job($1)", &[&available, &on.alice_role]).await,
        ];
        assert_eq!(checks, [true; 5]);

        check_counts(&on, dead).await;
    })
    .await;
}

/// One of each state.
async fn check_counts(on: &Stage, dead: i64) {
    let row = on
        .viewer
        .query_one(
            "select available, running, scheduled, retryable, waiting_external, dead_letters, \
                 oldest_available > interval '0', at_least = '{}' from rolegate.queues()",
            &[],
        )
        .await
        .unwrap();
    for n in 0..6 {
        assert_eq!(row.get::<_, i64>(n), 1, "{n}");
    }
    assert!(row.get::<_, bool>(6) && row.get::<_, bool>(7));
    let letters: Vec<i64> = one(
        &on.viewer,
        "select array_agg(id) from rolegate.dead_letters('default', 'mail')",
        &[],
    )
    .await;
    assert_eq!(letters, [dead]);
    let open: i64 = one(
        &on.viewer,
        "select running from rolegate.workers() where name = 'hand' and queues = '{default}'",
        &[],
    )
    .await;
    assert_eq!(open, 1);
}

#[tokio::test]
async fn a_job_that_came_back_is_told_from_where_it_is_now() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let first = on.worker.claim(1).await.remove(0);
        assert!(
            on.worker
                .finish(&first, "r", r#"{"error": 1, "delay": 0}"#)
                .await
        );
        assert_eq!(
            seen(&on.alice, id).await.unwrap(),
            ("available".to_owned(), None, 1)
        );
        let second = on.worker.claim(1).await.remove(0);
        assert_eq!((second.id, second.failed), (id, 1));
        assert_eq!(
            seen(&on.alice, id).await.unwrap(),
            ("running".to_owned(), None, 2)
        );
        assert_eq!(
            listed(&on.alice, None).await,
            [id],
            "its old place is not listed"
        );
        assert!(on.worker.finish(&second, "c", "").await);
        assert_eq!(
            seen(&on.alice, id).await.unwrap(),
            ("completed".to_owned(), None, 2)
        );
    })
    .await;
}

#[tokio::test]
async fn a_job_of_somebody_else_is_as_one_that_is_not_there() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let (alice, bob) = (&on.alice_role, &on.bob_role);
        let team = db.create_role("team").await;
        on.superuser
            .batch_execute(&format!(
                "grant rolegate_producer to {team}; grant {team} to {alice}"
            ))
            .await
            .unwrap();
        let own: i64 = one(&on.alice, ENQUEUE, &[]).await;
        on.alice
            .batch_execute(&format!("set role {team}"))
            .await
            .unwrap();
        let teams: i64 = one(&on.alice, ENQUEUE, &[]).await;
        // As the group she has the group's jobs only.
        assert_eq!(listed(&on.alice, None).await, [teams]);
        on.alice.batch_execute("reset role").await.unwrap();
        assert_eq!(listed(&on.alice, None).await, [teams, own]);

        for id in [own, teams, 999, -1] {
            assert_eq!(state(&on.bob, id).await, "nothing");
            assert!(!one::<bool>(&on.bob, "select rolegate.cancel($1)", &[&id]).await);
        }
        assert!(listed(&on.bob, None).await.is_empty());
        let rows = on
            .alice
            .query("select from rolegate.job(null)", &[])
            .await
            .unwrap();
        assert!(rows.is_empty());
        for client in [&on.viewer, &on.operator] {
            assert_eq!(listed(client, None).await, [teams, own]);
            assert_eq!(state(client, own).await, "available");
        }

        on.superuser
            .batch_execute(&format!("grant {team} to {bob}"))
            .await
            .unwrap();
        assert_eq!(listed(&on.bob, None).await, [teams]);
        assert_eq!(state(&on.bob, own).await, "nothing");

        // A role of the same name is not the same role.
        on.superuser
            .batch_execute(&format!(
                "reassign owned by {team} to postgres; drop owned by {team}; drop role {team}; \
                 create role {team}; grant rolegate_producer to {team}; grant {team} to {bob}"
            ))
            .await
            .unwrap();
        assert_eq!(state(&on.bob, teams).await, "nothing");
        assert!(listed(&on.bob, None).await.is_empty());
        assert_eq!(state(&on.viewer, teams).await, "available");
        on.superuser
            .batch_execute(&format!("drop owned by {team}"))
            .await
            .unwrap();

        for sql in [
            "select rolegate.queues()",
            "select rolegate.workers()",
            "select rolegate.retry(1)",
            "select rolegate.move_job(1)",
            "select rolegate.drain_queue('default')",
            "select rolegate.find_job(1)",
        ] {
            assert_eq!(refused(&on.alice, sql).await, "42501", "{sql}");
        }
        assert_eq!(
            refused(&on.viewer, "select rolegate.cancel(1)").await,
            "42501"
        );
        let worker = &on.worker.client;
        assert_eq!(refused(worker, "select rolegate.job(1)").await, "42501");
    })
    .await;
}

#[tokio::test]
async fn a_job_that_was_committed_late_is_available_until_it_is_claimed() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        on.alice.batch_execute("begin").await.unwrap();
        let late: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let second: i64 = one(&on.bob, ENQUEUE, &[]).await;
        assert_eq!(on.worker.claim(10).await[0].id, second);
        // The cursor is past it.
        assert_eq!(state(&on.viewer, late).await, "nothing");
        on.alice.batch_execute("commit").await.unwrap();
        assert_eq!(state(&on.viewer, late).await, "available");
        assert_eq!(listed(&on.viewer, Some("available")).await, [late]);
        let waiting: i64 = one(&on.viewer, "select available from rolegate.queues()", &[]).await;
        assert_eq!(waiting, 1);
        let attempt = on.worker.claim(10).await.remove(0);
        assert_eq!(attempt.id, late);
        assert_eq!(state(&on.viewer, late).await, "running");
        assert_eq!(state(&on.viewer, second).await, "running");
        assert!(on.worker.finish(&attempt, "c", "").await);
        assert_eq!(state(&on.viewer, late).await, "completed");
        assert!(listed(&on.viewer, Some("available")).await.is_empty());
    })
    .await;
}

/// A claim that waited while the ring turned stands in an older segment than the jobs it took.
#[tokio::test]
async fn a_job_whose_claim_is_forgotten_is_forgotten_too() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        on.superuser
            .batch_execute("update rolegate.job_setting set completed_retention = '0'")
            .await
            .unwrap();
        let early: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let attempt = on.worker.claim(1).await.remove(0);
        assert_eq!(attempt.id, early);
        assert!(on.worker.finish(&attempt, "c", "").await);

        // The next turn finds one that is free.
        let free = "select rolegate.add_segment()";
        on.superuser.execute(free, &[]).await.unwrap();
        // Whoever began before a turn goes on writing where he did.
        on.worker.client.batch_execute("begin").await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        let turned: bool = one(&on.maintenance, "select rolegate.rotate_jobs()", &[]).await;
        assert!(turned);
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let attempt = on.worker.claim(1).await.remove(0);
        on.worker.client.batch_execute("commit").await.unwrap();
        assert_eq!(attempt.id, id);
        assert_eq!(state(&on.alice, id).await, "running");
        assert!(on.worker.finish(&attempt, "c", "").await);
        assert_eq!(state(&on.alice, id).await, "completed");
        let apart: bool = one(
            &on.superuser,
            "select (select segment from rolegate.job where id = $1) <> \
             (select segment from rolegate.job_claim where id = $2)",
            &[&id, &attempt.claim],
        )
        .await;
        assert!(apart, "the claim is not in the segment of its job");

        let alive = "select rolegate.worker_alive($1, null)";
        on.worker
            .client
            .execute(alive, &[&on.worker.id])
            .await
            .unwrap();
        let sql = "select rolegate.close_turns(); select rolegate.carry_cursors()";
        on.maintenance.batch_execute(sql).await.unwrap();
        let emptied: bool = one(&on.maintenance, "select rolegate.empty_segment()", &[]).await;
        assert!(emptied);
        let left: bool = one(
            &on.superuser,
            "select exists (select from rolegate.job where id = $1)",
            &[&id],
        )
        .await;
        assert!(left, "the job's own row is still there");
        for id in [early, id] {
            assert_eq!(state(&on.alice, id).await, "nothing");
            assert!(!one::<bool>(&on.alice, "select rolegate.cancel($1)", &[&id]).await);
        }
        assert!(listed(&on.alice, None).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn progress_is_told_and_two_workers_are_counted_apart() {
    for_each_version(async |db| {
        let on = Stage::set(db).await;
        let other = Hand::register(db, &["other"]).await;
        let id: i64 = one(&on.alice, ENQUEUE, &[]).await;
        let sql = "select rolegate.enqueue('mail', queue => 'other') from generate_series(1, 3)";
        on.alice.batch_execute(sql).await.unwrap();
        assert_eq!(on.worker.claim(10).await.len(), 1);
        let attempts = other.claim(10).await;
        assert_eq!(attempts.len(), 3);
        assert!(other.finish(&attempts[1], "c", "").await);
        on.superuser
            .execute(
                "insert into rolegate.job_progress (root, percent, message) values ($1, 40, 'page 4')",
                &[&id],
            )
            .await
            .unwrap();
        let told: bool = one(
            &on.alice,
            "select progress ->> 'percent' = '40' and progress ->> 'message' = 'page 4' \
             from rolegate.job($1)",
            &[&id],
        )
        .await;
        assert!(told);
        let open: Vec<i64> = one(
            &on.viewer,
            "select array_agg(running order by id) from rolegate.workers()",
            &[],
        )
        .await;
        assert_eq!(open, [1, 2]);
        let running: Vec<i64> = one(
            &on.viewer,
            "select array_agg(running order by queue) from rolegate.queues()",
            &[],
        )
        .await;
        assert_eq!(running, [1, 2]);
        assert_eq!(
            listed(&on.viewer, Some("running")).await,
            [attempts[2].id, attempts[0].id, id]
        );
    })
    .await;
}
