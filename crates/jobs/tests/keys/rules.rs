//! What each limit means, one step after the other.

use rolegate_testkit::for_each_version;
use tokio_postgres::error::SqlState;

use crate::table::{Table, register, take};

#[tokio::test]
async fn jobs_of_an_ordering_key_run_one_after_the_other() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        let first = table.enqueue("ordering_key => 'a'").await;
        let second = table.enqueue("ordering_key => 'a'").await;
        let third = table.enqueue("ordering_key => 'a'").await;
        let other = table.enqueue("ordering_key => 'b'").await;
        let bare = table.enqueue("'{}'").await;
        let taken = table.claim(10).await;
        let roots: Vec<i64> = taken.iter().map(|job| job.root).collect();
        assert_eq!(roots, [first, other, bare], "nobody else is held up");
        assert_eq!(
            table
                .text("select state || ' ' || reason from rolegate.list_jobs(only_state => 'available') limit 1")
                .await,
            "available ordering_key"
        );

        // One that is tried again has not ended, whatever the attempts' ends are called.
        for letter in ['r', 's', 'b'] {
            let running = if letter == 'r' { taken[..1].to_vec() } else { table.claim(10).await };
            assert_eq!(running.iter().map(|job| job.root).collect::<Vec<_>>(), [first]);
            table.finish(&running, letter).await;
            table.run("update rolegate.job_deferred set run_at = now() where waits_for is null").await;
            table.maintenance.execute("select rolegate.promote_jobs(10)", &[]).await.unwrap();
        }
        let running = table.claim(10).await;
        table.finish(&running, 'f').await;
        let running = table.claim(10).await;
        assert_eq!(running[0].root, second, "after {first} failed for good");

        // Cancelled while it waits, and while it runs.
        table.run(&format!("select rolegate.cancel({third})")).await;
        let fourth = table.enqueue("ordering_key => 'a'").await;
        assert!(table.roots(10).await.is_empty());
        table.run(&format!("select rolegate.cancel({second})")).await;
        let running = table.claim(10).await;
        assert_eq!(running[0].root, fourth);
        table.finish(&running, 'c').await;
        table.finish(&taken[1..], 'c').await;
        table.is_clear().await;
    })
    .await;
}

#[tokio::test]
async fn a_queue_of_another_name_has_other_keys() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        let (other, other_queue) = register(&table.worker, "other").await;
        table.enqueue("ordering_key => 'a'").await;
        let waiting = table.enqueue("ordering_key => 'a'").await;
        let there = table.enqueue("queue => 'other', ordering_key => 'a'").await;
        assert_eq!(table.claim(10).await.len(), 1);
        let (taken, _) = take(&table.worker, other, &[other_queue], 10).await;
        assert_eq!(taken[0].root, there);
        crate::table::finish(&table.worker, other, &taken, &['c']).await;

        // One that waits for its key is moved, and asks for its place there.
        table
            .run(&format!("select rolegate.move_job({waiting}, 'other')"))
            .await;
        let promote = "select rolegate.promote_jobs(10)";
        table.maintenance.execute(promote, &[]).await.unwrap();
        let (taken, _) = take(&table.worker, other, &[other_queue], 10).await;
        assert_eq!(taken[0].root, waiting);
    })
    .await;
}

#[tokio::test]
async fn a_limit_key_has_as_many_places_as_its_queue_says() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        table.limits("key_concurrency => 2").await;
        let mut ids = Vec::new();
        for _ in 0..6 {
            ids.push(table.enqueue("limit_key => 'a'").await);
        }
        let running = table.claim(10).await;
        assert_eq!(running.len(), 2);
        // It does not run while it waits for its retry: another one may.
        table.finish(&running[..1], 'r').await;
        assert_eq!(table.roots(10).await, [ids[2]]);
        let keys = "select format('%s %s %s', limit_key, placed, waiting) from rolegate.queue_keys('default')";
        assert_eq!(table.text(keys).await, "a 2 3");

        // Changed while they wait: at once, both ways.
        table.limits("key_concurrency => 4").await;
        assert_eq!(table.roots(10).await, ids[3..5]);
        table.limits("key_concurrency => 1").await;
        table.finish(&running[1..], 'c').await;
        assert!(table.roots(10).await.is_empty(), "three still run");
        table.limits("key_concurrency => 0").await;
        assert_eq!(table.roots(10).await, [ids[5]], "0 is no limit");
        let all: i64 = table.superuser.query_one("select blocked from rolegate.queues()", &[]).await.unwrap().get(0);
        assert_eq!(all, 0);
    })
    .await;
}

