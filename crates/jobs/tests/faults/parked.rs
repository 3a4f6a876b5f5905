//! What waits for an answer from outside is rows: it outlives its worker, the leader, and the server.

use rolegate_jobs::maintenance;
use rolegate_testkit::Version;
use rolegate_testkit::own_server::OwnServer;

use super::stage::{Stage, eventually};

#[tokio::test]
async fn a_job_that_waits_for_an_answer_outlives_worker_and_server() {
    for version in Version::ALL {
        let mut server = OwnServer::new(version).await;
        let (root, callback, mut config) = {
            let stage = Stage::new(&server.db).await;
            let leader = stage.lead();
            let root = stage.enqueue("pay", 1).await[0];
            let worker = stage.worker().await;
            let id = stage.register(&worker).await;
            let job = stage.claim(&worker, id, 1).await.remove(0);
            let register = "select rolegate.register_callback($1, $2, $3, '1 hour')::text";
            let row = worker
                .query_one(register, &[&job.claim, &job.ordinal, &job.at])
                .await
                .unwrap();
            let callback: String = row.get(0);
            let park = "select rolegate.finish_jobs($1, array[$2::bigint], array[$3::smallint], \
                 array[$4::timestamptz], array['w']::\"char\"[], array[null]::jsonb[], \
                 array[0]::smallint[])";
            worker
                .query_one(park, &[&id, &job.claim, &job.ordinal, &job.at])
                .await
                .unwrap();
            assert!(leader.stop().await);
            (root, callback, stage.config())
        };
        // Its worker is gone without a word, and the server is killed.
        server.provisioned.cluster.kill().await.unwrap();
        server.provisioned.cluster.restart().await.unwrap();
        let superuser = server.db.superuser().await;
        let state = format!("select state = 'waiting_external' from rolegate.job({root})");
        eventually(&superuser, &state).await;
        // The leader finds that the worker has died, and takes nothing from it: the job is not with it any more.
        let dead = "update rolegate.job_worker set seen_at = now() - interval '1 hour'";
        superuser.batch_execute(dead).await.unwrap();
        // For whom the server's own absence does not count.
        config.silence = std::time::Duration::from_millis(1);
        let report = maintenance::tick(config).await.unwrap();
        assert_eq!((report.workers_rescued, report.jobs_rescued), (1, 0));
        eventually(&superuser, &state).await;
        // The answer counts, and the next worker goes on with it.
        let receiver = server.db.connect_as("rolegate_receiver").await;
        let resume = "select verdict from rolegate.callback_resume($1::text::uuid, '7', null)";
        let row = receiver.query_one(resume, &[&callback]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "not_resumable");
        let complete = "select verdict from rolegate.callback_complete($1::text::uuid, '7', null)";
        let row = receiver.query_one(complete, &[&callback]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "ok");
        let ended =
            format!("select state = 'completed' and output = '7' from rolegate.job({root})");
        eventually(&superuser, &ended).await;
        drop((superuser, receiver));
        server.stop().await;
    }
}
