//! Where nobody may know which cluster this is, the queue works, and nothing is taken for restored.
#![allow(clippy::unwrap_used)]

mod stage;

use rolegate_testkit::for_each_version;
use stage::{Stage, eventually};

#[tokio::test]
async fn without_the_identifier_of_the_cluster_jobs_run() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let known = "select count(*) from rolegate.system_identifier() s where s is not null";
        assert_eq!(stage.number(known).await, 1);
        // As on servers of some providers.
        stage
            .run("revoke execute on function pg_catalog.pg_control_system() from public")
            .await;
        assert_eq!(stage.number(known).await, 0);
        // With it, this would be another cluster's ring, which the leader takes over.
        stage
            .run("update rolegate.job_cluster set system_identifier = 1")
            .await;
        // Whoever starts first looks whether this is the cluster of the rows; here nobody can tell.
        let leader = stage.lead();
        eventually(
            &stage.superuser,
            "select leads from rolegate.maintenance_leader()",
        )
        .await;
        let worker = stage.worker().await;
        let id = stage.register(&worker).await;
        stage.enqueue("k", 3).await;
        let jobs = stage.claim(&worker, id, 10).await;
        assert_eq!(jobs.len(), 3);
        stage.complete(&worker, id, &jobs).await;
        assert!(stage.claim(&worker, id, 10).await.is_empty());
        let kept = "select system_identifier from rolegate.job_cluster";
        assert_eq!(stage.number(kept).await, 1);
        assert!(leader.stop().await);
    })
    .await;
}
