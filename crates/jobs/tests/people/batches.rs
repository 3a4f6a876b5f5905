//! Batches of operators.

use rolegate_testkit::for_each_version;
use tokio_postgres::error::SqlState;

use crate::stage::Stage;

async fn submit(stage: &Stage, arguments: &str) -> Result<i64, tokio_postgres::Error> {
    let sql = format!("select rolegate.submit_batch({arguments})");
    Ok(stage.operator.query_one(&sql, &[]).await?.get(0))
}

/// As the maintenance's login does, in parts of so many jobs.
async fn run(stage: &Stage, part: i32) {
    let sql = "select rolegate.run_batch($1)";
    for _ in 0..1000 {
        let row = stage.maintenance.query_one(sql, &[&part]).await.unwrap();
        if row.get::<_, Option<i32>>(0).is_none() {
            return;
        }
    }
    panic!("the batch does not end");
}

async fn text(stage: &Stage, sql: &str) -> String {
    let sql = format!("select ({sql})::text");
    stage.operator.query_one(&sql, &[]).await.unwrap().get(0)
}

const OF_KINDS: &str = "select string_agg(kind || ' ' || n, ',' order by kind) from (\
    select kind, count(*) as n from rolegate.list_jobs(only_state => 'available', max_rows => 1000) \
    group by kind) k";

#[tokio::test]
async fn a_batch_changes_what_its_filter_named_when_it_was_submitted() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let enqueue = "select count(rolegate.enqueue('k' || n % 3, \
            run_at => case when n % 5 = 0 then now() + interval '1 hour' end)) \
            from generate_series(1, 60) n";
        stage.alice.query_one(enqueue, &[]).await.unwrap();
        assert_eq!(text(&stage, "select jobs from rolegate.preview_batch('cancel', only_kind => 'k1')").await, "20");
        submit(&stage, "'cancel', only_kind => 'k1', reason => 'too many'").await.unwrap();
        // Not part of it.
        stage.alice.query_one("select rolegate.enqueue('k1')", &[]).await.unwrap();
        run(&stage, 7).await;
        assert_eq!(text(&stage, OF_KINDS).await, "k0 16,k1 1,k2 16");
        let said = "select format('%s %s %s %s %s', state, looked_at, changed, refused, ended_at is not null) from rolegate.batches()";
        assert_eq!(text(&stage, said).await, "done 20 20 0 t");
        let why = "select distinct reason from rolegate.list_jobs(only_state => 'cancelled')";
        assert_eq!(text(&stage, why).await, "too many");

        submit(&stage, "'retry', 'cancelled', to_priority => 1").await.unwrap();
        run(&stage, 100).await;
        assert_eq!(text(&stage, OF_KINDS).await, "k0 16,k1 21,k2 16");
        submit(&stage, "'move', 'available', only_kind => 'k2', to_priority => 4").await.unwrap();
        run(&stage, 3).await;
        let moved = "select count(*) from rolegate.list_jobs(only_kind => 'k2') where priority = 4";
        assert_eq!(text(&stage, moved).await, "16");
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_of_the_jobs_with_its_tag() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let enqueue = "select count(rolegate.enqueue('k' || n % 2, tags => array['of ' || n % 3])) \
            from generate_series(1, 30) n";
        stage.alice.query_one(enqueue, &[]).await.unwrap();
        let preview = "select format('%s %s', jobs, cardinality(newest)) \
            from rolegate.preview_batch('cancel', only_tag => 'of 1')";
        assert_eq!(text(&stage, preview).await, "10 10");
        submit(&stage, "'cancel', only_tag => 'of 1'").await.unwrap();
        submit(&stage, "'move', 'available', null, 'k0', 'of 2', to_priority => 4").await.unwrap();
        run(&stage, 7).await;
        let said = "select string_agg(format('%s %s %s', only_tag, state, changed), ',' order by id) \
            from rolegate.batches()";
        assert_eq!(text(&stage, said).await, "of 1 done 10,of 2 done 5");
        let left = "select string_agg(distinct format('%s %s', j.tags[1], j.state), ',') \
            from rolegate.list_jobs() l, rolegate.job(l.id) j";
        assert_eq!(text(&stage, left).await, "of 0 available,of 1 cancelled,of 2 available");
        let moved = "select string_agg(distinct concat(l.kind, j.tags), ',') \
            from rolegate.list_jobs() l, rolegate.job(l.id) j where l.priority = 4";
        assert_eq!(text(&stage, moved).await, "k0{\"of 2\"}");
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_stopped_where_it_is() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let enqueue = "select count(rolegate.enqueue('k')) from generate_series(1, 50)";
        stage.alice.query_one(enqueue, &[]).await.unwrap();
        let id = submit(&stage, "'cancel', only_kind => 'k'").await.unwrap();
        stage
            .maintenance
            .execute("select rolegate.run_batch(20)", &[])
            .await
            .unwrap();
        let stop = format!("select rolegate.stop_batch({id})");
        assert_eq!(text(&stage, &stop).await, "true");
        assert_eq!(text(&stage, &stop).await, "false");
        run(&stage, 20).await;
        assert_eq!(text(&stage, OF_KINDS).await, "k 30");
        let said = "select format('%s %s', state, changed) from rolegate.batches()";
        assert_eq!(text(&stage, said).await, "cancelled 20");
    })
    .await;
}

