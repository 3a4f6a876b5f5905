//! The database goes away under load: every request gets an answer, none is run twice, and the
//! gateway recovers by itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rolegate_pg::wire::{Endpoint, TlsMode};
use rolegate_testkit::{FaultProxy, for_each_version};

use crate::harness::{Gateway, Options, api};

const CALLERS: usize = 16;
const CALLS: usize = 40;

#[tokio::test]
async fn every_request_is_answered_and_none_runs_twice() {
    for_each_version(async |db| {
        let role = db.create_role("caller").await;
        api(
            db,
            &[&role],
            &format!(
                "create table app_calls (id text); grant select, insert on app_calls to \"{role}\"; \
                 create function api.note(id text) returns void language sql \
                     as 'insert into public.app_calls values (id)';"
            ),
        )
        .await;
        let direct = db.wire_endpoint();
        let proxy = FaultProxy::unix(direct.address.clone()).expect("a proxy");
        let endpoint = Endpoint {
            address: proxy.address(),
            tls: TlsMode::Disable,
            database: direct.database.clone(),
        };
        let options = Options { endpoint: Some(endpoint), ..Options::default() };
        let gateway = Gateway::start_with(db, options).await;
        let token = gateway.token(&role).await;

        let callers = (0..CALLERS).map(async |caller| {
            let mut answers = Vec::new();
            for call in 0..CALLS {
                let id = format!("{caller}-{call}");
                let (status, body) = gateway.call(&token, "note", &format!(r#"["{id}"]"#)).await;
                answers.push((id, status.as_u16(), body));
            }
            answers
        });
        let cuts = async {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(40)).await;
                proxy.cut_all().await;
            }
        };
        let (answers, ()) = tokio::join!(futures_util::future::join_all(callers), cuts);

        // Whatever happened, the next call works soon.
        let start = Instant::now();
        while gateway.call(&token, "note", r#"["last"]"#).await.0 != 200 {
            assert!(start.elapsed() < Duration::from_secs(2), "the pool did not recover");
        }
        let rows = db
            .superuser()
            .await
            .query("select id, count(*) from app_calls group by id", &[])
            .await
            .expect("counted");
        let counts: BTreeMap<String, i64> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        assert_eq!(answers.len(), CALLERS * CALLS);
        let mut lost = 0;
        for (id, status, body) in &answers {
            let ran = counts.get(id).copied().unwrap_or(0);
            assert!(ran <= 1, "{id} ran {ran} times");
            match status {
                200 => assert_eq!(ran, 1, "{id} was answered and not run"),
                503 if body.contains("Nothing was run") => {
                    assert_eq!(ran, 0, "{id} ran although the answer denies it");
                    lost += 1;
                }
                503 => lost += 1,
                other => panic!("{id}: {other} {body}"),
            }
        }
        // The test would prove nothing if no call had been hit.
        assert!(lost > 0, "no call was cut off");
    })
    .await;
}
