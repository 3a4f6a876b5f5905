//! Callbacks that nobody answers in time.

use std::time::Duration;

use rolegate_auth::callback::Action;
use rolegate_testkit::for_each_version;
use tokio_postgres::Client;

use crate::harness::{Desk, Receiver};

/// One pass of the maintenance: how many expired, and whether there is something to come.
async fn expire(maintenance: &Client) -> (i32, bool) {
    let sql = "select expired, next_at is not null from rolegate.expire_callbacks(100)";
    let row = maintenance.query_one(sql, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn a_timeout_is_a_failed_attempt() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let maintenance = db.connect_as("rolegate_maintenance").await;
        assert_eq!(expire(&maintenance).await, (0, false));
        let job = desk
            .job_of("select rolegate.enqueue('k', max_attempts => 2)")
            .await;
        let id = desk.register(&job, 0.05, true).await.unwrap();
        desk.park(&job).await;
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(expire(&maintenance).await, (1, true));
        assert_eq!(desk.place(job.root).await, "deferred 1");
        receiver
            .call(&id, Action::Complete, "")
            .await
            .refused(410, "callback_gone");

        // The last attempt; this time the callback is over before the job waits for it.
        let sql = "update rolegate.job_deferred set run_at = now()";
        desk.superuser.batch_execute(sql).await.unwrap();
        maintenance
            .query("select rolegate.promote_jobs(10)", &[])
            .await
            .unwrap();
        let job = desk.claim().await.expect("it is back");
        let id = desk.register(&job, 0.05, true).await.unwrap();
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(expire(&maintenance).await.0, 1);
        receiver
            .call(&id, Action::Complete, "")
            .await
            .refused(410, "callback_gone");
        desk.park(&job).await;
        assert_eq!(desk.place(job.root).await, "failed callback_timeout 2");
        assert_eq!(expire(&maintenance).await.0, 0, "once");
    })
    .await;
}

#[tokio::test]
async fn an_answer_before_the_maintenance_looks_is_in_time() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let job = desk.job().await;
        let id = desk.register(&job, 0.01, true).await.unwrap();
        desk.park(&job).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert_eq!(
            receiver.call(&id, Action::Complete, "").await.state(),
            "completed"
        );
        assert_eq!(expire(&maintenance).await.0, 0);
        assert_eq!(desk.place(job.root).await, "parked completed 0");
    })
    .await;
}

#[tokio::test]
async fn what_was_kept_long_enough_is_forgotten() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let maintenance = db.connect_as("rolegate_maintenance").await;
        let (_, answered) = desk.parked().await;
        receiver.call(&answered, Action::Complete, "").await.state();
        // Answered, and its attempt goes on: it must be there when the attempt asks.
        let early = desk.job().await;
        let id = desk.register(&early, 60.0, true).await.unwrap();
        receiver.call(&id, Action::Complete, "").await.state();
        // Open, of an attempt that has ended.
        let ended = desk.job().await;
        desk.register(&ended, 60.0, true).await.unwrap();
        assert!(desk.end(&ended, 'c', None).await);
        let past = "update rolegate.job_callback set look_at = now(), timeout_at = now(); \
                    update rolegate.job_parked set keep_until = now() where state = 'completed'";
        desk.superuser.batch_execute(past).await.unwrap();
        assert_eq!(expire(&maintenance).await, (0, true));
        let states = "select array_agg(state order by state) from rolegate.job_callback";
        assert_eq!(
            desk.value(states).await,
            serde_json::json!(["answered", "closed"])
        );
        assert_eq!(
            desk.value("select count(*) from rolegate.job_parked").await,
            0
        );
        receiver
            .call(&answered, Action::Complete, "")
            .await
            .refused(404, "callback_not_found");

        desk.park(&early).await;
        assert_eq!(desk.place(early.root).await, "parked completed 0");
        desk.superuser.batch_execute(past).await.unwrap();
        assert_eq!(expire(&maintenance).await, (0, false));
        assert_eq!(
            desk.value("select count(*) from rolegate.job_callback")
                .await,
            0
        );
    })
    .await;
}