#[tokio::test]
async fn a_job_that_somebody_decides_about_is_waited_for_and_not_left_out() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        let enqueue = "select rolegate.enqueue('k') from generate_series(1, 3)";
        let rows = stage.alice.query(enqueue, &[]).await.unwrap();
        let middle: i64 = rows[1].get(0);
        submit(&stage, "'cancel', only_kind => 'k'").await.unwrap();
        let mut other = db.superuser().await;
        let holds = other.transaction().await.unwrap();
        holds
            .execute("select rolegate.move_job($1, priority => 1)", &[&middle])
            .await
            .unwrap();
        stage
            .maintenance
            .execute("select rolegate.run_batch(10)", &[])
            .await
            .unwrap();
        let open = "select format('%s %s', state, changed) from rolegate.batches()";
        assert_eq!(text(&stage, open).await, "running 0", "the lane is held");
        holds.rollback().await.unwrap();
        run(&stage, 10).await;
        assert_eq!(text(&stage, open).await, "done 3");
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_everything_or_of_nonsense_is_refused_and_a_producer_has_none() {
    for_each_version(async |db| {
        let stage = Stage::set(db).await;
        for arguments in [
            "'cancel'",
            "'burn', only_kind => 'k'",
            "'cancel', 'completed'",
            "'retry', 'available'",
            "'move', 'running', to_priority => 1",
            "'move', 'available'",
            "'move', 'available', to_priority => 5",
            "'cancel', only_kind => 'k', to_priority => 1",
        ] {
            let refused = submit(&stage, arguments).await.unwrap_err();
            assert_eq!(
                refused.code(),
                Some(&SqlState::INVALID_PARAMETER_VALUE),
                "{arguments}"
            );
        }
        let refused = submit(&stage, "'cancel', only_queue => 'nowhere'")
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::UNDEFINED_OBJECT));
        let sql = "select rolegate.submit_batch('cancel', only_kind => 'k')";
        let refused = stage.alice.query_one(sql, &[]).await.unwrap_err();
        assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
        // What it may for a batch the maintenance may not for itself.
        for sql in [
            "select rolegate.cancel(1)",
            "select * from rolegate.list_jobs()",
            "select rolegate.job(1)",
        ] {
            let refused = stage.maintenance.query(sql, &[]).await.unwrap_err();
            assert_eq!(
                refused.code(),
                Some(&SqlState::INSUFFICIENT_PRIVILEGE),
                "{sql}"
            );
        }
    })
    .await;
}
