//! A receiver for one test, and jobs that wait for it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::HeaderMap;
use rolegate_auth::callback::{
    Action, Call, Key, SIGNATURE_HEADER, TIMESTAMP_HEADER, Verifier, callback_url, sign,
};
use rolegate_model::{Clock as _, SystemClock};
use rolegate_pg::own::OwnPool;
use rolegate_pg::wire::Login;
use rolegate_server::callbacks::{Callbacks, CallbacksConfig, Callers};
use rolegate_testkit::TestDatabase;
use serde_json::Value;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

pub(crate) const PREFIX: &str = "/api/callbacks";

/// A surface that is being served.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) client: reqwest::Client,
    /// The receiver's connections.
    pub(crate) pool: OwnPool,
    stop: CancellationToken,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What a call got.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}"));
        Self {
            status,
            headers,
            body,
        }
    }

    /// The state of the job, of a call that counted now.
    pub(crate) fn state(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        assert!(!self.is_replay(), "{self:?}");
        self.body["state"].as_str().unwrap()
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.headers.contains_key("idempotency-replayed")
    }

    /// Checks that it is a refusal as documented.
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.body["code"].as_str()),
            (status, Some(code)),
            "{self:?}"
        );
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["error"], self.body["title"], "the peer's member");
        assert_eq!(
            self.body["request_id"],
            self.headers["x-request-id"].to_str().unwrap()
        );
    }
}

pub(crate) fn key(id: &str, byte: u8) -> Key {
    Key::new(id, [byte; 32]).unwrap()
}

/// The key that calls of these tests are signed with.
pub(crate) fn current() -> Key {
    key("current", 7)
}

pub(crate) fn verifier() -> Verifier {
    Verifier::new(vec![key("old", 6), current()]).unwrap()
}

pub(crate) fn now() -> u64 {
    u64::try_from(SystemClock.now().as_second()).unwrap()
}

pub(crate) fn config(callers: Callers) -> CallbacksConfig {
    CallbacksConfig {
        bind: SocketAddr::from(([127, 0, 0, 1], 0)),
        prefix: PREFIX.to_owned(),
        callers,
        max_body_bytes: 4096,
        body_timeout: Duration::from_millis(500),
        max_connections: 64,
    }
}

impl Receiver {
    pub(crate) async fn start(db: &TestDatabase) -> Self {
        Self::start_with(db, config(Callers::Signed(verifier()))).await
    }

    pub(crate) async fn start_with(db: &TestDatabase, config: CallbacksConfig) -> Self {
        let login = Login::peer("rolegate_receiver");
        let endpoint = db.wire_endpoint();
        let bound = Callbacks::bind(config, &endpoint, &login, "rolegate", Arc::new(SystemClock));
        let callbacks = bound.await.expect("it binds");
        let (address, stop) = (callbacks.address(), CancellationToken::new());
        let pool = callbacks.pool().clone();
        tokio::spawn(callbacks.serve(stop.clone()));
        Self {
            address,
            client: reqwest::Client::new(),
            pool,
            stop,
        }
    }

    pub(crate) fn url(&self, id: &str, action: Action) -> String {
        callback_url(&format!("http://{}", self.address), PREFIX, id, action)
    }

    /// A call without a signature.
    pub(crate) fn bare(&self, id: &str, action: Action, body: &str) -> reqwest::RequestBuilder {
        self.client
            .post(self.url(id, action))
            .header("content-type", "application/json")
            .body(body.to_owned())
    }

    /// A call that is signed now.
    pub(crate) async fn call(&self, id: &str, action: Action, body: &str) -> Answer {
        self.call_at(id, action, body, now()).await
    }

    pub(crate) async fn call_at(&self, id: &str, action: Action, body: &str, at: u64) -> Answer {
        let signature = signature(&current(), id, action, body, at);
        let request = self
            .bare(id, action, body)
            .header(SIGNATURE_HEADER, signature)
            .header(TIMESTAMP_HEADER, at);
        Answer::of(request.send().await.unwrap()).await
    }
}

pub(crate) fn signature(key: &Key, id: &str, action: Action, body: &str, at: u64) -> String {
    let call = Call {
        method: "POST",
        action,
        id,
        timestamp: at,
        body: body.as_bytes(),
    };
    sign(key, &call).unwrap()
}

/// A worker that runs nothing by itself, under the worker's login.
pub(crate) struct Desk {
    pub(crate) worker: Client,
    pub(crate) superuser: Client,
    pub(crate) producer: Client,
    id: i64,
    queues: Vec<i32>,
}

/// An attempt with a callback.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) root: i64,
    pub(crate) counted: i16,
    pub(crate) options: Value,
    pub(crate) claim: i64,
    pub(crate) ordinal: i16,
    pub(crate) at: SystemTime,
}

