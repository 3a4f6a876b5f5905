//! The configuration as people write it. Every key has a default unless it says otherwise.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use rolegate_auth::IssuerConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::callbacks::Callbacks;
use super::cron::Cron;
use super::functions::{HttpFunction, Outbound};
use super::live::Live;
use super::replication::Replication;

/// `rolegate.toml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Log output.
    pub(crate) log: Log,
    /// The gateway surface: calls, login, discovery, events.
    pub(crate) gateway: Gateway,
    /// The console surface: the admin API.
    pub(crate) console: Console,
    /// The worker surface: jobs.
    pub(crate) worker: Worker,
    /// The callbacks surface: answers from outside to jobs that wait.
    pub(crate) callbacks: Callbacks,
    /// The replication surface: the change stream.
    pub(crate) replication: Replication,
    /// The metrics and health listener.
    pub(crate) metrics: Metrics,
    /// Databases by the name they have in paths and in the `db_name` claim.
    pub(crate) databases: BTreeMap<String, Database>,
    /// Issuers of accepted JWTs, besides our own key.
    pub(crate) issuers: Vec<IssuerConfig>,
    /// Our own rotating keys, which sign the tokens of password logins.
    pub(crate) signing: Signing,
    /// Password login.
    pub(crate) login: PasswordLogin,
}

/// Log output, on standard error.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// `json` or `text`.
    pub(crate) format: LogFormat,
    /// A level, or a filter such as `info,rolegate_auth=debug`.
    pub(crate) level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Json,
            level: "info".to_owned(),
        }
    }
}

/// The gateway surface.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Gateway {
    /// Address to listen on.
    pub(crate) bind: SocketAddr,
    /// Address the outside world uses; for metadata documents.
    pub(crate) public_url: Option<String>,
    /// Bytes of the head of a request; 8192 to 1048576. HTTP/2 allows 16384 at most.
    #[schemars(range(min = 8192, max = 1_048_576))]
    pub(crate) max_head_bytes: u32,
    /// Seconds a client may take to send the head of a request; 1 to 300.
    #[schemars(range(min = 1, max = 300))]
    pub(crate) head_timeout_seconds: u64,
    /// Bytes of a request body.
    pub(crate) max_body_bytes: usize,
    /// Seconds a client may take to send a body; 1 to 3600.
    #[schemars(range(min = 1, max = 3600))]
    pub(crate) body_timeout_seconds: u64,
    /// Seconds after which a client that takes nothing of an answer is cut off; 1 to 3600.
    #[schemars(range(min = 1, max = 3600))]
    pub(crate) write_timeout_seconds: u64,
    /// Elements of a batch.
    #[schemars(extend("x-unit" = "elements"))]
    pub(crate) max_batch: usize,
    /// Elements of one batch that run at the same time.
    #[schemars(extend("x-unit" = "elements"))]
    pub(crate) batch_concurrency: usize,
    /// Connections at the same time.
    #[schemars(extend("x-unit" = "connections"))]
    pub(crate) max_connections: usize,
    /// Streams of one HTTP/2 connection at the same time; 1 to 1000.
    #[schemars(range(min = 1, max = 1000), extend("x-unit" = "streams"))]
    pub(crate) max_http2_streams: u32,
    /// Event streams at the same time.
    #[schemars(extend("x-unit" = "streams"))]
    pub(crate) max_streams: usize,
    /// Seconds between two comments of a quiet event stream, which keep proxies from closing it;
    /// 1 to 300.
    #[schemars(range(min = 1, max = 300))]
    pub(crate) heartbeat_seconds: u64,
    /// Seconds after which the check functions of an event stream's channels are asked again;
    /// 1 to 600.
    #[schemars(range(min = 1, max = 600))]
    pub(crate) check_again_seconds: u64,
    /// Honour `Prefer: tx=rollback`.
    pub(crate) dry_run: bool,
    /// Origins that browsers may call from; none by default. `*` alone allows any.
    pub(crate) allowed_origins: Vec<String>,
    /// Headers that functions see in `request.headers`.
    pub(crate) visible_headers: Vec<String>,
    /// Seconds a stored result of an idempotent call is kept.
    pub(crate) idempotency_ttl_seconds: u64,
    /// Seconds a repeat waits for the first call.
    pub(crate) idempotency_wait_seconds: u64,
    /// Seconds that running requests have to end after SIGTERM.
    pub(crate) shutdown_seconds: u64,
}

