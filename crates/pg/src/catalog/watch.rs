//! The catalog of one database, kept current by a poll.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use moka::future::Cache;
use rolegate_model::RoleName;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::CatalogError;
use super::role::RoleFacts;
use super::snapshot::Snapshot;
use super::{load, role_load};
use crate::own::OwnPool;
use crate::quote;

/// What to read, and as whom others run.
#[derive(Debug, Clone)]
pub struct CatalogConfig {
    /// Exposed schemas; the first is the default of method names.
    pub schemas: Vec<String>,
    /// Schema of our own objects.
    pub engine_schema: String,
    /// Prefix of our own roles.
    pub role_prefix: String,
    /// Login of assume mode.
    pub authenticator: String,
    /// Predefined roles (`pg_*`) that a target may be a member of.
    pub allowed_predefined_roles: Vec<String>,
    /// Time between two looks at the fingerprints.
    pub poll_interval: Duration,
}

/// Facts about the database itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// OID in `pg_database`.
    pub oid: u32,
    /// `system_identifier` of the cluster.
    pub system_identifier: u64,
    /// `server_version_num`.
    pub server_version_num: i32,
    /// `server_version`.
    pub server_version: String,
}

/// What changed since the last look; the counters only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Roles, memberships, settings of roles.
    pub roles: u64,
    /// Privileges and policies.
    pub privileges: u64,
    /// Functions, types, comments.
    pub functions: u64,
    /// Tables, views, publications; and functions outside of the exposed schemas.
    pub relations: u64,
    /// Our own epoch: tokens, keys, budgets, channels, declarations.
    pub epoch: u64,
}

/// A role's executable functions, kept for as long as nothing changed.
type Executable = Arc<HashSet<u32>>;

/// The catalog of one database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: CatalogConfig,
    pool: OwnPool,
    database: DatabaseFacts,
    snapshot: ArcSwap<Snapshot>,
    /// Bounded: names come from tokens.
    roles: Cache<RoleName, Option<Arc<RoleFacts>>>,
    executable: Cache<u32, Executable>,
    /// What the last look saw.
    looked: ArcSwapOption<Fingerprint>,
    /// Grows before the caches are emptied: what was asked before it and stored after it is old.
    generation: AtomicU64,
    change: watch::Sender<Change>,
    relay_term: watch::Sender<Option<i64>>,
}

/// Roles whose facts are kept.
const MOST_ROLES: u64 = 10_000;
/// And for how long at most, whatever the fingerprints say.
const KEPT: Duration = Duration::from_mins(1);

/// What a look at the fingerprints shows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint {
    roles: String,
    privileges: String,
    functions: String,
    relations: String,
    epoch: i64,
}

impl Catalog {
    /// Reads the catalog for the first time.
    pub async fn open(pool: OwnPool, config: CatalogConfig) -> Result<Self, CatalogError> {
        let mut client = pool.get().await?;
        let database = database(&client).await?;
        let snapshot = load::snapshot(&mut client, &config.schemas, &config.engine_schema).await?;
        drop(client);
        Ok(Self(Arc::new(Shared {
            config,
            pool,
            database,
            snapshot: ArcSwap::from_pointee(snapshot),
            roles: cache(),
            executable: cache(),
            looked: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            change: watch::Sender::new(Change::default()),
            relay_term: watch::Sender::new(None),
        })))
    }

    /// Facts about the database.
    pub fn database(&self) -> &DatabaseFacts {
        &self.0.database
    }

    /// The present functions. Never blocks; an old snapshot stays valid for who holds it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// Exposed schemas.
    pub fn schemas(&self) -> &[String] {
        &self.0.config.schemas
    }

    /// Facts about a role; `None` if it does not exist.
    pub async fn role(&self, name: &RoleName) -> Result<Option<Arc<RoleFacts>>, CatalogError> {
        if let Some(known) = self.0.roles.get(name).await {
            return Ok(known);
        }
        let before = self.0.generation.load(Ordering::SeqCst);
        let client = self.0.pool.get().await?;
        let facts = role_load::facts(&client, &self.0.config, &self.0.database, name).await?;
        let facts = facts.map(Arc::new);
        if !self.is_as_looked_at(&client).await? {
            return Ok(facts);
        }
        self.0.roles.insert(name.clone(), facts.clone()).await;
        if self.0.generation.load(Ordering::SeqCst) != before {
            self.0.roles.invalidate(name).await;
        }
        Ok(facts)
    }

    /// Functions the role may execute, by OID.
    pub async fn executable(&self, role_oid: u32) -> Result<Executable, CatalogError> {
        if let Some(known) = self.0.executable.get(&role_oid).await {
            return Ok(known);
        }
        let before = self.0.generation.load(Ordering::SeqCst);
        let client = self.0.pool.get().await?;
        let found = role_load::executable(&client, &self.0.config.schemas, role_oid).await?;
        let found = Arc::new(found);
        if !self.is_as_looked_at(&client).await? {
            return Ok(found);
        }
        self.0.executable.insert(role_oid, Arc::clone(&found)).await;
        if self.0.generation.load(Ordering::SeqCst) != before {
            self.0.executable.invalidate(&role_oid).await;
        }
        Ok(found)
    }

