//! What calls write to the server's log: an operator at three in the morning reads it, and a line
//! for each good call would fill the disk.

use rolegate_pg::quote;
use rolegate_testkit::for_each_version;
use tokio::time::Duration;

use super::{MODES, tenants};
use crate::harness::text;

#[tokio::test]
async fn good_calls_write_nothing_to_the_servers_log() {
    for_each_version(async |db| {
        let superuser = db.superuser().await;
        for mode in MODES {
            let tenants = tenants(db, mode, |demo, _| {
                format!(
                    "create table api.notes (id int primary key, of int); \
                     grant select, insert on api.notes to {}; \
                     create function api.note(id int) returns int language sql volatile as \
                     $$insert into api.notes values (id) returning id$$; \
                     create function api.count() returns bigint language sql stable as \
                     $$select count(*) from api.notes$$",
                    quote::ident(demo)
                )
            })
            .await;
            let lines = || {
                let log = std::fs::read(db.cluster().directory.join("server.log")).expect("the log");
                String::from_utf8_lossy(&log)
                    .lines()
                    .filter(|line| line.contains(&format!("@{} ", db.name())))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            let before = lines().len();
            let call = async |function: &str, body: &str| {
                let path = format!("/{function}");
                let token = Some(tenants.demo_token.as_str());
                let (status, body) = text(tenants.gateway.post(&path, token, body)).await;
                assert_eq!(status.as_u16(), 200, "{body}");
            };
            call("note", r#"{"id": 1}"#).await;
            call("count", "").await;
            // With something that may wait for the commit, the transaction is another one.
            let deferred = "alter table api.notes add foreign key (of) references api.notes \
                            deferrable initially deferred; \
                            create function api.seen() returns int language sql stable as 'select 1'";
            superuser.batch_execute(deferred).await.expect("a superuser may");
            let token = Some(tenants.demo_token.as_str());
            while text(tenants.gateway.post("/seen", token, "")).await.0 != 200 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            call("note", r#"{"id": 2}"#).await;
            call("count", "").await;
            assert_eq!(lines()[before..], Vec::<String>::new(), "{mode:?}");
                    }
    })
    .await;
}
