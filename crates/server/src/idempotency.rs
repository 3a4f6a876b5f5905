//! Calls with an `Idempotency-Key`: a repeat gets the first result.
//!
//! The record is made first, by our own login in a transaction of its own. The result is stored
//! in the caller's transaction, so that there is either both or neither; what lets it be stored
//! is a random capability that only this process knows. `docs/adr/0004-idempotency.md`.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rolegate_model::ErrorCode;
use rolegate_pg::Statement;
use rolegate_pg::session::Rows;
use rolegate_rpc::{Call, Shape, result};
use tokio::time::Instant;

use crate::call::{CallResult, Session, one_result};
use crate::config::GatewayConfig;
use crate::problem::Problem;

/// Longest key, in bytes. The database counts characters, and refuses more than this many.
const MAX_KEY_BYTES: usize = 255;
/// How often a repeat looks whether the first call has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

const TEXT: u32 = 25;
const BYTEA: u32 = 17;

/// The header's value. One that can't be read is refused: without its key the call would run
/// again.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.to_str() {
            Ok(key) => Ok(Some(key.to_owned())),
            Err(_) => Err(malformed()),
        },
        (Some(_), Some(_)) => Err(malformed()),
    }
}

/// Refuses a key where no result would be stored. Taking no notice of it would let a client repeat
/// what it believes to be safe.
pub(crate) fn refuse(key: Option<&str>, hint: &'static str) -> Result<(), Problem> {
    match key {
        None => Ok(()),
        Some(_) => Err(Problem {
            data: Some(serde_json::json!({"path": "Idempotency-Key"})),
            ..Problem::new(ErrorCode::InvalidRequest)
        }
        .message("This request can't have an idempotency key.")
        .hint(hint)),
    }
}

fn malformed() -> Problem {
    Problem {
        data: Some(serde_json::json!({"path": "Idempotency-Key"})),
        ..Problem::new(ErrorCode::InvalidRequest)
    }
    .message("The idempotency key can't be used.")
    .hint(format!(
        "One key of 1 to {MAX_KEY_BYTES} bytes; in the header, visible ASCII characters."
    ))
}

/// What a repeat finds.
enum Claimed {
    /// This is the first call.
    New,
    /// The first call's result.
    Replay(CallResult),
    /// The first call still runs.
    Running,
}

/// Runs the call, or gives the result of the first one with this key.
pub(crate) async fn run(
    config: &GatewayConfig,
    session: &Session,
    call: Call,
    key: &str,
) -> Result<CallResult, Problem> {
    // PostgreSQL has no text with a NUL.
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.contains('\0') {
        return Err(malformed());
    }
    let capability = capability();
    let attempt = Attempt {
        scope: scope(session, &call),
        body: body_hash(&call),
        capability_hash: digest(&SHA256, &capability).as_ref().to_vec(),
        key,
        lease: session.database.config.budget.statement_timeout
            + session.database.config.pools.wait_timeout
            + Duration::from_secs(5),
        ttl: config.idempotency_ttl,
    };
    let until = Instant::now() + config.idempotency_wait;
    loop {
        match attempt.claim(session).await? {
            Claimed::New => break,
            Claimed::Replay(result) => return Ok(result),
            Claimed::Running if Instant::now() >= until => {
                return Err(Problem::new(ErrorCode::IdempotencyInProgress)
                    .retry_after(Duration::from_secs(1)));
            }
            Claimed::Running => tokio::time::sleep(LOOK_AGAIN).await,
        }
    }
    let outcome = first(session, call, &capability).await;
    if outcome.is_err() {
        // A failure is not kept; if the release fails too, the lease ends.
        attempt.release(session, &capability).await;
    }
    outcome
}

/// Runs the call and stores its result in the same transaction.
async fn first(session: &Session, call: Call, capability: &[u8]) -> Result<CallResult, Problem> {
    let shape = call.shape.clone();
    let finish = finish(session, shape.clone(), capability);
    let reply = session
        .run_all(vec![call], Some(finish))
        .await
        .map_err(Problem::from)?;
    Ok(one_result(&shape, &reply))
}

