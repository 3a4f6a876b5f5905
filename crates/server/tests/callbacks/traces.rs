//! The request that enqueued a job, its attempts and its answer are found under one trace.

use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use crate::harness::Desk;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn an_answer_has_the_trace_of_its_job() {
    for_each_version(async |db| {
        let desk = Desk::open(db).await;
        let receiver = db.connect_as("rolegate_receiver").await;
        for (trace, expected) in [
            (TRACE, json!(TRACE)),
            // A producer wrote it: what is none is not shown.
            ("who\nknows", Value::Null),
        ] {
            for parked in [true, false] {
                for call in [
                    "callback_complete($1::text::uuid, '1', null)",
                    "callback_resume($1::text::uuid, '1', null)",
                    "callback_fail($1::text::uuid, 'no', true, null)",
                ] {
                    let enqueue = format!(
                        "select rolegate.enqueue('k', trace => e'{}')",
                        trace.escape_debug()
                    );
                    let attempt = desk.job_of(&enqueue).await;
                    let callback = desk.register(&attempt, 3600.0, true).await.unwrap();
                    if parked {
                        desk.park(&attempt).await;
                    }
                    let sql = format!("select to_jsonb(v) from rolegate.{call} v");
                    let row = receiver.query_one(&sql, &[&callback]).await.unwrap();
                    let verdict: Value = row.get(0);
                    assert_eq!(verdict["verdict"], "ok", "{verdict}");
                    assert_eq!(
                        verdict["trace"], expected,
                        "{call} parked {parked}: {verdict}"
                    );
                    assert_eq!(verdict["job"], attempt.root, "{verdict}");
                    // What is known of it does not come twice.
                    let row = receiver.query_one(&sql, &[&callback]).await.unwrap();
                    assert_eq!(row.get::<_, Value>(0)["trace"], Value::Null);
                    if !parked {
                        desk.park(&attempt).await;
                    }
                    while let Some(again) = desk.claim().await {
                        desk.end(&again, 'c', None).await;
                    }
                }
            }
        }
    })
    .await;
}