impl Default for Gateway {
    fn default() -> Self {
        let defaults = rolegate_server::config::GatewayConfig::default();
        let listen = rolegate_server::serve::ListenLimits::default();
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            public_url: None,
            max_head_bytes: listen.max_head_bytes,
            head_timeout_seconds: listen.header_timeout.as_secs(),
            max_body_bytes: defaults.max_body_bytes,
            body_timeout_seconds: defaults.body_timeout.as_secs(),
            write_timeout_seconds: listen.write_timeout.as_secs(),
            max_batch: defaults.max_batch,
            batch_concurrency: defaults.batch_concurrency,
            max_connections: listen.max_connections,
            max_http2_streams: listen.max_streams,
            max_streams: defaults.max_streams,
            heartbeat_seconds: defaults.heartbeat.as_secs(),
            check_again_seconds: defaults.check_again.as_secs(),
            dry_run: defaults.dry_run,
            allowed_origins: Vec::new(),
            visible_headers: defaults.visible_headers,
            idempotency_ttl_seconds: defaults.idempotency_ttl.as_secs(),
            idempotency_wait_seconds: defaults.idempotency_wait.as_secs(),
            shutdown_seconds: 30,
        }
    }
}

/// The console surface, for the operators' own network.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Console {
    /// Address to listen on.
    pub(crate) bind: SocketAddr,
    /// Listen beyond loopback: TLS is in front.
    pub(crate) allow_public_bind: bool,
    /// Connections at the same time.
    #[schemars(extend("x-unit" = "connections"))]
    pub(crate) max_connections: usize,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8081)),
            allow_public_bind: false,
            max_connections: 512,
        }
    }
}

/// The worker surface, for each database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Worker {
    /// Queues it serves; those that are not there are made.
    pub(crate) queues: Vec<String>,
    /// Shares of these queues while all of them have jobs: queue = weight, 1 if not named.
    pub(crate) weights: BTreeMap<String, u32>,
    /// Jobs that run at the same time.
    #[schemars(extend("x-unit" = "jobs"))]
    pub(crate) concurrency: usize,
    /// Short jobs that are claimed ahead of their turn, at most.
    #[schemars(extend("x-unit" = "jobs"))]
    pub(crate) prefetch: usize,
    /// Seconds an attempt may take if its job doesn't say; 0 is for ever.
    pub(crate) deadline_seconds: u64,
    /// Seconds that running jobs have to end after SIGTERM.
    pub(crate) shutdown_seconds: u64,
    /// The callbacks' address as functions reach it; a function may have another.
    pub(crate) callback_base_url: Option<String>,
    /// Files with keys that requests to functions are signed with, 64 hex digits each: key id = file.
    pub(crate) key_files: BTreeMap<String, PathBuf>,
    /// Where functions may be, and how their hosts are treated.
    pub(crate) outbound: Outbound,
    /// Kinds of jobs that are sent to functions over HTTP.
    pub(crate) http: BTreeMap<String, HttpFunction>,
}

impl Default for Worker {
    fn default() -> Self {
        let defaults = rolegate_jobs::WorkerConfig::default();
        Self {
            queues: defaults.queues,
            weights: defaults.weights,
            concurrency: defaults.concurrency,
            prefetch: defaults.prefetch,
            deadline_seconds: defaults.deadline.map_or(0, |time| time.as_secs()),
            shutdown_seconds: defaults.shutdown.as_secs(),
            callback_base_url: None,
            key_files: BTreeMap::new(),
            outbound: Outbound::default(),
            http: BTreeMap::new(),
        }
    }
}

/// The metrics and health listener.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Metrics {
    /// Address to listen on.
    pub(crate) bind: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 9090)),
        }
    }
}