#[tokio::test]
async fn a_queue_has_as_many_places_as_it_says_for_all_workers() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        table.limits("concurrency => 3").await;
        for _ in 0..9 {
            table.enqueue("'{}'").await;
        }
        let second = db.connect_as("rolegate_worker").await;
        let (second_id, queue) = register(&second, "default").await;
        let mine = table.claim(2).await;
        let (theirs, _) = take(&second, second_id, &[queue], 10).await;
        assert_eq!((mine.len(), theirs.len()), (2, 1));
        assert!(table.claim(10).await.is_empty());
        table.finish(&mine[..1], 'c').await;
        assert_eq!(table.claim(10).await.len(), 1);
        // A worker that is given up gives its places back, and so does who is cancelled.
        let sql = "select rolegate.unregister_worker($1)";
        second.execute(sql, &[&second_id]).await.unwrap();
        assert_eq!(table.claim(10).await.len(), 1);
        table
            .run(&format!("select rolegate.cancel({})", mine[1].root))
            .await;
        assert_eq!(table.claim(10).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_rate_is_kept() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        // So slow that nothing more comes while the test runs.
        table.limits("rate => 0.001, burst => 3").await;
        for _ in 0..5 {
            table.enqueue("'{}'").await;
        }
        let (taken, _) = take(&table.worker, table.id, &[table.queue], 10).await;
        assert_eq!(taken.len(), 3, "the burst");
        let (none, again) = take(&table.worker, table.id, &[table.queue], 10).await;
        assert!(none.is_empty());
        let again = again.expect("when to look again");
        assert!((900_000..=1_000_000).contains(&again), "{again}");
        table.limits("rate => 0").await;
        assert_eq!(table.claim(10).await.len(), 2);

        // Of a key: each of those that come too early has a time of its own, in their order.
        table.limits("key_rate => 0.001, key_burst => 2").await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(table.enqueue("limit_key => 'a'").await);
        }
        let other = table.enqueue("limit_key => 'b'").await;
        assert_eq!(table.roots(10).await, [ids[0], ids[1], other]);
        let times = "select string_agg(format('%s %s', root, round(extract(epoch from run_at - now()) / 1000)), ',' order by root) from rolegate.job_deferred";
        assert_eq!(table.text(times).await, format!("{} 1,{} 2", ids[2], ids[3]));
        // Its time is paid for: it is not asked again when that has come.
        table.run("update rolegate.job_deferred set run_at = now()").await;
        let promote = "select rolegate.promote_jobs(10)";
        table.maintenance.execute(promote, &[]).await.unwrap();
        assert_eq!(table.roots(10).await, ids[2..]);
    })
    .await;
}

#[tokio::test]
async fn a_drained_queue_has_no_places_and_nobody_waits() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        table.limits("concurrency => 1, key_rate => 1").await;
        for key in [
            "ordering_key => 'a'",
            "ordering_key => 'a'",
            "limit_key => 'l'",
            "'{}'",
        ] {
            table.enqueue(key).await;
            table.enqueue(key).await;
        }
        let running = table.claim(10).await;
        assert_eq!(running.len(), 1);
        let mut drained = 0;
        loop {
            let sql = "select rolegate.drain_queue('default')";
            let some: i32 = table.superuser.query_one(sql, &[]).await.unwrap().get(0);
            if some == 0 {
                break;
            }
            drained += some;
        }
        assert_eq!(drained, 7);
        table.finish(&running, 'c').await;
        table.is_clear().await;
        let limits = "select limits from rolegate.queues()";
        assert_eq!(
            table.text(limits).await,
            r#"{"key_rate": 1, "concurrency": 1}"#
        );
        // Not after something that would be claimed and not seen to be.
        let mixed = "begin; select rolegate.enqueue('k'); select rolegate.drain_queue('default')";
        let refused = table.superuser.batch_execute(mixed).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::ACTIVE_SQL_TRANSACTION));
    })
    .await;
}

#[tokio::test]
async fn keys_and_limits_out_of_their_bounds_are_refused() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        for arguments in [
            "ordering_key => ''",
            "limit_key => repeat('x', 201)",
            "ordering_key => 'a', limit_key => 'a'",
        ] {
            let sql = format!("select rolegate.enqueue('k', {arguments})");
            let refused = table.producer.query_one(&sql, &[]).await.unwrap_err();
            let code = refused.code();
            assert_eq!(
                code,
                Some(&SqlState::INVALID_PARAMETER_VALUE),
                "{arguments}"
            );
        }
        for arguments in [
            "concurrency => -1",
            "rate => -0.5",
            "rate => 1e7",
            "key_burst => -1",
            "rate => 'nan'",
        ] {
            let sql = format!("select rolegate.set_queue_limits('default', {arguments})");
            let refused = table.superuser.query_one(&sql, &[]).await.unwrap_err();
            assert_eq!(
                refused.code(),
                Some(&SqlState::CHECK_VIOLATION),
                "{arguments}"
            );
        }
        // A producer changes no limits.
        let sql = "select rolegate.set_queue_limits('default', 1)";
        let refused = table.producer.query_one(sql, &[]).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    })
    .await;
}

#[tokio::test]
async fn nobody_waits_at_the_gate_and_nobody_is_forgotten_there() {
    for_each_version(async |db| {
        let table = Table::lay(db).await;
        let shut = format!(
            "select pg_advisory_lock(rolegate.gate_lock_key({}))",
            table.queue
        );
        let first = table.enqueue("ordering_key => 'a'").await;
        let second = table.enqueue("ordering_key => 'a'").await;
        table.run(&shut).await;
        let (none, again) = take(&table.worker, table.id, &[table.queue], 10).await;
        assert!(none.is_empty() && again.is_none(), "put aside: {again:?}");
        let (none, again) = take(&table.worker, table.id, &[table.queue], 10).await;
        assert!(none.is_empty() && again == Some(0), "not yet: {again:?}");
        table.run("select pg_advisory_unlock_all()").await;
        let running = table.claim(10).await;
        assert_eq!(running[0].root, first);

        // The same for who leaves a place.
        table.run(&shut).await;
        table.finish(&running, 'c').await;
        table.run("select pg_advisory_unlock_all()").await;
        assert_eq!(table.roots(10).await, [second]);
    })
    .await;
}
