//! Unique keys that are made of what two jobs have in common: the same from SQL and from Rust.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::Duration;

use rolegate_jobs::{Enqueue, EnqueueCopy, EnqueueError, UniqueBy};
use rolegate_testkit::for_each_version;
use serde_json::json;
use stage::Stage;

#[tokio::test]
async fn a_key_is_the_same_for_the_same_and_another_for_another() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        let key = async |arguments: &str| -> String {
            let sql = format!("select rolegate.unique_key({arguments})");
            stage.producer.query_one(&sql, &[]).await.unwrap().get(0)
        };
        let same = [
            r#"'k', '{"a": 1, "b": [1, {"c": "\u00e9", "d": null}]}', 'q'"#,
            r#"'k', '{ "b":[1,{"d":null,"c":"é"}], "a":1 }', 'q'"#,
            r#"kind => 'k', queue => 'q', args => '{"a": 1, "a": 1, "b": [1, {"c": "é", "d": null}]}'"#,
        ];
        let first = key(same[0]).await;
        assert_eq!(first.len(), 64);
        for arguments in same {
            assert_eq!(key(arguments).await, first, "{arguments}");
        }
        let mut others = vec![first];
        for arguments in [
            "'k'",
            "'K'",
            "'k', 'null'",
            "'k', '{}'",
            "'k', '[]'",
            "'k', '\"\"'",
            "'k', '\"q\"'",
            "'k', queue => 'q'",
            "'k', queue => ''",
            "'k', '{}', 'q'",
            r#"'k', '{"a": 1, "b": [{"c": "é", "d": null}, 1]}', 'q'"#,
            "'k', period => '1 day', at => '2026-03-01 12:00+00'",
            "'k', period => '1 day', at => '2026-03-02 12:00+00'",
            "'k', period => '2 days', at => '2026-03-01 12:00+00'",
            "'k', period => '1 hour', at => '2026-03-01 12:00+00'",
        ] {
            let made = key(arguments).await;
            assert!(!others.contains(&made), "{arguments}");
            others.push(made);
        }
        let long = "'k', to_jsonb(repeat('x', 100000))";
        assert_eq!(key(long).await.len(), 64);
        // From midnight to midnight in UTC, whatever the session's zone.
        stage.producer.batch_execute("set timezone = 'Asia/Kolkata'").await.unwrap();
        let at = |time: &str| format!("'k', period => '1 day', at => '{time}+00'");
        let day = key(&at("2026-03-01 00:00:00")).await;
        assert_eq!(key(&at("2026-03-01 23:59:59.999")).await, day);
        assert_ne!(key(&at("2026-03-02 00:00:00")).await, day);
        assert_ne!(key(&at("2026-02-28 23:59:59.999")).await, day);
        for wrong in [
            "null",
            "'k', period => '0'",
            "'k', period => '-1 s'",
            "'k', period => '101 years'",
            "'k', period => '1 day', at => 'infinity'",
        ] {
            let sql = format!("select rolegate.unique_key({wrong})");
            let error = stage.producer.query(&sql, &[]).await.unwrap_err();
            assert_eq!(error.code().unwrap().code(), "22023", "{wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn rust_and_sql_make_the_same_key() {
    for_each_version(async |db| {
        let stage = Stage::new(db).await;
        stage.run("select rolegate.create_queue('other')").await;
        let args = json!({"b": [1.50, {"z": 1, "a": null}], "a": "x"});
        let job = |by: UniqueBy| Enqueue::of("k", &args).unique_by(by).or_existing();
        let first = job(UniqueBy::kind().args()).send(&stage.producer).await.unwrap();
        let again = job(UniqueBy::kind().args()).priority(1).send(&stage.producer).await.unwrap();
        assert_eq!(again, first);
        let sql = "select rolegate.enqueue('k', $1, on_conflict => 'existing', \
                   unique_key => rolegate.unique_key('k', $1))";
        let from_sql: i64 = stage.producer.query_one(sql, &[&args]).await.unwrap().get(0);
        assert_eq!(from_sql, first);
        // Without the arguments they don't count, and with the queue another one is another one.
        let kind = job(UniqueBy::kind()).send(&stage.producer).await.unwrap();
        let other = Enqueue::of("k", &1).unique_by(UniqueBy::kind()).or_existing();
        assert_eq!(other.send(&stage.producer).await.unwrap(), kind);
        let by = UniqueBy::kind().args().queue();
        let here = job(by).send(&stage.producer).await.unwrap();
        let there = job(by).queue("other").send(&stage.producer).await.unwrap();
        assert_ne!(here, there);
        let named = job(by).queue("default").send(&stage.producer).await.unwrap();
        assert_eq!(named, here, "the queue where nothing is said");
        let daily = UniqueBy::kind().period(Duration::from_hours(24));
        let daily = job(daily).send(&stage.producer).await.unwrap();
        let sql = "select rolegate.enqueue('k', unique_key => rolegate.unique_key('k', period => '1 day'), \
                   on_conflict => 'existing')";
        let from_sql: i64 = stage.producer.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(from_sql, daily);
        let refused = Enqueue::of("k", &args).unique_by(UniqueBy::kind().args());
        assert!(refused.send(&stage.producer).await.unwrap_err().is_duplicate());

        let mut copy = EnqueueCopy::start(&stage.producer).await.unwrap();
        let refused = copy.add(job(UniqueBy::kind())).await.unwrap_err();
        assert!(matches!(refused, EnqueueError::UniqueBy), "{refused}");
    })
    .await;
}
