//! The stage for every test of the session: two roles, a pool, and functions that run any SQL.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use rolegate_model::claims::{Binding, Envelope};
use rolegate_model::{RoleIdentity, RoleName};
use rolegate_pg::Statement;
use rolegate_pg::pools::{Pools, PoolsConfig};
use rolegate_pg::quote;
use rolegate_pg::session::{
    Access, ClaimsSigner, End, Limits, Reply, Request, SessionError, Transaction,
};
use rolegate_pg::wire::Login;
use rolegate_testkit::{Admitted, TestDatabase, for_each_version};
use tokio::time::Instant;
use tokio_postgres::Client;

pub(crate) const TEXT: u32 = 25;

/// How a connection becomes the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Login,
    Assume,
}

/// Signs as the gateway does, and remembers what it signed.
#[derive(Debug)]
pub(crate) struct Signer {
    key_id: i32,
    key: hmac::Key,
    nonce: Mutex<u64>,
    pub(crate) signed: Mutex<Vec<(Binding, String)>>,
    pub(crate) silent: std::sync::atomic::AtomicBool,
}

impl Signer {
    pub(crate) async fn of(db: &TestDatabase) -> Self {
        let row = db
            .connect_as("rolegate_gateway")
            .await
            .query_one("select key_id, key from rolegate.claim_signing_key()", &[])
            .await
            .unwrap();
        Self::with_key(row.get(0), row.get(1))
    }

    pub(crate) fn with_key(key_id: i32, key: &[u8]) -> Self {
        Self {
            key_id,
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
            nonce: Mutex::new(0),
            signed: Mutex::default(),
            silent: false.into(),
        }
    }

    /// The text of the last envelope, without its bindings.
    pub(crate) fn last(&self) -> String {
        self.signed.lock().unwrap().last().unwrap().1.clone()
    }
}

impl ClaimsSigner for Signer {
    fn sign(&self, binding: Binding, role_oid: u32, token: &str, claims: &str) -> Option<String> {
        use std::fmt::Write as _;
        if self.silent.load(std::sync::atomic::Ordering::SeqCst) {
            return None;
        }
        let mut nonce = self.nonce.lock().unwrap();
        *nonce += 1;
        #[expect(
            clippy::disallowed_methods,
            reason = "the server checks it against its own clock"
        )]
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        let envelope = Envelope {
            key_id: self.key_id,
            role_oid,
            issued_at_us: i64::try_from(now.as_micros()).unwrap(),
            nonce: *nonce,
            token_id: token,
            claims,
        };
        let mac = hmac::sign(&self.key, envelope.signed_text(binding).as_bytes());
        let mac = mac.as_ref().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let text = envelope.to_setting(&mac);
        self.signed.lock().unwrap().push((binding, text.clone()));
        Some(text)
    }
}

/// Somebody who calls.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) role: RoleIdentity,
    pub(crate) claims: Arc<str>,
}

