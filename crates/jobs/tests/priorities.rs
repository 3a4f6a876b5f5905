//! Which of the jobs that wait is the next one.
#![allow(clippy::unwrap_used)]

mod stage;

use rolegate_testkit::for_each_version;
use stage::Stage;

/// A job of this priority that has waited for so long.
async fn waiting(stage: &Stage<'_>, priority: i32, seconds: f64) -> i64 {
    let sql = "select rolegate.enqueue('x', priority => $1)";
    let row = stage.producer.query_one(sql, &[&priority]).await.unwrap();
    let id: i64 = row.get(0);
    let sql = "update rolegate.job set enqueued_at = clock_timestamp() - $2 * interval '1 s' where id = $1";
    let changed = stage.superuser.execute(sql, &[&id, &seconds]).await;
    assert_eq!(changed.unwrap(), 1);
    id
}

async fn aging(stage: &Stage<'_>, seconds: i32) {
    let sql = format!("select rolegate.set_queue('default', aging => '{seconds} s')");
    stage.run(&sql).await;
}

/// Ids of all that wait, claimed one by one.
async fn order(stage: &Stage<'_>) -> Vec<i64> {
    let worker = stage.worker().await;
    let id = stage.register(&worker).await;
    let mut order = Vec::new();
    loop {
        let claimed = stage.claim(&worker, id, 1).await;
        if claimed.is_empty() {
            return order;
        }
        order.extend(claimed.iter().map(|job| job.id));
    }
}

#[tokio::test]
async fn without_aging_the_higher_priority_is_always_first() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        aging(&stage, 0).await;
        let mut wanted = Vec::new();
        // The lower, the longer it has waited.
        for priority in [4, 3, 2, 1] {
            let first = waiting(&stage, priority, 1e6 * f64::from(priority)).await;
            let second = waiting(&stage, priority, 0.0).await;
            wanted.splice(0..0, [first, second]);
        }
        assert_eq!(order(&stage).await, wanted);
    })
    .await;
}

/// A priority for each full `aging`, and among equals the one that was higher from the beginning: so one
/// of priority `p` is before a new one of `q` after `(p - q + 1)` times that.
#[tokio::test]
async fn a_job_is_before_new_ones_of_a_higher_priority_after_its_bound() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        aging(&stage, 100).await;
        for (priority, rival, bound) in [(4, 1, 400.0), (4, 3, 200.0), (2, 1, 200.0), (3, 1, 300.0)]
        {
            let below = waiting(&stage, priority, bound - 20.0).await;
            let fresh = waiting(&stage, rival, 0.0).await;
            let case = format!("{priority} against {rival}");
            assert_eq!(
                order(&stage).await,
                [fresh, below],
                "{case}, below its bound"
            );
            let above = waiting(&stage, priority, bound + 1.0).await;
            let fresh = waiting(&stage, rival, 0.0).await;
            assert_eq!(
                order(&stage).await,
                [above, fresh],
                "{case}, above its bound"
            );
        }
        // One that has waited as long is not overtaken.
        let low = waiting(&stage, 4, 4000.0).await;
        let high = waiting(&stage, 1, 3900.0).await;
        assert_eq!(order(&stage).await, [high, low]);
    })
    .await;
}
