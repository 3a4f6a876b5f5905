//! A gateway for one test: its own database, its own port, its own keys.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use rolegate_auth::{IssuerConfig, PasswordCheck};
use rolegate_model::{Clock, RoleName, SystemClock};
use rolegate_pg::pools::PoolsConfig;
use rolegate_pg::wire::{Endpoint, Login};
use rolegate_replication::publication::{self, Installation};
use rolegate_replication::relay::Relay;
use rolegate_replication::{Feed, StreamConfig};
use rolegate_server::budget::DefaultBudget;
use rolegate_server::config::{
    DatabaseConfig, GatewayConfig, LiveBounds, Mode, PurgeHeader, Queries, QueryCache,
};
use rolegate_server::database::{Database, OpenError, Shared};
use rolegate_server::router::{self, App};
use rolegate_server::serve::{ListenLimits, Listener};
use rolegate_testkit::TestDatabase;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a test may choose.
#[derive(Debug)]
pub(crate) struct Options {
    /// The engine's schema.
    pub engine_schema: &'static str,
    /// The schemas that are served.
    pub schemas: Vec<String>,
    pub mode: Mode,
    pub modes: BTreeMap<String, Mode>,
    pub anonymous: bool,
    pub imported_tokens: bool,
    pub queries: Queries,
    pub query_catalogs: Vec<String>,
    pub live: LiveBounds,
    pub issuers: Vec<IssuerConfig>,
    pub gateway: GatewayConfig,
    pub listen: ListenLimits,
    pub budget: DefaultBudget,
    pub connections_per_login: usize,
    /// Another way to the database than the cluster's own socket: a fault proxy.
    pub endpoint: Option<Endpoint>,
    /// A second way, past the first.
    pub direct: Option<Endpoint>,
    /// A standby that decodes what is followed.
    pub standby: Option<Endpoint>,
    /// Where passwords are checked.
    pub password: Option<PasswordCheck>,
    /// Another clock than the system's.
    pub clock: Option<Arc<dyn Clock>>,
    /// The process follows what is committed in the exposed schema's tables.
    pub follow: bool,
    /// What it has to do with other processes that follow.
    pub relay: Option<RelayPart>,
    pub query_cache: QueryCache,
    pub purge_header: Option<PurgeHeader>,
}

/// What a process has to do with others that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelayPart {
    /// It passes on what it reads.
    PassesOn,
    /// It hears what another one reads.
    Hears,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            engine_schema: "rolegate",
            schemas: vec!["api".to_owned()],
            mode: Mode::Login,
            modes: BTreeMap::new(),
            anonymous: true,
            imported_tokens: false,
            queries: Queries::Public,
            query_catalogs: Vec::new(),
            live: LiveBounds::default(),
            issuers: Vec::new(),
            gateway: GatewayConfig {
                dry_run: true,
                ..GatewayConfig::default()
            },
            listen: ListenLimits::default(),
            budget: DefaultBudget::default(),
            connections_per_login: 4,
            endpoint: None,
            direct: None,
            standby: None,
            password: None,
            clock: None,
            follow: false,
            relay: None,
            query_cache: QueryCache::default(),
            purge_header: None,
        }
    }
}

/// Publishes the tables of the exposed schema, if they have a key.
pub(crate) async fn publish(db: &TestDatabase) {
    publish_of(db, &["api"]).await;
}

/// The same of these schemas.
pub(crate) async fn publish_of(db: &TestDatabase, schemas: &[&str]) {
    let schemas: Vec<String> = schemas.iter().map(|schema| (*schema).to_owned()).collect();
    publish_as(db, "rolegate", &schemas).await;
}

async fn publish_as(db: &TestDatabase, schema: &str, exposed: &[String]) {
    let of = Installation {
        schema: schema.to_owned(),
        owner: "rolegate_owner".to_owned(),
    };
    let mut superuser = db.superuser().await;
    publication::sync(&mut superuser, &of, exposed)
        .await
        .expect("published");
}

