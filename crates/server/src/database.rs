//! One database behind the gateway: its catalog, its connections, its keys, and the background
//! work that keeps them current.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::SignedDuration;
use moka::Entry;
use moka::sync::Cache;
use rolegate_auth::api_token::{ApiTokenOptions, ApiTokens};
use rolegate_auth::claims_signer::ClaimsSigner;
use rolegate_auth::jwt::{VerifierError, VerifierOptions};
use rolegate_auth::signing::{OwnToken, SealingKey, SigningError, SigningKeys};
use rolegate_auth::{Authenticator, IssuerConfig, PasswordCheck, Refusal, Verifier, admit_login};
use rolegate_model::{Clock, RoleName, RoleNameError};
use rolegate_pg::catalog::{Catalog, CatalogConfig, CatalogError, Change, RoleFacts, Snapshot};
use rolegate_pg::own::{OwnPool, OwnPoolError};
use rolegate_pg::pools::Pools;
use rolegate_pg::quote;
use rolegate_replication::Feed;
use rolegate_replication::relay::{self, FollowConfig};
use rolegate_rpc::assume::Verdicts;
use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::budget::Budget;
use crate::config::{DatabaseConfig, Queries};
use crate::direct;
pub use crate::direct::DirectError;
use crate::events::EventHub;
use crate::identity::run_mode;
use crate::job_watch::JobWatch;
use crate::live::LiveHub;
use crate::query::{Analyses, Shelf, Texts};
use crate::revocation::{self, Served};
use crate::stores::{EngineSql, StoredKeys, StoredTokens};
use crate::streams::Streams;

/// A database that is being served.
#[derive(Debug)]
pub struct Database {
    pub(crate) config: DatabaseConfig,
    pub(crate) catalog: Catalog,
    pub(crate) pools: Pools,
    pub(crate) own: OwnPool,
    /// The catalog's connections, where they are not those of `own`.
    direct: Option<OwnPool>,
    pub(crate) sql: Arc<EngineSql>,
    pub(crate) authenticator: Authenticator,
    pub(crate) signing: Option<Arc<SigningKeys>>,
    signing_key_life: Duration,
    pub(crate) password: Option<PasswordCheck>,
    pub(crate) events: Arc<EventHub>,
    pub(crate) job_watch: Arc<JobWatch>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) clock: Arc<dyn Clock>,
    /// `search_path` of callers, quoted.
    pub(crate) search_path: Arc<str>,
    served: Arc<Served>,
    budgets: Cache<u32, Budgeted>,
    /// How often budgets could have become others.
    budget_changes: AtomicU64,
    claims: Arc<ClaimsSigner>,
    api_tokens: Arc<ApiTokens>,
    verifier: Arc<Verifier>,
    pub(crate) analyses: Analyses,
    pub(crate) texts: Texts,
    /// What is committed, if this process reads it, or could hear it from the one that does.
    pub(crate) feed: Option<Feed>,
    /// Answers for everybody, if there are any.
    pub(crate) shelf: Option<Shelf>,
    /// Queries that are watched.
    pub(crate) live: Arc<LiveHub>,
    verdicts: ArcSwapOption<(Arc<Snapshot>, Arc<Verdicts>)>,
    /// The last change of the catalog that was acted upon.
    acted: watch::Sender<Change>,
}

