//! Tables whose rows are elsewhere: nobody tells when they change.

use reqwest::StatusCode;
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::{Kept, header};
use crate::harness::publish;

/// A file of the server is the rows.
const MORE: &str = "
    create extension file_fdw;
    create server files foreign data wrapper file_fdw;
    create foreign table api.away (version text) server files options (filename 'PG_VERSION');
    create foreign table api.away_closed (version text) server files options (filename 'PG_VERSION');
    create view api.through_away as select version from api.away;
    create table api.spread (version text, part int, primary key (version, part)) partition by list (part);
    create table api.spread_1 partition of api.spread for values in (1);
    insert into api.spread values ('here', 1);
    revoke all on api.away_closed from public;
    grant select on api.away, api.through_away, api.spread to public;
";

#[tokio::test]
async fn what_is_elsewhere_is_never_kept() {
    for_each_version(async |db| {
        let kept = Kept::lay(db).await;
        let owner = db.superuser().await;
        let here = "select exists (select from pg_available_extensions where name = 'file_fdw')";
        if !owner.query_one(here, &[]).await.expect("a row").get::<_, bool>(0) {
            // Without a handler nothing can be read, by nobody.
            kept.run(
                "create foreign data wrapper nothing; create server nowhere foreign data wrapper nothing;
                 create foreign table api.away (version text) server nowhere;
                 create foreign table api.away_closed (version text) server nowhere;
                 grant select on api.away to public",
            )
            .await;
            for sql in ["select version from away", "select version from away_closed"] {
                let answer = kept.ask(sql).await;
                assert!(answer.status().is_client_error(), "{sql}: {}", answer.status());
                assert_eq!(header(&answer, "cache-control"), "no-store", "{sql}");
            }
            return;
        }
        kept.run(MORE).await;
        // A part elsewhere: nothing of the table is published that could be told as if it were all of it.
        kept.run("alter table api.spread drop constraint spread_pkey").await;
        kept.run(
            "create foreign table api.spread_2 partition of api.spread for values in (2)
                 server files options (filename 'PG_VERSION')",
        )
        .await;
        publish(db).await;
        for sql in [
            "select version from away",
            "select version from through_away",
            "select a.version, i.note from away a join item i on i.id = 7",
            "select note from item where exists (select from away)",
            "select note from item, lateral (select version from away limit 0) a",
            "select version from spread where part = 1",
        ] {
            for _ in 0..2 {
                let answer = kept.ask(sql).await;
                let head = (answer.status(), header(&answer, "cache-control"), header(&answer, "location"));
                let text = answer.text().await.expect("text");
                assert_eq!(head, (StatusCode::OK, "no-store".to_owned(), String::new()), "{sql}: {text}");
            }
            let url = kept.url("/query?live=true");
            let live = kept.client.post(url).header("content-type", "application/json");
            let live = live.body(json!({"sql": sql}).to_string()).send().await;
            // A stream would not end.
            let status = live.expect("an answer").status();
            assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{sql}");
        }
        for sql in ["select version from away_closed", "select note from item where exists (select from away_closed)"] {
            let answer = kept.ask(sql).await;
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{sql}");
            let text = answer.text().await.expect("text");
            assert!(text.contains("query_private") && !text.contains("away_closed"), "{text}");
        }
    })
    .await;
}