/// Reads what is committed, from now on.
async fn follow(
    db: &TestDatabase,
    name: &str,
    options: &Options,
    stop: &CancellationToken,
) -> Feed {
    let schema = options.engine_schema;
    publish_as(db, schema, &options.schemas).await;
    let relay = if options.relay == Some(RelayPart::PassesOn) {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let relay = Relay::bind(listen, None).await.expect("a free port");
        tokio::spawn(Arc::clone(&relay).serve(stop.clone()));
        Some(relay)
    } else {
        None
    };
    let connect = rolegate_replication::Connect {
        endpoint: db.wire_endpoint(),
        login: Login::peer("rolegate_replicator"),
    };
    let config = StreamConfig {
        standby: options.standby.clone(),
        relay,
        ..StreamConfig::new(name, connect, schema, "rolegate")
    };
    let feed = Feed::default();
    tokio::spawn(rolegate_replication::run(
        config,
        feed.clone(),
        stop.clone(),
    ));
    let follows = async {
        while feed.epoch().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(40), follows).await;
    waited.expect("the stream begins");
    feed
}

/// Opens a database as the gateway does.
async fn open(
    db: &TestDatabase,
    name: &str,
    options: &Options,
    password: Option<PasswordCheck>,
    background: &CancellationToken,
) -> Result<(Arc<Database>, Option<Feed>), OpenError> {
    let endpoint = options
        .endpoint
        .clone()
        .unwrap_or_else(|| db.wire_endpoint());
    let config = DatabaseConfig {
        name: name.to_owned(),
        schemas: options.schemas.clone(),
        engine_schema: options.engine_schema.to_owned(),
        role_prefix: "rolegate".to_owned(),
        gateway: Login::peer("rolegate_gateway"),
        authenticator: Login::peer("rolegate_authenticator"),
        anonymous: options.anonymous.then(|| Login::peer("rolegate_anonymous")),
        mode: options.mode,
        modes: options.modes.clone(),
        passwords: BTreeMap::new(),
        allowed_predefined_roles: Vec::new(),
        pools: PoolsConfig {
            endpoint: endpoint.clone(),
            schema: options.engine_schema.to_owned(),
            max_connections: 16,
            max_connections_per_login: options.connections_per_login,
            max_waiting: 256,
            wait_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_mins(1),
            max_lifetime: Duration::from_mins(10),
        },
        own_connections: 3,
        imported_tokens: options.imported_tokens,
        queries: options.queries,
        query_catalogs: options.query_catalogs.clone(),
        live: options.live,
        query_cache: options.query_cache,
        purge_header: options.purge_header.clone(),
        poll_interval: Duration::from_millis(100),
        budget: options.budget,
        endpoint,
        direct: options.direct.clone(),
        standby: options.standby.clone(),
    };
    let feed = if options.follow {
        Some(follow(db, name, options, background).await)
    } else {
        (options.relay == Some(RelayPart::Hears)).then(Feed::default)
    };
    let clock = options.clock.clone();
    let shared = Shared {
        issuers: &options.issuers,
        sealing_key: Some(&[7; 32]),
        signing_key_life: Duration::from_hours(30 * 24),
        password,
        clock: clock.unwrap_or_else(|| Arc::new(SystemClock)),
        feed: feed.clone(),
    };
    Ok((Database::open(config, shared).await?, feed))
}

/// A gateway that is being served.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub address: SocketAddr,
    pub database: Arc<Database>,
    pub client: Client,
    /// Stops accepting; `background` ends with the test.
    pub stop: CancellationToken,
    pub listeners: TaskTracker,
    background: CancellationToken,
    /// What is committed, if the process follows.
    pub feed: Option<Feed>,
}

/// The name in paths; the real one is the test's own.
pub(crate) const NAME: &str = "app";

impl Gateway {
    /// Serves `db` with the defaults.
    pub(crate) async fn start(db: &TestDatabase) -> Self {
        Self::start_with(db, Options::default()).await
    }

    /// Serves `db`.
    pub(crate) async fn start_with(db: &TestDatabase, options: Options) -> Self {
        let opened = Box::pin(Self::try_start_with(db, options)).await;
        opened.expect("the database opens")
    }

    /// Serves `db`, if it can be.
    pub(crate) async fn try_start_with(
        db: &TestDatabase,
        options: Options,
    ) -> Result<Self, OpenError> {
        Self::try_start_several(&[(NAME, db)], options).await
    }