    /// Whether nothing has changed since the last look. What was read while something had is not kept: if
    /// it is taken back before the next look, that look sees nothing.
    async fn is_as_looked_at(&self, client: &tokio_postgres::Client) -> Result<bool, CatalogError> {
        let Some(looked) = self.0.looked.load_full() else {
            return Ok(false);
        };
        Ok(fingerprint(client, &self.0.config).await?.0 == *looked)
    }

    /// Tells about changes, after the caches were emptied.
    pub fn changes(&self) -> watch::Receiver<Change> {
        self.0.change.subscribe()
    }

    /// The term of the reader that passes on the change stream, as the last look saw it: another one says that
    /// there may be another relay.
    pub fn relay_term(&self) -> watch::Receiver<Option<i64>> {
        self.0.relay_term.subscribe()
    }

    /// Polls until `stop`. Errors are logged once for each run of failures and do not end it:
    /// what is known stays known, and new roles can't be looked up while the database is away.
    pub async fn watch(&self, stop: CancellationToken) {
        let mut last: Option<Fingerprint> = None;
        let mut failing = false;
        loop {
            match self.look(&mut last).await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, cause = ?error, "catalog_poll_failed");
                    }
                    failing = true;
                    metrics::counter!("rolegate_catalog_poll_failures_total").increment(1);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.0.config.poll_interval) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn look(&self, last: &mut Option<Fingerprint>) -> Result<(), CatalogError> {
        let mut client = self.0.pool.get().await?;
        let (now, relay_term) = fingerprint(&client, &self.0.config).await?;
        self.0.relay_term.send_if_modified(|known| {
            let differs = *known != relay_term;
            *known = relay_term;
            differs
        });
        if last.as_ref() == Some(&now) {
            return Ok(());
        }
        // The first look has nothing to compare with and a snapshot that may be older.
        let differs = |pick: fn(&Fingerprint) -> &str| {
            last.as_ref().is_none_or(|last| pick(last) != pick(&now))
        };
        let roles = differs(|f| &f.roles);
        let privileges = differs(|f| &f.privileges);
        let functions = differs(|f| &f.functions);
        let relations = differs(|f| &f.relations);
        let epoch = last.as_ref().is_none_or(|last| last.epoch != now.epoch);
        let first = last.is_none();
        if functions || epoch {
            let schemas = &self.0.config.schemas;
            let snapshot =
                load::snapshot(&mut client, schemas, &self.0.config.engine_schema).await?;
            self.0.snapshot.store(Arc::new(snapshot));
        }
        if roles {
            // Noted as soon as they appear, so that only tokens older than their role are refused.
            let sql = include_str!("sql/record_roles.sql").replace(
                "rolegate.",
                &format!("{}.", quote::ident(&self.0.config.engine_schema)),
            );
            client.execute(&sql, &[]).await?;
        }
        self.0.generation.fetch_add(1, Ordering::SeqCst);
        self.0.roles.invalidate_all();
        self.0.executable.invalidate_all();
        self.0.looked.store(Some(Arc::new(now.clone())));
        if !first {
            self.0.change.send_modify(|change| {
                change.roles += u64::from(roles);
                change.privileges += u64::from(privileges);
                change.functions += u64::from(functions);
                change.relations += u64::from(relations);
                change.epoch += u64::from(epoch);
            });
        }
        *last = Some(now);
        Ok(())
    }
}

fn cache<K, V>() -> Cache<K, V>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder()
        .max_capacity(MOST_ROLES)
        .time_to_live(KEPT)
        .build()
}

async fn fingerprint(
    client: &tokio_postgres::Client,
    config: &CatalogConfig,
) -> Result<(Fingerprint, Option<i64>), CatalogError> {
    let row = client
        .query_one(include_str!("sql/fingerprint.sql"), &[&config.schemas])
        .await?;
    let epoch_sql = include_str!("sql/epoch.sql").replace(
        "rolegate.",
        &format!("{}.", quote::ident(&config.engine_schema)),
    );
    let epoch = client.query_one(&epoch_sql, &[]).await?;
    let fingerprint = Fingerprint {
        roles: row.try_get(0)?,
        privileges: row.try_get(1)?,
        functions: row.try_get(2)?,
        relations: row.try_get(3)?,
        epoch: epoch.try_get(0)?,
    };
    Ok((fingerprint, epoch.try_get(1)?))
}

async fn database(client: &tokio_postgres::Client) -> Result<DatabaseFacts, CatalogError> {
    let row = client
        .query_one(include_str!("sql/database.sql"), &[])
        .await?;
    let identifier: &str = row.try_get(1)?;
    Ok(DatabaseFacts {
        oid: row.try_get(0)?,
        system_identifier: identifier
            .parse()
            .map_err(|_| CatalogError::Unexpected(format!("system identifier {identifier}")))?,
        server_version_num: row.try_get(2)?,
        server_version: row.try_get(3)?,
    })
}