impl Desk {
    pub(crate) async fn open(db: &TestDatabase) -> Self {
        let role = db.create_role("producer").await;
        let superuser = db.superuser().await;
        let grant = format!("grant rolegate_producer to {role}");
        superuser.batch_execute(&grant).await.unwrap();
        let worker = db.connect_as("rolegate_worker").await;
        let sql = "select worker, queue_ids from rolegate.register_worker('t', '1', '{default}')";
        let row = worker.query_one(sql, &[]).await.unwrap();
        Self {
            producer: db.connect_as(&role).await,
            id: row.get(0),
            queues: row.get(1),
            worker,
            superuser,
        }
    }

    /// A new job, claimed.
    pub(crate) async fn job(&self) -> Attempt {
        self.job_of("select rolegate.enqueue('k', max_attempts => 3)")
            .await
    }

    pub(crate) async fn job_of(&self, enqueue: &str) -> Attempt {
        self.producer.query_one(enqueue, &[]).await.unwrap();
        self.claim().await.expect("it is there")
    }

    /// The next job.
    pub(crate) async fn claim(&self) -> Option<Attempt> {
        let sql = "select root, attempt, coalesce(options, '{}')::jsonb, claim, ordinal, claimed_at \
                   from rolegate.claim_jobs($1, $2, 1)";
        let rows = self
            .worker
            .query(sql, &[&self.id, &self.queues])
            .await
            .unwrap();
        rows.first().map(|row| Attempt {
            root: row.get(0),
            counted: row.get(1),
            options: row.get(2),
            claim: row.get(3),
            ordinal: row.get(4),
            at: row.get(5),
        })
    }

    /// A callback for an attempt; `None` if it has ended.
    pub(crate) async fn register(
        &self,
        attempt: &Attempt,
        seconds: f64,
        resumable: bool,
    ) -> Option<String> {
        let sql =
            "select rolegate.register_callback($1, $2, $3, make_interval(secs => $4), $5)::text";
        let row = self
            .worker
            .query_one(
                sql,
                &[
                    &attempt.claim,
                    &attempt.ordinal,
                    &attempt.at,
                    &seconds,
                    &resumable,
                ],
            )
            .await;
        row.unwrap().get(0)
    }

    /// A callback with rules, for an attempt that is open.
    pub(crate) async fn register_with(&self, attempt: &Attempt, rules: &Value) -> String {
        let sql = "select rolegate.register_callback($1, $2, $3, '1 hour', true, $4)::text";
        let Attempt {
            claim, ordinal, at, ..
        } = attempt;
        let row = self
            .worker
            .query_one(sql, &[claim, ordinal, at, rules])
            .await;
        row.unwrap().get(0)
    }

    /// A job that waits for an answer that these rules make something of.
    pub(crate) async fn parked_with(&self, rules: &Value) -> (Attempt, String) {
        let attempt = self.job().await;
        let callback = self.register_with(&attempt, rules).await;
        self.park(&attempt).await;
        (attempt, callback)
    }

    /// Ends an attempt; false if it had ended.
    pub(crate) async fn end(&self, attempt: &Attempt, state: char, detail: Option<Value>) -> bool {
        let sql = "select cardinality(rolegate.finish_jobs($1, array[$2]::bigint[], \
                   array[$3]::smallint[], array[$4]::timestamptz[], array[$5::text]::\"char\"[], \
                   array[$6]::jsonb[], array[0]::smallint[]))";
        let row = self
            .worker
            .query_one(
                sql,
                &[
                    &self.id,
                    &attempt.claim,
                    &attempt.ordinal,
                    &attempt.at,
                    &state.to_string(),
                    &detail,
                ],
            )
            .await;
        row.unwrap().get::<_, i32>(0) == 0
    }

    pub(crate) async fn park(&self, attempt: &Attempt) {
        assert!(self.end(attempt, 'w', None).await);
    }

    /// A job that waits, and its callback.
    pub(crate) async fn parked(&self) -> (Attempt, String) {
        let attempt = self.job().await;
        let callback = self
            .register(&attempt, 3600.0, true)
            .await
            .expect("it is open");
        self.park(&attempt).await;
        (attempt, callback)
    }

    /// One value of whatever type, as JSON.
    pub(crate) async fn value(&self, sql: &str) -> Value {
        let sql = format!("select to_jsonb(x) from ({sql}) y (x)");
        let row = self.superuser.query_opt(&sql, &[]).await.unwrap();
        row.and_then(|row| row.get::<_, Option<Value>>(0))
            .unwrap_or(Value::Null)
    }

    /// Where the job stands, and how many attempts were counted. There is one place only.
    pub(crate) async fn place(&self, root: i64) -> String {
        let sql = "select string_agg(x, ',') from ( \
            select 'parked ' || state || ' ' || attempt from rolegate.job_parked where root = $1 \
            union all select 'deferred ' || attempt from rolegate.job_deferred where root = $1 \
            union all select state || ' ' || reason || ' ' || attempt || case when dead_letter then ' dlq' else '' end \
                from rolegate.job_ended where root = $1 \
            union all select 'lane ' || attempt from rolegate.job j where coalesce(j.root, j.id) = $1 \
                and not exists (select from rolegate.job_claim c where j.id = any (c.jobs))) y (x)";
        let row = self.superuser.query_one(sql, &[&root]).await.unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }
}
