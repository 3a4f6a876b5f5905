//! The engine under another name.

use reqwest::StatusCode;
use reqwest::redirect::Policy;
use rolegate_roles::{Names, bootstrap, migrate};
use rolegate_testkit::for_each_version;

use super::live::stage::LONG;
use crate::harness::{Gateway, Options, api};

/// The publication is called like the engine's schema, and nothing is kept of what is not published.
#[tokio::test]
async fn answers_are_kept_whatever_the_engines_schema_is_called() {
    for_each_version(async |db| {
        let names = Names::new("gate", "rolegate").expect("names");
        let superuser = db.superuser().await;
        bootstrap::apply(&superuser, &names)
            .await
            .expect("bootstrap");
        let mut migrator = db.connect_as("rolegate_migrator").await;
        migrate::run(&mut migrator, &names).await.expect("migrate");
        let table = "grant usage on schema api to public;
            create table api.open (id int primary key);
            insert into api.open values (1);
            grant select on api.open to public";
        api(db, &[], table).await;
        let gateway = Gateway::start_with(
            db,
            Options {
                engine_schema: "gate",
                follow: true,
                ..Options::default()
            },
        )
        .await;
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .expect("a client");
        let asked = client
            .post(format!("http://{}/query", gateway.address))
            .header("content-type", "application/json")
            .body(r#"{"sql": "select id from open"}"#);
        // Nothing is kept while something of before the stream began still runs on the server.
        let kept = async {
            loop {
                let asked = asked.try_clone().expect("a copy");
                let answer = asked.send().await.expect("an answer");
                if answer.status() != StatusCode::OK {
                    break (answer.status(), answer.text().await.expect("text"));
                }
            }
        };
        let (status, text) = tokio::time::timeout(LONG, kept).await.expect("kept");
        assert_eq!(status, StatusCode::SEE_OTHER, "{text}");
    })
    .await;
}