/// Why a database can't be served.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No connection for our own work.
    #[error("no connection to the database `{0}` as the gateway's own login")]
    Own(String, #[source] OwnPoolError),
    /// The direct address does not do.
    #[error("direct_url of the database `{0}` can't be used")]
    Direct(String, #[source] DirectError),
    /// The catalog can't be read; most often because nothing was migrated.
    #[error("the catalog of the database `{0}` can't be read; was `rolegate migrate` run?")]
    Catalog(String, #[source] CatalogError),
    /// The issuers don't fit together.
    #[error("the issuers can't be used")]
    Issuers(#[source] VerifierError),
    /// The signing keys can't be opened.
    #[error("the signing keys can't be opened")]
    Signing(#[source] SigningError),
    /// The anonymous login's name is not a usable role name.
    #[error("the anonymous login's name can't be used")]
    Anonymous(#[source] RoleNameError),
    /// The database cannot be asked for the age of the signing key.
    #[error("the age of the signing key can't be read")]
    RotateSigningKey(#[source] tokio_postgres::Error),
    /// The key that signs claims can't be read.
    #[error("the key that signs claims can't be read")]
    ClaimsKey(#[source] tokio_postgres::Error),
}

/// Why no token was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// There is no sealing key, so there are no keys of ours.
    #[error("no signing key is configured")]
    Off,
    /// The role may not be used.
    #[error("the role is refused")]
    Refused(#[from] Refusal),
    /// The catalog can't be read.
    #[error("the role can't be looked up")]
    Catalog(#[from] CatalogError),
    /// Signing failed.
    #[error("signing failed")]
    Signing(#[from] SigningError),
}

/// What all databases of a process share.
#[derive(Debug)]
pub struct Shared<'a> {
    /// Issuers of accepted JWTs.
    pub issuers: &'a [IssuerConfig],
    /// Seals our signing keys; `None`: no tokens of our own.
    pub sealing_key: Option<&'a [u8]>,
    /// How long a signing key signs before a successor is made.
    pub signing_key_life: Duration,
    /// Checks passwords of one database's logins; `None`: no password login.
    pub password: Option<PasswordCheck>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is committed in the database. Where this process does not read it itself, it is heard from the one that
    /// does, if that one passes it on. `None`: neither.
    pub feed: Option<Feed>,
}

/// A role's budget, and what it was made of.
#[derive(Debug, Clone)]
struct Budgeted {
    /// How often budgets could have become others when it was looked at.
    changes: u64,
    facts: Arc<RoleFacts>,
    budget: Arc<Budget>,
}

impl Database {
    /// Connects, reads the catalog and the keys.
    pub async fn open(config: DatabaseConfig, shared: Shared<'_>) -> Result<Arc<Self>, OpenError> {
        let name = || config.name.clone();
        let own = OwnPool::new(&config.endpoint, &config.gateway, config.own_connections)
            .map_err(|error| OpenError::Own(name(), error))?;
        let direct = direct::open(&config, &own)
            .await
            .map_err(|error| OpenError::Direct(name(), error))?;
        let watching = direct.as_ref().unwrap_or(&own).clone();
        let catalog = Catalog::open(watching, catalog_config(&config))
            .await
            .map_err(|error| OpenError::Catalog(name(), error))?;
        let sql = EngineSql::new(&config.engine_schema);

        let signing = match shared.sealing_key {
            Some(bytes) => Some(signing_keys(&own, &sql, bytes, &shared.clock).await?),
            None => None,
        };
        let verifier = Verifier::new(
            shared.issuers,
            signing.clone(),
            VerifierOptions::default(),
            &shared.clock,
        )
        .map_err(OpenError::Issuers)?;
        let verifier = Arc::new(verifier);
        let tokens = StoredTokens {
            pool: own.clone(),
            sql: Arc::clone(&sql),
        };
        let options = ApiTokenOptions {
            imported: config.imported_tokens,
            ..ApiTokenOptions::default()
        };
        let api_tokens = Arc::new(ApiTokens::new(Arc::new(tokens), options));
        let anonymous = config
            .anonymous
            .as_ref()
            .map(|login| RoleName::new(&login.user))
            .transpose()
            .map_err(OpenError::Anonymous)?;
        let authenticator = Authenticator::new(
            Arc::clone(&verifier),
            Some(Arc::clone(&api_tokens)),
            anonymous,
        );

        let claims = Arc::new(ClaimsSigner::new(Arc::clone(&shared.clock)));
        let pools = Pools::new(config.pools.clone(), Arc::clone(&claims) as _);
        let streams = Arc::new(Streams::default());
        let events = EventHub::new(&config, own.clone(), Arc::clone(&sql), Arc::clone(&streams));
        let search_path: Vec<String> = config
            .schemas
            .iter()
            .map(|schema| quote::ident(schema))
            .collect();
        let search_path = format!("{}, pg_temp", search_path.join(", ")).into();
        let public = config.queries == Queries::Public && config.anonymous.is_some();
        // Where nothing is followed nothing is kept, but cursors of other processes are answered.
        let feed = shared.feed.clone().unwrap_or_default();
        let shelf = public.then(|| Shelf::new(feed, &config.query_cache));
        let live = config.live;
        let database = Arc::new(Self {
            config,
            catalog,
            pools,
            own,
            direct,
            sql,
            authenticator,
            signing,
            signing_key_life: shared.signing_key_life,
            password: shared.password,
            events,
            job_watch: JobWatch::new(),
            streams,
            clock: shared.clock,
            search_path,
            served: Arc::default(),
            budgets: Cache::new(10_000),
            budget_changes: AtomicU64::new(0),
            claims,
            api_tokens,
            verifier,
            analyses: Analyses::default(),
            texts: Texts::default(),
            live: LiveHub::new(shared.feed.clone(), live),
            feed: shared.feed,
            shelf,
            verdicts: ArcSwapOption::empty(),
            acted: watch::Sender::new(Change::default()),
        });
        database.refresh_claims_key().await?;
        Ok(database)
    }

    /// Name in paths and in `db_name`.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// How it is served.
    pub fn config(&self) -> &DatabaseConfig {
        &self.config
    }

    /// The budget of a role; the same one as long as its facts are the same.
    pub(crate) fn budget(&self, facts: &Arc<RoleFacts>) -> Arc<Budget> {
        self.served.note(facts);
        let changes = self.budget_changes.load(Ordering::Acquire);
        let role = facts.identity.oid;
        if let Some(known) = self.budgets.get(&role)
            && known.changes == changes
        {
            return known.budget;
        }
        let renewed = self.budgets.entry(role).and_upsert_with(|known| {
            let same = known.map(Entry::into_value).filter(|known| {
                (known.facts.budget, &known.facts.settings) == (facts.budget, &facts.settings)
            });
            let new = || {
                Arc::new(Budget::new(
                    facts.budget,
                    &facts.settings,
                    &self.config.budget,
                ))
            };
            Budgeted {
                changes,
                facts: Arc::clone(facts),
                // With what runs already, and what was used up.
                budget: same.map_or_else(new, |known| known.budget),
            }
        });
        renewed.into_value().budget
    }

    /// The state of the catalog that what is known of queries belongs to.
    pub(crate) fn catalog_state(&self) -> rolegate_query::cache::Catalog {
        let Change {
            roles,
            privileges,
            functions,
            relations,
            epoch,
        } = *self.catalog.changes().borrow();
        // The stream tells definitions sooner than the poll finds them.
        let told = self
            .shelf
            .as_ref()
            .map_or(0, |shelf| shelf.cache.definitions());
        // Declarations of safe functions are part of the epoch.
        [roles, privileges, functions + epoch, relations + told]
    }

    /// `server_version` of the cluster.
    pub fn server_version(&self) -> &str {
        &self.catalog.database().server_version
    }

    /// `server_version_num` of the cluster.
    pub fn server_version_num(&self) -> i32 {
        self.catalog.database().server_version_num
    }

    /// Signs a token for a role that may be used here. For password logins and for development;
    /// whoever calls this has checked who asks.
    pub async fn sign_for(
        &self,
        role: &RoleName,
        lifetime: Duration,
    ) -> Result<SecretString, SignError> {
        let facts = self.catalog.role(role).await?;
        let mode = run_mode(self.config.mode_of(role));
        let identity = admit_login(role, facts.as_deref(), mode)?;
        let signing = self.signing.as_ref().ok_or(SignError::Off)?;
        let token = OwnToken {
            role: &identity,
            database: self.name(),
            lifetime: SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX),
        };
        let signed = match signing.sign(&token) {
            // All keys were revoked a moment ago; whoever logs in just then gets the next one.
            Err(SigningError::NoKey) => {
                self.refresh_signing_keys().await;
                signing.sign(&token)
            }
            signed => signed,
        };
        Ok(signed?.token)
    }

    /// Starts the background work on `tasks`; it ends at `stop`.
    pub fn start(self: &Arc<Self>, tasks: &TaskTracker, stop: &CancellationToken) {
        let catalog = self.catalog.clone();
        let token = stop.clone();
        tasks.spawn(async move { catalog.watch(token).await });

        let database = Arc::clone(self);
        let token = stop.clone();
        tasks.spawn(async move { database.watch_rights(token).await });

        let database = Arc::clone(self);
        let token = stop.clone();
        tasks.spawn(async move { database.keep_house(token).await });

        let events = Arc::clone(&self.events);
        let token = stop.clone();
        tasks.spawn(async move { events.run(token).await });

        if self.shelf.is_some() {
            let database = Arc::clone(self);
            let token = stop.clone();
            tasks.spawn(async move {
                if let Some(shelf) = &database.shelf {
                    shelf.follow(&database, token).await;
                }
            });
        }

        if let Some(feed) = &self.feed {
            // Before anybody watches: what is committed from here on is noticed.
            let live = Arc::clone(&self.live);
            tasks.spawn(live.run(Arc::clone(self), feed.subscribe(), stop.clone()));
            let config = FollowConfig {
                database: self.name().into(),
                pool: self.own.clone(),
                sql: Arc::clone(&self.sql),
                term: self.catalog.relay_term(),
            };
            tasks.spawn(relay::follow(config, feed.clone(), stop.clone()));
        }

        let job_watch = Arc::clone(&self.job_watch);
        let token = stop.clone();
        tasks.spawn(async move { job_watch.run(token).await });
    }

    /// Ends what callers still run and closes the connections.
    pub async fn close(&self) {
        self.pools.close().await;
        self.verifier.shut_down().await;
        self.own.close();
        if let Some(direct) = &self.direct {
            direct.close();
        }
    }

    /// Acts on what the catalog's poll finds, until `stop`.
    async fn watch_rights(self: Arc<Self>, stop: CancellationToken) {
        let mut news = self.catalog.changes();
        let mut seen = *news.borrow_and_update();
        loop {
            tokio::select! {
                heard = news.changed() => if heard.is_err() { return },
                () = stop.cancelled() => return,
            }
            let now = *news.borrow_and_update();
            if now.epoch != seen.epoch {
                self.epoch_changed().await;
            }
            if now.roles != seen.roles {
                self.budget_changes.fetch_add(1, Ordering::AcqRel);
                revocation::roles_changed(&self.catalog, &self.pools, &self.served, &self.config)
                    .await;
            }
            seen = now;
            self.acted.send_replace(now);
        }
    }

    /// Changes of rights, of which everything that was remembered is forgotten by now. Who asks
    /// again whether somebody still may waits for these.
    pub(crate) fn changes(&self) -> watch::Receiver<Change> {
        self.acted.subscribe()
    }

    /// Tokens, keys or budgets changed.
    async fn epoch_changed(&self) {
        self.api_tokens.forget_all();
        self.budget_changes.fetch_add(1, Ordering::AcqRel);
        self.refresh_signing_keys().await;
        if let Err(error) = self.refresh_claims_key().await {
            tracing::warn!(%error, cause = ?error, "claims_key_not_reloaded");
        }
    }

    /// Which functions may run in assume mode; computed once for each snapshot.
    pub(crate) fn verdicts(&self, snapshot: &Arc<Snapshot>) -> Arc<Verdicts> {
        let known = self.verdicts.load();
        if let Some(known) = &*known
            && Arc::ptr_eq(&known.0, snapshot)
        {
            return Arc::clone(&known.1);
        }
        let verdicts = Arc::new(Verdicts::of(snapshot, &self.config.engine_schema));
        self.verdicts.store(Some(Arc::new((
            Arc::clone(snapshot),
            Arc::clone(&verdicts),
        ))));
        verdicts
    }

    /// Small work at long intervals.
    async fn keep_house(self: Arc<Self>, stop: CancellationToken) {
        let mut every = tokio::time::interval(Duration::from_secs(30));
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.house_work().await {
                tracing::warn!(%error, cause = ?error, "house_keeping_failed");
            }
        }
    }

    async fn house_work(&self) -> Result<(), OpenError> {
        if let Err(error) = self.rotate_old_signing_key().await {
            tracing::warn!(%error, cause = ?error, "signing_key_not_rotated");
        }
        // What a change of the epoch made us do may have failed.
        self.refresh_signing_keys().await;
        self.refresh_claims_key().await?;
        let used = self.api_tokens.take_used();
        let client = self
            .own
            .get()
            .await
            .map_err(|error| OpenError::Own(self.name().to_owned(), error))?;
        if !used.is_empty() {
            let sql = self.sql.of("select rolegate.touch_api_tokens($1)");
            client
                .execute(&sql, &[&used])
                .await
                .map_err(OpenError::ClaimsKey)?;
        }
        for sql in [
            "select rolegate.idempotency_prune(1000)",
            "select rolegate.event_prune(interval '1 hour', 10000)",
        ] {
            client
                .execute(&self.sql.of(sql), &[])
                .await
                .map_err(OpenError::ClaimsKey)?;
        }
        Ok(())
    }

    /// Asks the database whether a key has signed for long enough: its clock counts, for every process
    /// the same, and one of them is told to go on.
    async fn rotate_old_signing_key(&self) -> Result<(), OpenError> {
        if self.signing.is_none() {
            return Ok(());
        }
        let client = self
            .own
            .get()
            .await
            .map_err(|error| OpenError::Own(self.name().to_owned(), error))?;
        let sql = self
            .sql
            .of("select rolegate.rotate_signing_key(pg_catalog.make_interval(secs => $1))");
        let asked: bool = client
            .query_one(&sql, &[&self.signing_key_life.as_secs_f64()])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(OpenError::RotateSigningKey)?;
        if asked {
            tracing::info!(event = "signing_key_rotated", database = self.name());
        }
        Ok(())
    }

    /// Loads our signing keys, and makes the successor of one that was asked to end.
    async fn refresh_signing_keys(&self) {
        let Some(signing) = &self.signing else { return };
        let refreshed = match signing.reload().await {
            Ok(()) => signing.ensure_key().await,
            Err(error) => Err(error),
        };
        if let Err(error) = refreshed {
            tracing::warn!(%error, cause = ?error, "signing_keys_not_reloaded");
        }
    }

    async fn refresh_claims_key(&self) -> Result<(), OpenError> {
        let client = self
            .own
            .get()
            .await
            .map_err(|error| OpenError::Own(self.name().to_owned(), error))?;
        let sql = self
            .sql
            .of("select k.key_id, k.key from rolegate.claim_signing_key() k");
        let row = client
            .query_one(&sql, &[])
            .await
            .map_err(OpenError::ClaimsKey)?;
        let id: i32 = row.try_get(0).map_err(OpenError::ClaimsKey)?;
        if self.claims.key_id() != Some(id) {
            self.claims
                .set_key(id, row.try_get(1).map_err(OpenError::ClaimsKey)?);
        }
        Ok(())
    }
}

fn catalog_config(config: &DatabaseConfig) -> CatalogConfig {
    CatalogConfig {
        schemas: config.schemas.clone(),
        engine_schema: config.engine_schema.clone(),
        role_prefix: config.role_prefix.clone(),
        authenticator: config.authenticator.user.clone(),
        allowed_predefined_roles: config.allowed_predefined_roles.clone(),
        poll_interval: config.poll_interval.min(Duration::from_millis(500)),
    }
}

async fn signing_keys(
    own: &OwnPool,
    sql: &Arc<EngineSql>,
    sealing: &[u8],
    clock: &Arc<dyn Clock>,
) -> Result<Arc<SigningKeys>, OpenError> {
    let sealing = SealingKey::from_bytes(sealing)
        .map_err(|error| OpenError::Signing(SigningError::Sealed(error)))?;
    let store = StoredKeys {
        pool: own.clone(),
        sql: Arc::clone(sql),
    };
    let keys = SigningKeys::open(
        rolegate_auth::verified::OWN_ISSUER,
        Arc::new(store),
        sealing,
        Arc::clone(clock),
    )
    .await
    .map_err(OpenError::Signing)?;
    keys.ensure_key().await.map_err(OpenError::Signing)?;
    Ok(keys)
}