    /// Serves several under these names. What is said of one is said of the first.
    pub(crate) async fn try_start_several(
        dbs: &[(&str, &TestDatabase)],
        mut options: Options,
    ) -> Result<Self, OpenError> {
        let (stop, background) = (CancellationToken::new(), CancellationToken::new());
        let (listeners, tasks) = (TaskTracker::new(), TaskTracker::new());
        let (mut databases, mut feeds) = (Vec::new(), Vec::new());
        for (name, db) in dbs {
            let password = options.password.take();
            let (database, feed) = open(db, name, &options, password, &background).await?;
            databases.push(database);
            feeds.push(feed);
        }
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .expect("a free port");
        let address = listener.address();
        for database in &databases {
            database.start(&tasks, &background);
        }
        let app = App::new(databases.clone(), options.gateway, stop.clone());
        listeners.spawn(listener.serve(router::gateway(app), options.listen, stop.clone()));
        listeners.close();
        let client = Client::builder().no_proxy().build().expect("a client");
        Ok(Self {
            address,
            database: databases.swap_remove(0),
            client,
            stop,
            listeners,
            background,
            feed: feeds.swap_remove(0),
        })
    }

    /// Whether it follows what is committed, itself or through another one.
    pub(crate) fn database_follows(&self) -> bool {
        self.feed
            .as_ref()
            .is_some_and(|feed| feed.epoch().is_some())
    }

    /// A token of our own key for a role.
    pub(crate) async fn token(&self, role: &str) -> String {
        let role = RoleName::new(role).expect("a usable name");
        let token = self.database.sign_for(&role, Duration::from_mins(10)).await;
        token
            .expect("the role is admitted")
            .expose_secret()
            .to_owned()
    }

    /// `http://address/api/app` and `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/api/{NAME}{path}", self.address)
    }

    /// A POST with a JSON body.
    pub(crate) fn post(&self, path: &str, token: Option<&str>, body: &str) -> RequestBuilder {
        let request = self
            .client
            .post(self.url(path))
            .header("content-type", "application/json")
            .body(body.to_owned());
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// A GET.
    pub(crate) fn get(&self, path: &str, token: Option<&str>) -> RequestBuilder {
        let request = self.client.get(self.url(path));
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Calls a function with params as JSON text; status and body text.
    pub(crate) async fn call(
        &self,
        token: &str,
        function: &str,
        params: &str,
    ) -> (StatusCode, String) {
        text(self.post(&format!("/{function}"), Some(token), params)).await
    }

    /// A JSON-RPC call; the whole envelope.
    pub(crate) async fn rpc(&self, token: &str, method: &str, params: Value) -> Value {
        let body =
            serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let (_, text) = text(self.post("", Some(token), &body.to_string())).await;
        serde_json::from_str(&text).expect("an envelope")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
        self.background.cancel();
    }
}

/// Status and body of a request.
pub(crate) async fn text(request: RequestBuilder) -> (StatusCode, String) {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    (status, response.text().await.expect("a body"))
}

/// The stable code in a body, as a problem or as a JSON-RPC error; `ok` if there is none.
pub(crate) fn code(body: &str) -> String {
    let Ok(body) = serde_json::from_str::<Value>(body) else {
        return "no JSON".to_owned();
    };
    [&body["error"]["data"]["code"], &body["code"]]
        .iter()
        .find_map(|code| code.as_str())
        .unwrap_or("ok")
        .to_owned()
}

/// Status and stable code of a request, and its body.
pub(crate) async fn outcome(request: RequestBuilder) -> (u16, String, String) {
    let (status, body) = text(request).await;
    (status.as_u16(), code(&body), body)
}

/// Makes the schema `api`, open to `roles`, with these definitions. As a superuser, because an
/// application's author is not one of our logins.
pub(crate) async fn api(db: &TestDatabase, roles: &[&str], definitions: &str) {
    let client = db.superuser().await;
    let mut sql = String::from("create schema if not exists api; ");
    for role in roles {
        // Writing to a String cannot fail.
        let _ = write!(sql, "grant usage on schema api to \"{role}\"; ");
    }
    sql.push_str(definitions);
    client
        .batch_execute(&sql)
        .await
        .expect("the definitions are valid");
}
