//! Jobs so large that a worker could not have many of them at once.

use rolegate_testkit::for_each_version;

use super::stage::Stage;

/// A megabyte that can't be compressed to much less.
const LARGE: &str =
    "select to_jsonb(string_agg(md5(n::text || random()), '')) from generate_series(1, 32768) n";

#[tokio::test]
async fn a_claim_is_bounded_in_bytes_and_forgets_nothing() {
    for_each_version(async |db| {
        let mut stage = Stage::new(db).await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        let mut ids = Vec::new();
        for _ in 0..12 {
            let sql = format!("select rolegate.enqueue('large', ({LARGE}))");
            let row = stage.producer.query_one(&sql, &[]).await.unwrap();
            ids.push(row.get::<_, i64>(0));
        }
        ids.extend(stage.enqueue("small", 3).await);
        claim_all(&stage, &worker, id, &ids).await;

        // The same for those that come late: committed after others that were enqueued later.
        let late = stage.producer.transaction().await.unwrap();
        let mut ids = Vec::new();
        for _ in 0..12 {
            let sql = format!("select rolegate.enqueue('large', ({LARGE}))");
            let row = late.query_one(&sql, &[]).await.unwrap();
            ids.push(row.get::<_, i64>(0));
        }
        let sql = "select rolegate.enqueue('small')";
        stage.superuser.batch_execute(sql).await.unwrap();
        for _ in 0..3 {
            // So that the cursor knows that they are late.
            stage.superuser.batch_execute(sql).await.unwrap();
            assert!(!stage_claim(&stage.superuser, id).await.is_empty());
        }
        late.commit().await.unwrap();
        let row = stage.superuser.query_one(sql, &[]).await.unwrap();
        ids.push(row.get(0));
        claim_all(&stage, &worker, id, &ids).await;
    })
    .await;
}

async fn stage_claim(client: &tokio_postgres::Client, id: i64) -> Vec<i64> {
    let sql = "select root from rolegate.claim_jobs($1, array[1], 100) where claim is not null";
    let rows = client.query(sql, &[&id]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Each once, in order, and no more than five megabytes together.
async fn claim_all(stage: &Stage<'_>, worker: &tokio_postgres::Client, id: i64, ids: &[i64]) {
    let mut found = Vec::new();
    let mut claims = 0;
    while found.len() < ids.len() {
        let jobs = stage.claim(worker, id, 100).await;
        assert!(!jobs.is_empty(), "{found:?} of {ids:?}");
        let most = if claims == 0 { 5 } else { 8 };
        assert!(jobs.len() <= most, "{} at once", jobs.len());
        found.extend(jobs.iter().map(|job| job.id));
        stage.complete(worker, id, &jobs).await;
        claims += 1;
    }
    assert_eq!(found, ids);
    assert!(claims >= 3, "{claims}");
    assert!(stage.claim(worker, id, 100).await.is_empty());
}
