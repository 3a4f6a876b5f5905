//! What listeners are told.
#![allow(clippy::unwrap_used)]

mod stage;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rolegate_jobs::{Context, Enqueue, Handlers, Job, Outcome, What, Worker, WorkerConfig};
use rolegate_pg::EngineSql;
use rolegate_pg::wire::Login;
use rolegate_testkit::for_each_version;
use stage::{Stage, pause};

type Heard = Arc<Mutex<Vec<(String, What, u16)>>>;

async fn until(heard: &Heard, kind: &str, wanted: &[(What, u16)]) {
    let of_kind = || -> Vec<(What, u16)> {
        let heard = heard.lock().unwrap();
        let own = heard.iter().filter(|event| event.0 == kind);
        own.map(|event| (event.1, event.2)).collect()
    };
    for _ in 0..1000 {
        if of_kind().len() >= wanted.len() {
            break;
        }
        pause(10).await;
    }
    assert_eq!(of_kind(), wanted, "{kind}");
}

#[tokio::test]
async fn listeners_hear_what_happens_to_each_attempt() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let heard = Heard::default();
        let noted = Arc::clone(&heard);
        let again = || Outcome::Retry {
            error: "not yet".into(),
            after: Some(Duration::ZERO),
        };
        let handlers = Handlers::default()
            .function("completes", |(): (), _| async {
                Outcome::completed().then(Enqueue::of("fails", &()))
            })
            .function("fails", |(): (), _| async { Outcome::failed("no") })
            .function("exhausts", move |(): (), _| async move { again() })
            .function_in("stops", |(): (), _: Job, context: Context| async move {
                context.cancelled().await;
                Outcome::completed()
            })
            .on_event(|_| panic!("a listener of no use"))
            .on_event(move |event| {
                let event = (event.kind.to_string(), event.what, event.attempt);
                noted.lock().unwrap().push(event);
            });
        let config = WorkerConfig {
            pulse: Duration::from_millis(200),
            ..WorkerConfig::default()
        };
        let login = Login::peer("rolegate_worker");
        let sql = EngineSql::new("rolegate");
        let worker = Worker::start(&db.wire_endpoint(), &login, &sql, handlers, config)
            .await
            .unwrap();
        Enqueue::of("completes", &())
            .send(&stage.producer)
            .await
            .unwrap();
        let job = Enqueue::of("exhausts", &()).max_attempts(2);
        job.send(&stage.producer).await.unwrap();
        let stopped = Enqueue::of("stops", &())
            .send(&stage.producer)
            .await
            .unwrap();
        until(
            &heard,
            "completes",
            &[(What::Started, 1), (What::Completed, 1)],
        )
        .await;
        until(&heard, "fails", &[(What::Started, 1), (What::Failed, 1)]).await;
        let wanted = [
            (What::Started, 1),
            (What::Retried, 1),
            (What::Started, 2),
            (What::Exhausted, 2),
        ];
        until(&heard, "exhausts", &wanted).await;
        until(&heard, "stops", &[(What::Started, 1)]).await;
        stage
            .run("select rolegate.abandon_worker(id) from rolegate.job_worker")
            .await;
        let wanted = [(What::Started, 1), (What::Stopped, 1), (What::Rescued, 2)];
        until(&heard, "stops", &wanted).await;
        stage
            .producer
            .execute("select rolegate.cancel($1)", &[&stopped])
            .await
            .unwrap();
        let wanted = [
            (What::Started, 1),
            (What::Stopped, 1),
            (What::Rescued, 2),
            (What::Stopped, 2),
        ];
        until(&heard, "stops", &wanted).await;
        assert!(worker.stop().await);
    })
    .await;
}