/// One database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    /// `postgresql://HOST:PORT/DATABASE`; a host that starts with `/` (percent-encoded) is the
    /// directory of a Unix socket. No user and no password: each surface has its own login.
    pub(crate) url: String,
    /// Another address of the same database, past a pooler: LISTEN and the watch over the catalog
    /// use it, everything else keeps `url`. TLS unless it is a socket or loopback.
    #[serde(default)]
    pub(crate) direct_url: Option<String>,
    /// The same database on a standby, which decodes the change stream in place of the primary; PostgreSQL 16 or newer.
    /// Past a pooler. TLS unless it is a socket or loopback.
    #[serde(default)]
    pub(crate) standby_url: Option<String>,
    /// TLS towards the database; required unless the host is a socket or loopback.
    #[serde(default)]
    pub(crate) tls: Option<bool>,
    /// Whether passwords are proved bound to the server's certificate: `require`, or `prefer` for
    /// a pooler or a proxy that ends TLS and cannot do that.
    #[serde(default)]
    pub(crate) channel_binding: ChannelBinding,
    /// A server version older than the known minimum that is accepted all the same (`15.8`).
    #[serde(default)]
    pub(crate) accept_server_version: Option<String>,
    /// Exposed schemas; the first is the default of method names.
    #[serde(default = "default_schemas")]
    pub(crate) schemas: Vec<String>,
    /// Schema of our own objects.
    #[serde(default = "default_engine")]
    pub(crate) engine_schema: String,
    /// Prefix of our own roles.
    #[serde(default = "default_engine")]
    pub(crate) role_prefix: String,
    /// How roles run: `login` or `assume`.
    #[serde(default)]
    pub(crate) mode: Mode,
    /// Roles that run in the other mode.
    #[serde(default)]
    pub(crate) modes: BTreeMap<String, Mode>,
    /// Accept requests without a token, as the anonymous login.
    #[serde(default)]
    pub(crate) anonymous: bool,
    /// Files with the passwords of logins, where the server asks for them: role = file.
    #[serde(default)]
    pub(crate) password_files: BTreeMap<String, PathBuf>,
    /// Predefined roles (`pg_*`) that a target role may be a member of.
    #[serde(default)]
    pub(crate) allowed_predefined_roles: Vec<String>,
    /// Cron entries.
    #[serde(default)]
    pub(crate) cron: BTreeMap<String, Cron>,
    /// API tokens.
    #[serde(default)]
    pub(crate) api_tokens: ApiTokens,
    /// SQL of callers.
    #[serde(default)]
    pub(crate) query: Query,
    /// Bounds of the connections for callers.
    #[serde(default)]
    pub(crate) pool: Pool,
    /// Budget of every role; a role's own one (`rolegate.set_budget`) makes it narrower.
    #[serde(default)]
    pub(crate) budget: Budget,
    /// Milliseconds between two looks at the catalog; at most 500.
    #[serde(default = "default_poll")]
    pub(crate) poll_interval_ms: u64,
}

fn default_schemas() -> Vec<String> {
    vec!["api".to_owned()]
}

fn default_engine() -> String {
    "rolegate".to_owned()
}

fn default_poll() -> u64 {
    250
}

/// Whether the proof of a password is bound to the server's certificate, in libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChannelBinding {
    /// A server that does not offer `SCRAM-SHA-256-PLUS` is refused.
    #[default]
    Require,
    /// It is where the server offers it.
    Prefer,
}

/// How a role runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    /// Connections are logged in as the role itself.
    #[default]
    Login,
    /// Connections are logged in as the authenticator and switch to the role.
    Assume,
}

/// SQL of callers at one database (`/query`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Query {
    /// Which queries are answered: `off`, `private` or `public`.
    pub(crate) answers: Queries,
    /// PostgreSQL's own catalogs that queries may read, as `schema.name`.
    pub(crate) catalogs: Vec<String>,
    /// Answers that are kept for everybody in this process; it has to follow the change stream.
    #[schemars(extend("x-unit" = "bytes"))]
    pub(crate) cache_bytes: usize,
    /// How long others may keep the answer at a cursor (`/q/...`), whose bytes never change.
    #[schemars(extend("x-unit" = "seconds"))]
    pub(crate) cursor_max_age_seconds: u64,
    /// How long others may keep the answer to `GET /query` before they ask again.
    #[schemars(extend("x-unit" = "seconds"))]
    pub(crate) max_age_seconds: u64,
    /// How long after that they may still give it out while they ask again.
    #[schemars(extend("x-unit" = "seconds"))]
    pub(crate) stale_while_revalidate_seconds: u64,
    /// Header of answers that others may keep, with the keys they are purged by: its name ends in `key`, as
    /// `Surrogate-Key` (keys with spaces between them), or in `tag`, as `Cache-Tag` (with commas). Absent: none.
    pub(crate) purge_key_header: Option<String>,
    /// File with the secret that those keys are made with, 64 hex digits.
    pub(crate) purge_secret_file: Option<PathBuf>,
    /// Bounds of live queries.
    pub(crate) live: Live,
}

