//! A gateway in a process that follows its database, and clients that watch.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Response;
use rolegate_server::config::LiveBounds;
use rolegate_testkit::identity_provider::{Algorithm, IdentityProvider};
use rolegate_testkit::{Admitted, TestDatabase};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::harness::{Gateway, Options, api};
use crate::identity::{ALGORITHMS, claims_with, fetched};

/// Longer than anything here takes.
pub(in crate::query) const LONG: Duration = Duration::from_secs(30);

/// Something for everybody, and something for members of an organization.
const TABLES: &str = "
    grant usage on schema api to public;
    create table api.open (id int primary key, name text not null);
    insert into api.open values (1, 'one'), (2, 'two');
    grant select on api.open to public;
    create table api.docs (id int primary key, org int not null, title text not null);
    insert into api.docs values (1, 1, 'a1'), (2, 2, 'b1');
    alter table api.docs enable row level security;
    grant select on api.docs to \"member\";
    create policy by_org on api.docs for select to \"member\"
        using (org = (select (rolegate.claims() ->> 'org')::int));
    grant usage on schema rolegate to \"member\";
";

/// A database, its stream, and a gateway that follows it.
pub(in crate::query) struct Stage {
    pub(in crate::query) gateway: Gateway,
    pub(in crate::query) superuser: Client,
    pub(in crate::query) member: String,
    provider: IdentityProvider,
}

impl Stage {
    pub(in crate::query) async fn set(db: &TestDatabase) -> Self {
        Self::set_with(db, Options::default()).await
    }

    pub(in crate::query) async fn set_with(db: &TestDatabase, options: Options) -> Self {
        let member = db
            .create_role_with("member", "login", Admitted::Login)
            .await;
        api(
            db,
            &[&member],
            &TABLES.replace("\"member\"", &format!("\"{member}\"")),
        )
        .await;
        let superuser = db.superuser().await;
        let provider = IdentityProvider::start(&ALGORITHMS)
            .await
            .expect("it starts");
        let options = Options {
            issuers: vec![fetched(&provider)],
            follow: true,
            ..options
        };
        Self {
            gateway: Gateway::start_with(db, options).await,
            superuser,
            member,
            provider,
        }
    }

    pub(in crate::query) async fn run(&self, sql: &str) {
        if let Err(error) = self.superuser.batch_execute(sql).await {
            panic!("{sql}: {error:?}");
        }
    }

    /// Runs it in a transaction of its own, and gives the lower half of its id.
    pub(in crate::query) async fn write(&self, sql: &str) -> u64 {
        let sql = format!("begin; select pg_current_xact_id()::text; {sql}; commit");
        let messages = match self.superuser.simple_query(&sql).await {
            Ok(messages) => messages,
            Err(error) => panic!("{sql}: {error:?}"),
        };
        let id = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        let id: u64 = id.expect("an id").parse().expect("a number");
        id & 0xFFFF_FFFF
    }

    /// A token of the member with these claims besides.
    pub(in crate::query) fn token(&self, claims: &Value) -> String {
        let claims = claims_with(&self.member, claims);
        self.provider.issue(Algorithm::ES256, claims)
    }

    /// A member of an organization.
    pub(in crate::query) fn member_of(&self, org: i32) -> String {
        self.token(&json!({"org": org}))
    }

    /// The answer to a request to watch.
    pub(in crate::query) async fn ask(
        &self,
        token: Option<&str>,
        body: &Value,
        last: Option<&str>,
    ) -> Response {
        let url = format!("http://{}/query?live=true", self.gateway.address);
        let mut request = self
            .gateway
            .client
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        request.send().await.expect("an answer")
    }

    pub(in crate::query) async fn watch(&self, token: Option<&str>, sql: &str) -> Watcher {
        self.watch_from(token, sql, None).await
    }

    pub(in crate::query) async fn watch_from(
        &self,
        token: Option<&str>,
        sql: &str,
        last: Option<&str>,
    ) -> Watcher {
        let response = self.ask(token, &json!({"sql": sql}), last).await;
        let status = response.status();
        let response = if status == 200 {
            response
        } else {
            panic!(
                "{sql}: {status} {}",
                response.text().await.unwrap_or_default()
            );
        };
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        Watcher::new(response)
    }

    /// Status and code of a refusal.
    pub(in crate::query) async fn refusal(&self, token: Option<&str>, sql: &str) -> (u16, String) {
        let response = self.ask(token, &json!({"sql": sql}), None).await;
        let status = response.status().as_u16();
        assert_ne!(status, 200, "{sql}");
        let body: Value = response.json().await.expect("a problem");
        (status, body["code"].as_str().expect("a code").to_owned())
    }

    /// What the query gives now, by `id`.
    pub(in crate::query) async fn rows(&self, sql: &str) -> BTreeMap<String, Value> {
        let sql = format!("select to_jsonb(q) from ({sql}) q");
        let rows = self.superuser.query(&sql, &[]).await.expect("rows");
        let rows = rows.iter().map(|row| row.get::<_, Value>(0));
        rows.map(|row| (row["id"].to_string(), row)).collect()
    }
}

/// One event.
#[derive(Debug, Clone)]
pub(in crate::query) struct Event {
    pub(in crate::query) name: String,
    pub(in crate::query) data: Value,
    pub(in crate::query) id: Option<String>,
}

/// A client that watches, and keeps the rows as a client does.
pub(in crate::query) struct Watcher {
    response: Response,
    received: String,
    /// Rows in their order, with their keys.
    pub(in crate::query) rows: Vec<(String, Value)>,
    ordered: bool,
    changes: Vec<Value>,
    /// Transactions it was told of.
    pub(in crate::query) txids: Vec<u64>,
    pub(in crate::query) last: Option<String>,
    pub(in crate::query) resets: Vec<String>,
}

