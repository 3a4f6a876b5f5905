//! SQL over HTTP: who gets which rows, and what is never run.

mod arrow;
mod attacks;
mod bounds;
mod builtins;
mod callers;
mod calls;
mod differential;
mod doubt;
mod evaluations;
mod explain;
mod faults;
mod forms;
mod kept;
mod live;
mod origins;
mod packed;
mod relay;
mod schema;
mod scope;
mod several;
mod standby;
mod tenants;

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode};
use rolegate_server::config::Mode;
use rolegate_testkit::{Admitted, TestDatabase};
use serde_json::{Value, json};

use crate::harness::{Gateway, Options, api, outcome};

/// Tables for everybody, for members, and for members of one organization.
const TABLES: &str = "
    create table api.open (id int primary key, name text not null, at timestamptz);
    insert into api.open values (1, 'one', '2026-01-01 10:00+00'), (2, 'two', null);
    grant select on api.open to public;
    create table api.closed (id int primary key, secret text);
    insert into api.closed values (1, 'hidden treasure');
    grant select on api.closed to \"member\";
    create table api.docs (id int primary key, org int, title text);
    insert into api.docs select g, g % 2, 'title ' || g from generate_series(1, 4) g;
    alter table api.docs enable row level security;
    grant select on api.docs to public;
    create policy by_org on api.docs for select to \"member\" using (
        org = (select (rolegate.claims() ->> 'org')::int));
    create schema back;
    create table back.granted (id int);
    grant select on back.granted to public;
    create view api.through as select c.secret from api.closed c;
    grant select on api.through to public;
    create function api.plain(a int) returns int language sql immutable as 'select a + 1';
    create function api.reads() returns bigint language sql stable as 'select count(*) from api.open';
    create function api.secret_of(api.open) returns text language sql stable security definer
        as 'select secret from api.closed';
    revoke execute on function api.secret_of(api.open) from public;
";

struct Setting {
    gateway: Gateway,
    token: String,
    member: String,
}

impl Setting {
    async fn lay(db: &TestDatabase) -> Self {
        Self::lay_with(db, Options::default()).await
    }

    async fn lay_with(db: &TestDatabase, options: Options) -> Self {
        Self::lay_more(db, options, "").await
    }

    /// With more tables.
    async fn lay_more(db: &TestDatabase, options: Options, more: &str) -> Self {
        let (attributes, admitted) = match options.mode {
            Mode::Login => ("login", Admitted::Login),
            Mode::Assume => ("nologin", Admitted::Assume),
        };
        let member = db.create_role_with("member", attributes, admitted).await;
        let tables = TABLES.replace("\"member\"", &format!("\"{member}\""));
        let definitions = format!(
            "grant usage on schema api to public; {tables} {more}
             grant usage on schema rolegate to \"{member}\";"
        );
        api(db, &[&member], &definitions).await;
        let follow = options.follow;
        let gateway = Gateway::start_with(db, options).await;
        let token = gateway.token(&member).await;
        let setting = Self {
            gateway,
            token,
            member,
        };
        if follow {
            setting.until_kept().await;
        }
        setting
    }

    /// Nothing is kept while something of before the stream began still runs, in whatever database of the server. Not
    /// for long: some tests are about what keeps nothing.
    async fn until_kept(&self) {
        let kept = async {
            loop {
                let whole = self.ask(None, &json!({"sql": "select id from open"}));
                let whole = whole.header("prefer", "return=representation");
                let answer = whole.send().await.expect("an answer");
                let kept = answer.headers().contains_key("content-location");
                if kept || answer.status() != StatusCode::OK {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), kept).await;
    }

    fn ask(&self, token: Option<&str>, body: &Value) -> RequestBuilder {
        let url = format!("http://{}/query", self.gateway.address);
        let request = self
            .gateway
            .client
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string());
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Status, code and body for somebody without a token.
    async fn anonymous(&self, sql: &str) -> (u16, String, String) {
        outcome(self.ask(None, &json!({"sql": sql}))).await
    }

    /// The same for the member.
    async fn member(&self, sql: &str) -> (u16, String, String) {
        outcome(self.ask(Some(&self.token), &json!({"sql": sql}))).await
    }

    /// Whether the document that this caller gets has queries in it.
    async fn described(&self, token: Option<&str>) -> bool {
        let (status, _, body) = outcome(self.gateway.get("/openapi.json", token)).await;
        assert_eq!(status, 200, "{body}");
        body.contains("\"/query\":{")
    }

    /// The rows for the member.
    async fn rows(&self, body: &Value) -> Value {
        let answer = self
            .ask(Some(&self.token), body)
            .send()
            .await
            .expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert_eq!(status, StatusCode::OK, "{body}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }
}
