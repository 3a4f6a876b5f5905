//! Behind a transaction pooler every statement may be another connection's.

use rolegate_testkit::{TestDatabase, for_each_version};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::stage::Stage;

/// As somebody whom this connection has never seen.
async fn ask(db: &TestDatabase, role: &str, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
    let client = db.connect_as(role).await;
    client
        .query(sql, values)
        .await
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

#[tokio::test]
async fn every_statement_may_be_another_connections() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let (producer, worker) = (db.create_role("p").await, "rolegate_worker");
        stage
            .run(&format!("grant rolegate_producer to {producer}"))
            .await;
        for n in 1..=4 {
            let sql =
                "select rolegate.enqueue('x', to_jsonb($1::int), unique_key => $1::int::text)";
            ask(db, &producer, sql, &[&n]).await;
        }
        let sql = "select worker, queue_ids from rolegate.register_worker('w', '', '{default}')";
        let row = &ask(db, worker, sql, &[]).await[0];
        let (id, queues): (i64, Vec<i32>) = (row.get(0), row.get(1));
        let claim = "select claim, ordinal, claimed_at, root, flags \
                     from rolegate.claim_jobs($1, $2, 2) where claim is not null";
        let mut done = Vec::new();
        for _ in 0..2 {
            let rows = ask(db, worker, claim, &[&id, &queues]).await;
            let claims: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
            let ordinals: Vec<i16> = rows.iter().map(|row| row.get(1)).collect();
            let at: Vec<std::time::SystemTime> = rows.iter().map(|row| row.get(2)).collect();
            let flags: Vec<i16> = rows.iter().map(|row| row.get(4)).collect();
            done.extend(rows.iter().map(|row| row.get::<_, i64>(3)));
            let first = Some(claims[0]);
            let alive = ask(
                db,
                worker,
                "select rolegate.worker_alive($1, $2)",
                &[&id, &first],
            )
            .await;
            assert!(alive[0].get::<_, bool>(0));
            let finish = "select rolegate.finish_jobs($1, $2, $3, $4, null, null, $5)";
            let values: [&(dyn ToSql + Sync); 5] = [&id, &claims, &ordinals, &at, &flags];
            let refused: Vec<i32> = ask(db, worker, finish, &values).await[0].get(0);
            assert_eq!(refused, [0; 0]);
            let refused: Vec<i32> = ask(db, worker, finish, &values).await[0].get(0);
            assert_eq!(refused, [1, 2], "once");
        }
        done.sort_unstable();
        assert_eq!(done.len(), 4);
        done.dedup();
        assert_eq!(done.len(), 4);
        assert!(ask(db, worker, claim, &[&id, &queues]).await.is_empty());
        assert_eq!(
            stage
                .number("select count(*) from rolegate.job_unique")
                .await,
            0
        );
        let sql = "select rolegate.unregister_worker($1)";
        assert_eq!(ask(db, worker, sql, &[&id]).await[0].get::<_, i32>(0), 0);
    })
    .await;
}