impl Principal {
    /// Somebody else with the same role.
    pub(crate) fn called(&self, sub: &str) -> Self {
        Self {
            role: self.role.clone(),
            claims: claims(sub),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.role.name.as_str()
    }
}

pub(crate) fn claims(sub: &str) -> Arc<str> {
    format!(r#"{{"sub": "{sub}"}}"#).into()
}

/// Everything a test needs.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) db: &'a TestDatabase,
    pub(crate) mode: Mode,
    pub(crate) alice: Principal,
    pub(crate) bob: Principal,
    pub(crate) signer: Arc<Signer>,
    pub(crate) pools: Pools,
    pub(crate) admin: Client,
}

/// Runs the body on every version, in both modes, with one connection for each login.
pub(crate) async fn in_each_mode(body: impl AsyncFn(&Stage<'_>)) {
    for mode in [Mode::Login, Mode::Assume] {
        on_each_version(mode, async |stage| body(stage).await).await;
    }
}

/// The same in one mode.
pub(crate) async fn on_each_version(mode: Mode, body: impl AsyncFn(&Stage<'_>)) {
    for_each_version(async |db| {
        let stage = Stage::new(db, mode).await;
        body(&stage).await;
        stage.pools.close().await;
    })
    .await;
}

pub(crate) fn config(db: &TestDatabase) -> PoolsConfig {
    PoolsConfig {
        endpoint: db.wire_endpoint(),
        schema: "rolegate".into(),
        max_connections: 4,
        max_connections_per_login: 1,
        max_waiting: 64,
        wait_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_mins(1),
        max_lifetime: Duration::from_mins(10),
    }
}

impl<'a> Stage<'a> {
    pub(crate) async fn new(db: &'a TestDatabase, mode: Mode) -> Self {
        let admin = db.superuser().await;
        admin
            .batch_execute(include_str!("stage.sql"))
            .await
            .unwrap();
        let admitted = match mode {
            Mode::Login => Admitted::Login,
            Mode::Assume => Admitted::Assume,
        };
        // Names that would do harm if anything forgot to quote them.
        let alice = db
            .create_role_with("Alice's \"ä\"", "login", admitted)
            .await;
        let bob = db.create_role_with("bob", "login", admitted).await;
        for (role, table) in [(&alice, "alices"), (&bob, "bobs")] {
            let grant = format!(
                "grant select, insert on api.{table} to {}",
                quote::ident(role)
            );
            admin.batch_execute(&grant).await.unwrap();
        }
        let signer = Arc::new(Signer::of(db).await);
        Self {
            alice: principal(&admin, &alice, "alice").await,
            bob: principal(&admin, &bob, "bob").await,
            pools: Pools::new(config(db), Arc::clone(&signer) as _),
            db,
            mode,
            signer,
            admin,
        }
    }

    /// Other pools for the same people.
    pub(crate) fn pools(&self, change: impl FnOnce(&mut PoolsConfig)) -> Pools {
        let mut config = config(self.db);
        change(&mut config);
        Pools::new(config, Arc::clone(&self.signer) as _)
    }

    /// The login that runs `who`'s requests.
    pub(crate) fn login(&self, who: &Principal) -> Login {
        match self.mode {
            Mode::Login => Login::peer(who.name()),
            Mode::Assume => Login::peer("rolegate_authenticator"),
        }
    }

    pub(crate) async fn run(
        &self,
        who: &Principal,
        request: Request,
    ) -> Result<Reply, SessionError> {
        self.pools.run(&self.login(who), request).await
    }

    /// Runs one statement and gives the only value.
    pub(crate) async fn ask(&self, who: &Principal, sql: &str) -> Result<String, SessionError> {
        let reply = self
            .run(who, request(who, [Statement::prepared(sql)]))
            .await?;
        Ok(scalar(&reply))
    }

    /// Gives `sql` to a function that runs it.
    pub(crate) async fn attack(&self, who: &Principal, sql: &str) -> Result<String, SessionError> {
        let statement =
            Statement::prepared("select api.do_sql($1)").param(TEXT, Some(sql.to_owned()));
        Ok(scalar(&self.run(who, request(who, [statement])).await?))
    }

    /// Runs `sql` and then reads `question`, in one call.
    pub(crate) async fn attack_and_read(
        &self,
        who: &Principal,
        sql: &str,
        question: &str,
    ) -> Result<String, SessionError> {
        let statement = Statement::prepared("select api.do_and_read($1, $2)")
            .param(TEXT, Some(sql.to_owned()))
            .param(TEXT, Some(question.to_owned()));
        Ok(scalar(&self.run(who, request(who, [statement])).await?))
    }

    /// A value the superuser reads.
    pub(crate) async fn look(&self, sql: &str) -> String {
        let row = self
            .admin
            .query_one(&format!("select ({sql})::text"), &[])
            .await
            .unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }

    /// Waits until the superuser sees that `sql` is true.
    pub(crate) async fn until(&self, sql: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.look(sql).await != "true" {
            assert!(Instant::now() < deadline, "never true: {sql}");
            tokio::task::yield_now().await;
        }
    }

    /// How often `id` was recorded.
    pub(crate) async fn runs(&self, id: &str) -> String {
        self.look(&format!("select count(*) from api.run where id = '{id}'"))
            .await
    }

    /// Callers wait at the gate from now on.
    pub(crate) async fn close_gate(&self) {
        self.admin
            .batch_execute("select pg_advisory_lock(4711)")
            .await
            .unwrap();
    }

    pub(crate) async fn open_gate(&self) {
        self.admin
            .batch_execute("select pg_advisory_unlock(4711)")
            .await
            .unwrap();
    }

    /// Waits until `n` calls stand at the gate.
    pub(crate) async fn until_at_gate(&self, n: usize) {
        self.until(&format!(
            "select count(*) = {n} from pg_locks where {AT_GATE}"
        ))
        .await;
    }
}

const AT_GATE: &str = "locktype = 'advisory' and objid = 4711 and not granted and database = \
    (select oid from pg_database where datname = current_database())";

async fn principal(admin: &Client, role: &str, sub: &str) -> Principal {
    let row = admin
        .query_one(
            "select oid from pg_roles where rolname = $1::text::name",
            &[&role],
        )
        .await
        .unwrap();
    let name = RoleName::new(role).unwrap();
    let role = RoleIdentity {
        name,
        oid: row.get(0),
        system_identifier: 1,
    };
    Principal {
        role,
        claims: claims(sub),
    }
}

/// A request that may write, in the segment's own transaction.
pub(crate) fn request(who: &Principal, statements: impl IntoIterator<Item = Statement>) -> Request {
    Request {
        role: who.role.clone(),
        claims: Arc::clone(&who.claims),
        token_id: "token".into(),
        access: Access::ReadWrite,
        transaction: Transaction::Implicit,
        search_path: "api, pg_temp".into(),
        settings: vec![(
            Cow::Borrowed("statement_timeout"),
            Bytes::from_static(b"20000"),
        )],
        statements: statements.into_iter().collect(),
        rereads: Vec::new(),
        finish: None,
        limits: Limits {
            deadline: Instant::now() + Duration::from_secs(20),
            max_rows: 10_000,
            max_bytes: 16 << 20,
        },
        stream: None,
    }
}

/// The same between `begin` and `commit`.
pub(crate) fn explicit(
    who: &Principal,
    statements: impl IntoIterator<Item = Statement>,
) -> Request {
    Request {
        transaction: Transaction::Explicit(End::Commit),
        ..request(who, statements)
    }
}

/// A call of `api.record` or one like it.
pub(crate) fn record(function: &str, id: &str) -> Statement {
    Statement::prepared(format!("select api.{function}($1)")).param(TEXT, Some(id.to_owned()))
}

/// The only value of the last statement.
pub(crate) fn scalar(reply: &Reply) -> String {
    let value = reply.results.last().and_then(|rows| rows.scalar());
    value
        .map(|text| String::from_utf8(text.to_vec()).unwrap())
        .unwrap_or_default()
}

/// The SQLSTATE of a database error, or what else it is.
pub(crate) fn code(result: Result<impl std::fmt::Debug, SessionError>) -> String {
    match result {
        Ok(value) => format!("ok {value:?}"),
        Err(SessionError::Database { error, .. } | SessionError::Setup { error }) => error.code,
        Err(other) => format!("{other:?}"),
    }
}