fn finish(session: &Session, shape: Shape, capability: &[u8]) -> rolegate_pg::session::Finish {
    let sql = session
        .database
        .sql
        .of("select rolegate.idempotency_store($1, \
         coalesce(nullif(pg_catalog.current_setting('response.status', true), ''), '200')::int4, \
         coalesce(nullif(pg_catalog.current_setting('response.headers', true), ''), '[]'), $2)");
    let capability = bytea(capability);
    Box::new(move |results: &[Rows]| {
        let mut json = BytesMut::new();
        match results.first() {
            Some(rows) => result::write(&mut json, &shape, rows.iter()),
            None => json.extend_from_slice(b"null"),
        }
        Statement::once(sql)
            .param(BYTEA, Some(capability))
            .param(TEXT, Some(json.freeze()))
    })
}

/// One try to be the first.
struct Attempt<'a> {
    scope: Vec<u8>,
    body: Vec<u8>,
    capability_hash: Vec<u8>,
    key: &'a str,
    lease: Duration,
    ttl: Duration,
}

impl Attempt<'_> {
    async fn claim(&self, session: &Session) -> Result<Claimed, Problem> {
        let database = &session.database;
        let failed = |error: &dyn std::error::Error| {
            tracing::warn!(request_id = %session.context.id, %error, "idempotency_failed");
            Problem::new(ErrorCode::DatabaseUnavailable)
        };
        let client = database.own.get().await.map_err(|error| failed(&error))?;
        let sql = database.sql.of(
            "select c.state, c.status, c.headers, c.body from rolegate.idempotency_claim( \
             $1, $2, $3, $4, pg_catalog.make_interval(secs => $5), \
             pg_catalog.make_interval(secs => $6)) c",
        );
        let row = client
            .query_one(
                &sql,
                &[
                    &self.scope,
                    &self.key,
                    &self.body,
                    &self.capability_hash,
                    &self.lease.as_secs_f64(),
                    &self.ttl.as_secs_f64(),
                ],
            )
            .await
            .map_err(|error| failed(&error))?;
        match row.get::<_, &str>(0) {
            "new" => Ok(Claimed::New),
            "replay" => Ok(Claimed::Replay(replayed(&row))),
            "conflict" => Err(Problem::new(ErrorCode::IdempotencyConflict)),
            _ => Ok(Claimed::Running),
        }
    }

    async fn release(&self, session: &Session, capability: &[u8]) {
        let database = &session.database;
        let Ok(client) = database.own.get().await else {
            return;
        };
        let sql = database.sql.of("select rolegate.idempotency_release($1)");
        if let Err(error) = client.execute(&sql, &[&capability]).await {
            tracing::warn!(request_id = %session.context.id, %error, "idempotency_not_released");
        }
    }
}

fn replayed(row: &tokio_postgres::Row) -> CallResult {
    let status: Option<i32> = row.get(1);
    let headers: Option<&str> = row.get(2);
    let body: Option<&str> = row.get(3);
    let mut headers = crate::call::response_headers(headers.unwrap_or("[]"));
    headers.insert(
        HeaderName::from_static("idempotency-replayed"),
        HeaderValue::from_static("true"),
    );
    CallResult {
        json: Bytes::copy_from_slice(body.unwrap_or("null").as_bytes()),
        status: status
            .and_then(|status| u16::try_from(status).ok())
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(|status| *status != StatusCode::OK),
        headers,
    }
}

/// Keys are one caller's: issuer, subject, role and function, not the token, which is renewed.
fn scope(session: &Session, call: &Call) -> Vec<u8> {
    let principal = &session.caller.principal;
    let mut context = Context::new(&SHA256);
    let subject = principal.subject.as_deref().unwrap_or_default();
    let parts = [
        &*principal.issuer,
        subject,
        principal.role.name.as_str(),
        &principal.role.oid.to_string(),
        &call.function.method(),
    ];
    for part in parts {
        // The length in front keeps two lists of parts from looking like one.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

/// The function and its arguments, as they were understood.
fn body_hash(call: &Call) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(call.statement.sql.as_bytes());
    for param in &call.statement.params {
        match param {
            Some(text) => {
                context.update(&(text.len() as u64).to_be_bytes());
                context.update(text);
            }
            None => context.update(&u64::MAX.to_be_bytes()),
        }
    }
    context.finish().as_ref().to_vec()
}

fn capability() -> [u8; 32] {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

/// The text form of bytes.
fn bytea(bytes: &[u8]) -> Bytes {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.into()
}
