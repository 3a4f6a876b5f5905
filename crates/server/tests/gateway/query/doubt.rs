//! After a gap in the stream somebody has to look before anything can be kept; nobody waits long for that.

use rolegate_replication::{Epoch, Lsn, Why};
use rolegate_testkit::for_each_version;
use serde_json::json;
use tokio::time::timeout;

use super::Setting;
use super::live::stage::LONG;
use crate::harness::{Options, RelayPart, publish};

/// A look takes seconds if the stream stands still, and only one looks at a time.
#[tokio::test]
async fn nobody_waits_for_all_who_look_before_him() {
    for_each_version(async |db| {
        let options = Options {
            relay: Some(RelayPart::Hears),
            ..Options::default()
        };
        let setting = Setting::lay_with(db, options).await;
        publish(db).await;
        let feed = setting.gateway.feed.clone().expect("a feed");
        feed.begins(&Epoch::new("00ab34cd56ef7890"), Lsn(1), Why::Began);
        feed.follows();
        let ask = async |number: usize| {
            let sql = format!("select {number} as a, id from open where id = 1");
            let post = setting.ask(None, &json!({"sql": sql}));
            let answer = post.header("prefer", "return=representation").send().await;
            let answer = answer.expect("an answer");
            assert_eq!(answer.status(), 200);
            let kept = answer.headers().contains_key("content-location");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            let text = answer.text().await.expect("text");
            assert_eq!(text, format!("[{{\"a\":{number},\"id\":1}}]"));
            kept
        };
        // One after the other they would look for longer than that.
        let asked = futures_util::future::join_all((0..16).map(ask));
        let kept = timeout(LONG, asked).await.expect("answered");
        assert!(!kept.contains(&true), "nobody knows what is current");
        // It goes on.
        feed.pass(Lsn(u64::MAX / 2));
        let kept = async { while !ask(99).await {} };
        timeout(LONG, kept).await.expect("kept");
    })
    .await;
}