impl Default for Query {
    fn default() -> Self {
        let cache = rolegate_server::config::QueryCache::default();
        Self {
            answers: Queries::default(),
            catalogs: Vec::new(),
            cache_bytes: cache.bytes,
            cursor_max_age_seconds: cache.max_age.as_secs(),
            max_age_seconds: cache.fresh.as_secs(),
            stale_while_revalidate_seconds: cache.stale.as_secs(),
            purge_key_header: None,
            purge_secret_file: None,
            live: Live::default(),
        }
    }
}

/// Which SQL of callers is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Queries {
    /// None.
    #[default]
    Off,
    /// Of callers with a token, as their role.
    Private,
    /// Also of everybody, what everybody may read; needs `anonymous`.
    Public,
}

/// API tokens of one database.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ApiTokens {
    /// Accept the tokens that were imported from `PgArachne`: bearers of 64 hexadecimal digits.
    pub(crate) imported: bool,
}

/// Bounds of the connections for callers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pool {
    /// Connections of all logins together.
    #[schemars(extend("x-unit" = "connections"))]
    pub(crate) max_connections: usize,
    /// Connections of one login.
    #[schemars(extend("x-unit" = "connections"))]
    pub(crate) max_connections_per_login: usize,
    /// Requests of one login that may wait.
    #[schemars(extend("x-unit" = "requests"))]
    pub(crate) max_waiting: usize,
    /// Milliseconds a request waits for a connection.
    pub(crate) wait_timeout_ms: u64,
    /// Seconds after which a connection without work is closed.
    pub(crate) idle_timeout_seconds: u64,
    /// Seconds after which a connection is replaced.
    pub(crate) max_lifetime_seconds: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max_connections: 64,
            max_connections_per_login: 16,
            max_waiting: 2048,
            wait_timeout_ms: 5_000,
            idle_timeout_seconds: 60,
            max_lifetime_seconds: 1_800,
        }
    }
}

/// Budget of a role.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Budget {
    /// Requests per second; absent: unlimited.
    #[schemars(extend("x-unit" = "requests per second"))]
    pub(crate) requests_per_second: Option<u32>,
    /// Calls at the same time, waiting ones included.
    #[schemars(extend("x-unit" = "calls"))]
    pub(crate) concurrency: u32,
    /// Milliseconds a statement may run.
    pub(crate) statement_timeout_ms: u64,
    /// Rows of one result.
    #[schemars(extend("x-unit" = "rows"))]
    pub(crate) max_rows: u64,
    /// Bytes of one result.
    pub(crate) max_bytes: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            requests_per_second: None,
            concurrency: 1024,
            statement_timeout_ms: 30_000,
            max_rows: 1_000_000,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

/// Our own signing keys.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Signing {
    /// File with the 32-byte key (64 hex digits) that seals the private keys in the database.
    /// Without it there is no password login.
    pub(crate) seal_key_file: Option<PathBuf>,
    /// Days a key signs before the next one takes over; 1 to 3650.
    #[schemars(extend("x-unit" = "days"))]
    pub(crate) key_days: u64,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            seal_key_file: None,
            key_days: 30,
        }
    }
}

/// Password login.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PasswordLogin {
    /// Host and port where `pg_hba.conf` asks for `scram-sha-256`; absent: no password login.
    pub(crate) address: Option<String>,
    /// TLS towards that address; required unless it is loopback.
    pub(crate) tls: Option<bool>,
    /// Whether the check is bound to the server's certificate: `require`, or `prefer` if the
    /// address is that of a proxy that ends TLS and cannot do that. Of its own: what a database
    /// has is not taken over.
    pub(crate) channel_binding: ChannelBinding,
    /// Seconds a token of a password login is valid, at most a day.
    pub(crate) token_seconds: u64,
}

impl Default for PasswordLogin {
    fn default() -> Self {
        Self {
            address: None,
            tls: None,
            channel_binding: ChannelBinding::default(),
            token_seconds: 8 * 3600,
        }
    }
}
