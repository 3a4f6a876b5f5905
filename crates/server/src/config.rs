//! What a surface is built from. The command line turns its configuration file into these types.

use std::collections::BTreeMap;
use std::time::Duration;

use rolegate_pg::pools::PoolsConfig;
use rolegate_pg::wire::{Endpoint, Login};
use secrecy::SecretString;

use crate::budget::DefaultBudget;
pub use crate::purge::{PurgeHeader, PurgeHeaderError};

/// How a role runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The connection is logged in as the role.
    Login,
    /// The connection is logged in as the authenticator and switches to the role.
    Assume,
}

/// Which SQL of callers is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queries {
    /// None.
    Off,
    /// Of callers with a token, as their role.
    Private,
    /// Also of everybody, what everybody may read.
    Public,
}

/// Bounds of the live queries of a database.
#[derive(Debug, Clone, Copy)]
pub struct LiveBounds {
    /// Different queries at the same time: of text, parameters, role, and the claims that count.
    pub groups: usize,
    /// Streams of one role at the same time.
    pub streams_per_role: usize,
    /// Runs at the same time.
    pub concurrency: usize,
    /// Runs in a second, of one role.
    pub runs_per_second: u32,
    /// Rows of one result.
    pub max_rows: usize,
    /// Bytes of all results and histories.
    pub max_bytes: usize,
    /// What a query keeps for clients that are behind or come back: results.
    pub history: usize,
    /// And bytes of them.
    pub history_bytes: usize,
    /// How long a query is kept up to date for clients that come back.
    pub grace: Duration,
}

impl Default for LiveBounds {
    fn default() -> Self {
        Self {
            groups: 1000,
            streams_per_role: 10_000,
            concurrency: 8,
            runs_per_second: 500,
            max_rows: 10_000,
            max_bytes: 256 * 1024 * 1024,
            history: 256,
            history_bytes: 1024 * 1024,
            grace: Duration::from_secs(30),
        }
    }
}

/// One database behind the gateway.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Its name in paths and in `db_name`.
    pub name: String,
    /// Where it is, for callers' code.
    pub endpoint: Endpoint,
    /// Another way to the same database, past a pooler; for what needs a session that lasts.
    pub direct: Option<Endpoint>,
    /// The same database on a standby that decodes the change stream.
    pub standby: Option<Endpoint>,
    /// Exposed schemas; the first is the default of method names.
    pub schemas: Vec<String>,
    /// Schema of our own objects.
    pub engine_schema: String,
    /// Prefix of our own roles.
    pub role_prefix: String,
    /// The gateway's own login.
    pub gateway: Login,
    /// Login of assume mode.
    pub authenticator: Login,
    /// Login of requests without a token; `None` refuses them.
    pub anonymous: Option<Login>,
    /// How roles run unless named in `modes`.
    pub mode: Mode,
    /// Roles that run in the other mode.
    pub modes: BTreeMap<String, Mode>,
    /// Passwords of roles in login mode, where the server asks for them.
    pub passwords: BTreeMap<String, SecretString>,
    /// Predefined roles (`pg_*`) a target may be a member of.
    pub allowed_predefined_roles: Vec<String>,
    /// Pool bounds. `endpoint` and `schema` in it are those above.
    pub pools: PoolsConfig,
    /// Connections for our own work.
    pub own_connections: usize,
    /// Whether bearers of 64 hexadecimal digits are API tokens that were imported from PgArachne.
    pub imported_tokens: bool,
    /// Which SQL of callers is answered.
    pub queries: Queries,
    /// PostgreSQL's own catalogs that queries may read, as `schema.name`.
    pub query_catalogs: Vec<String>,
    /// Answers that are kept for everybody.
    pub query_cache: QueryCache,
    /// What copies of those are purged by elsewhere.
    pub purge_header: Option<PurgeHeader>,
    /// Bounds of live queries.
    pub live: LiveBounds,
    /// Time between two looks at the catalog.
    pub poll_interval: Duration,
    /// Budget of every role; a role's own one makes it narrower.
    pub budget: DefaultBudget,
}

impl DatabaseConfig {
    /// Where what needs a session that lasts connects to.
    pub fn direct_endpoint(&self) -> &Endpoint {
        self.direct.as_ref().unwrap_or(&self.endpoint)
    }
}

/// Answers of queries that are kept for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryCache {
    /// Bytes of them in this process.
    pub bytes: usize,
    /// How long a cursor (`/q/...`), whose rows never change, may be kept elsewhere.
    pub max_age: Duration,
    /// How long the answer to `GET /query` may be kept elsewhere before it is asked for again.
    pub fresh: Duration,
    /// How long after that it may still be given out while it is asked for again.
    pub stale: Duration,
}

impl Default for QueryCache {
    fn default() -> Self {
        Self {
            bytes: 256 * 1024 * 1024,
            max_age: Duration::from_hours(72),
            fresh: Duration::from_secs(1),
            stale: Duration::from_secs(10),
        }
    }
}

/// Behaviour of the gateway surface.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Bytes of a request body.
    pub max_body_bytes: usize,
    /// How long a client may take to send a body.
    pub body_timeout: Duration,
    /// Elements of a batch.
    pub max_batch: usize,
    /// Elements of a batch that run at the same time.
    pub batch_concurrency: usize,
    /// `Prefer: tx=rollback` is honoured.
    pub dry_run: bool,
    /// Headers that functions see in `request.headers`, lower case. Credentials never.
    pub visible_headers: Vec<String>,
    /// Origins that browsers may call from; empty: none. `*` alone allows any, without credentials.
    pub allowed_origins: Vec<String>,
    /// Address the outside world uses, for metadata documents.
    pub public_url: Option<String>,
    /// How long a stored result of an idempotent call is kept.
    pub idempotency_ttl: Duration,
    /// How long a repeat waits for the first call.
    pub idempotency_wait: Duration,
    /// Lifetime of tokens of password logins.
    pub login_token_ttl: Duration,
    /// Event streams at the same time.
    pub max_streams: usize,
    /// Time between two comments of a quiet event stream; they keep proxies from closing it.
    pub heartbeat: Duration,
    /// How often the check functions of a stream's channels are asked again.
    pub check_again: Duration,
    /// Title of the OpenAPI document.
    pub title: String,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            max_body_bytes: 2 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            max_batch: 1000,
            batch_concurrency: 8,
            dry_run: false,
            visible_headers: [
                "accept",
                "accept-language",
                "origin",
                "referer",
                "user-agent",
                "traceparent",
            ]
            .map(str::to_owned)
            .to_vec(),
            allowed_origins: Vec::new(),
            public_url: None,
            idempotency_ttl: Duration::from_hours(24),
            idempotency_wait: Duration::from_secs(10),
            login_token_ttl: Duration::from_hours(8),
            max_streams: 1000,
            heartbeat: Duration::from_secs(15),
            check_again: Duration::from_mins(1),
            title: "Rolegate".to_owned(),
        }
    }
}