impl Watcher {
    pub(in crate::query) fn new(response: Response) -> Self {
        Self {
            response,
            received: String::new(),
            rows: Vec::new(),
            ordered: false,
            changes: Vec::new(),
            txids: Vec::new(),
            last: None,
            resets: Vec::new(),
        }
    }

    /// Goes on with another answer, after the first has ended.
    pub(in crate::query) fn go_on(&mut self, response: Response) {
        self.response = response;
        self.received.clear();
        self.changes.clear();
    }

    /// The next event; `None` at the end.
    pub(in crate::query) async fn next(&mut self) -> Option<Event> {
        let event = timeout(LONG, async {
            loop {
                if let Some(end) = self.received.find("\n\n") {
                    let event: String = self.received.drain(..end + 2).collect();
                    if !event.starts_with(':') {
                        return Some(event);
                    }
                    continue;
                }
                let chunk = self.response.chunk().await.expect("a chunk")?;
                self.received.push_str(&String::from_utf8_lossy(&chunk));
            }
        });
        let text = event.await.expect("an event in time")?;
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        let event = Event {
            name: field("event").expect("a name").to_owned(),
            data: serde_json::from_str(field("data").expect("data")).expect("JSON"),
            id: field("id").map(str::to_owned),
        };
        self.take(&event);
        Some(event)
    }

    /// As a client does it.
    fn take(&mut self, event: &Event) {
        let data = &event.data;
        if event.id.is_some() {
            self.last.clone_from(&event.id);
        }
        match &*event.name {
            "snapshot" => {
                self.ordered = data["ordered"].as_bool().expect("a boolean");
                self.changes.clear();
                let rows = data["rows"].as_array().expect("rows").iter();
                let mut keys = data["keys"].as_array().expect("keys").iter();
                self.rows = rows
                    .map(|row| {
                        let key = keys.next().and_then(Value::as_str).expect("a key");
                        (key.to_owned(), row.clone())
                    })
                    .collect();
                assert_eq!(keys.next(), None);
                if let Some(key) = data["key"].as_array() {
                    assert!(self.rows.iter().all(|(own, row)| *own == key_of(row, key)));
                }
            }
            "change" => self.changes.push(data.clone()),
            "commit" => {
                self.apply();
                let xids = data["xids"].as_array().expect("xids").iter();
                self.txids.extend(xids.map(|xid| {
                    let xid: u64 = xid.as_str().expect("text").parse().expect("a number");
                    xid & 0xFFFF_FFFF
                }));
            }
            "reset" => {
                let reason = data["reason"].as_str().expect("a reason");
                self.resets.push(reason.to_owned());
            }
            "error" => {}
            other => panic!("{other}"),
        }
    }

    fn apply(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        let key = |change: &Value| change["key"].as_str().expect("a key").to_owned();
        for change in &changes {
            let key = key(change);
            if change["op"] == "insert" {
                assert!(!self.rows.iter().any(|(own, _)| *own == key), "{change}");
            }
            if change["op"] == "delete" || change.get("position").is_some() {
                self.rows.retain(|(own, _)| *own != key);
            }
        }
        for change in &changes {
            let row = (key(change), change["row"].clone());
            match (change["position"].as_u64(), &change["op"]) {
                (Some(place), _) => {
                    let place = usize::try_from(place).expect("a place");
                    self.rows.insert(place, row);
                }
                (None, op) if op == "insert" => self.rows.push(row),
                (None, op) if op == "update" => {
                    let mut rows = self.rows.iter_mut();
                    let own = rows.find(|(own, _)| *own == row.0).expect("a row");
                    *own = row;
                }
                _ => {}
            }
        }
    }

    /// The next event, which has this name.
    pub(in crate::query) async fn expect(&mut self, name: &str) -> Value {
        let event = self.next().await.expect("an event");
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }

    /// Events up to the one of this name, the last of which is given.
    pub(in crate::query) async fn until(&mut self, name: &str) -> Value {
        loop {
            let event = self.next().await.expect("an event");
            if event.name == name {
                return event.data;
            }
        }
    }

    /// Reads until the transaction has been told.
    pub(in crate::query) async fn sees(&mut self, txid: u64) {
        while !self.txids.contains(&txid) {
            let event = self.next().await.expect("an event");
            assert_ne!(event.name, "error", "{event:?}");
        }
    }

    /// One column of the rows.
    pub(in crate::query) fn column(&self, name: &str) -> Vec<Value> {
        self.rows.iter().map(|(_, row)| row[name].clone()).collect()
    }

    /// The rows, by `id`.
    pub(in crate::query) fn by_id(&self) -> BTreeMap<String, Value> {
        let rows = self.rows.iter();
        rows.map(|(_, row)| (row["id"].to_string(), row.clone()))
            .collect()
    }

    /// The group that it is of: the first half of cursors.
    pub(in crate::query) fn group(&self) -> String {
        let last = self.last.as_ref().expect("a cursor");
        last.split('-').next().expect("a group").to_owned()
    }

    /// It ends with this code.
    pub(in crate::query) async fn ends(&mut self, code: &str) {
        let problem = self.until("error").await;
        assert!(problem["message"].is_string(), "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
        assert!(self.next().await.is_none(), "that was the last");
    }
}

/// The value, or a JSON array of texts.
fn key_of(row: &Value, key: &[Value]) -> String {
    let value = |name: &Value| text(&row[name.as_str().expect("a name")]);
    match key {
        [one] => value(one),
        several => json!(several.iter().map(value).collect::<Vec<_>>()).to_string(),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Bounds of live queries but for these.
pub(in crate::query) fn with_bounds(live: LiveBounds) -> Options {
    Options {
        live,
        ..Options::default()
    }
}
