//! What is known of texts, kept for as long as nothing in the catalog changes.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use moka::future::Cache;
use rolegate_model::{CredentialKind, ErrorCode};
use rolegate_pg::Statement;
use rolegate_pg::own::OwnPoolError;
use rolegate_pg::session::{Reply, SessionError};
use rolegate_pg::wire::DbError;
use rolegate_query::cache::Catalog;
use rolegate_query::{
    Analysis, CLOSED_SQL, Evidence, FUNCTIONS_SQL, Found as Function, Identity, OPERATORS_SQL,
    RELATIONS_SQL, Refusal, Relation, Text, Verdict, WhyPrivate, explain, judge, locks, probe,
    rows,
};

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

use super::flights::Flights;
use super::{assume, outcome};
use crate::call::{RunError, Session};
use crate::config::Mode;
use crate::metrics::ANALYSES;
use crate::problem::Problem;

/// Bytes of texts that are kept with what is known of them.
const MOST_BYTES: u64 = 32 * 1024 * 1024;
/// Questions to the catalog at the same time.
const QUESTIONS: usize = 2;
/// What is known of a text takes about as much beside the text and what it reads.
const BYTES_BESIDE: usize = 2048;
/// `explain (format json) `, which a position of an error counts as well.
const BEFORE: usize = 22;

/// Whether the role of the OID is a member of the role of the name.
const IS_MEMBER: &str = "select exists (select from pg_catalog.pg_roles r \
    where r.rolname = $2 and pg_catalog.pg_has_role($1::pg_catalog.oid, r.oid, 'member'))";

/// What is known of the texts of one database.
#[derive(Debug)]
pub(crate) struct Analyses {
    known: Cache<Key, Arc<Found>>,
    looks: Flights<Key, Arc<Found>>,
    /// Questions to the catalog at the same time: the connections are also those that callers are
    /// recognized with, and texts come from anybody.
    turns: Semaphore,
}

/// A text in an identity, in a state of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    sql: Arc<str>,
    role_oid: u32,
    catalog: Catalog,
}

/// What was found out about a text in one identity.
#[derive(Debug)]
pub(crate) struct Found {
    outcome: Result<Analysis, Stopped>,
    /// The state of the catalog in which it was.
    catalog: Catalog,
    /// It was asked for before.
    known: AtomicBool,
    /// The statement that gives the rows and stays prepared, once it was needed.
    prepared: OnceLock<Statement>,
}

/// Why a text does not run in an identity.
#[derive(Debug, Clone)]
pub(crate) enum Stopped {
    /// By us.
    Refused(Refusal),
    /// By PostgreSQL, before anything was run.
    Database {
        sqlstate: String,
        message: String,
        position: Option<usize>,
    },
}

impl Default for Analyses {
    fn default() -> Self {
        let cache = Cache::builder()
            .max_capacity(MOST_BYTES)
            .weigher(|key: &Key, found: &Arc<Found>| {
                let known = found.outcome.as_ref().map_or(0, Analysis::weight);
                u32::try_from(2 * key.sql.len() + BYTES_BESIDE + known).unwrap_or(u32::MAX)
            })
            .build();
        Self {
            known: cache,
            looks: Flights::default(),
            turns: Semaphore::new(QUESTIONS),
        }
    }
}

impl Analyses {
    /// A turn to ask something on the gateway's own connections.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.turns.acquire().await
    }
}

impl Found {
    /// What it reads and gives.
    pub(crate) fn analysis(&self) -> Result<&Analysis, &Stopped> {
        self.outcome.as_ref()
    }

    /// The state of the catalog it belongs to.
    pub(super) fn catalog(&self) -> Catalog {
        self.catalog
    }

    /// Whether it was asked for more than once: then its statement is worth preparing.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// The statement that gives the rows of `text`, which this is about, without its parameters.
    pub(super) fn rows(&self, text: &Text, prepared: bool) -> Result<Statement, &Stopped> {
        let columns = &self.analysis()?.columns;
        if !prepared {
            return Ok(rows(text, columns, None));
        }
        let make = || rows(text, columns, Some(&self.catalog));
        Ok(self.prepared.get_or_init(make).clone())
    }

    /// What it means that the anonymous role may or may not run it.
    pub(super) fn verdict(&self) -> Result<Verdict<'_>, Problem> {
        match &self.outcome {
            Ok(analysis) => Ok(analysis.scope()),
            // With a token it may be asked.
            Err(Stopped::Refused(refusal @ Refusal::NeedsToken(_))) => {
                Ok(Verdict::Private(WhyPrivate::NeedsToken(refusal.clone())))
            }
            Err(Stopped::Refused(refusal)) => Err(outcome::refused(refusal)),
            // A mistake in the text itself; nothing was looked up yet.
            Err(stopped @ Stopped::Database { sqlstate, .. }) if sqlstate == "42601" => {
                Err(outcome::to_caller(stopped))
            }
            Err(Stopped::Database {
                sqlstate, message, ..
            }) => Ok(Verdict::Private(WhyPrivate::Refused {
                sqlstate: sqlstate.clone(),
                message: message.clone(),
            })),
        }
    }
}

/// What is known of the text in the identity of the session. To find it out counts for `payer`.
pub(super) async fn find(
    session: &Session,
    payer: &Session,
    text: &Text,
) -> Result<Arc<Found>, Problem> {
    let key = key(session, text);
    let cache = &session.database.analyses.known;
    let catalog = key.catalog;
    if let Some(found) = cache.get(&key).await {
        found.known.store(true, Ordering::Relaxed);
        return Ok(found);
    }
    let look = || async {
        // Somebody may have found it out since then.
        if let Some(found) = cache.get(&key).await {
            return Ok(found);
        }
        let outcome = find_out(session, payer, text).await?;
        let label = match &outcome {
            Ok(_) => "ok",
            Err(Stopped::Refused(_)) => "refused",
            Err(Stopped::Database { .. }) => "denied",
        };
        metrics::counter!(ANALYSES, "outcome" => label).increment(1);
        let found = Arc::new(Found {
            outcome,
            catalog,
            known: AtomicBool::new(false),
            prepared: OnceLock::new(),
        });
        cache.insert(key.clone(), Arc::clone(&found)).await;
        Ok(found)
    };
    session.database.analyses.looks.join(&key, look).await
}

/// Forgets it: a table has changed, and the catalog was not looked at since.
pub(super) async fn forget(session: &Session, text: &Text) {
    let key = key(session, text);
    session.database.analyses.known.invalidate(&key).await;
}

fn key(session: &Session, text: &Text) -> Key {
    Key {
        sql: Arc::clone(&text.sql),
        role_oid: session.caller.principal.role.oid,
        catalog: session.database.catalog_state(),
    }
}

/// Functions first: planning executes those that are immutable.
async fn find_out(
    session: &Session,
    payer: &Session,
    text: &Text,
) -> Result<Result<Analysis, Stopped>, Problem> {
    let identity = match (session.caller.principal.kind, session.caller.mode) {
        (CredentialKind::Anonymous, _) => Identity::Anonymous,
        (_, Mode::Login) => Identity::Login,
        (_, Mode::Assume) => Identity::Assume,
    };
    // A new text is a request more: it costs more than one that is known.
    let permit = payer.admit()?;
    let catalog = Asking::of(session);
    let only_of = (identity == Identity::Anonymous).then_some(session.caller.principal.role.oid);
    let functions = catalog.functions(text, only_of).await?;
    if let Err(refusal) = judge(text, &functions, identity) {
        return Ok(Err(Stopped::Refused(refusal)));
    }
    if identity == Identity::Assume
        && let Some(refusal) = assume::refusal(&catalog, text).await?
    {
        return Ok(Err(Stopped::Refused(refusal)));
    }
    if identity == Identity::Anonymous && catalog.names_what_is_closed(text).await? {
        return Ok(Err(Stopped::Database {
            sqlstate: "42501".to_owned(),
            message: "a type in it is that of a relation that is not public".to_owned(),
            position: None,
        }));
    }
    let operators = catalog.operators(text).await?;
    let with_nulls = |statement: Statement| {
        (0..text.parameters).fold(statement, |statement, _| statement.param(0, None::<Bytes>))
    };
    let statements = vec![with_nulls(explain(text)), with_nulls(probe(text)), locks()];
    drop(permit);
    let reply = match session.run_query(payer, statements).await {
        Ok(reply) => reply,
        Err(error) => return stopped(error).map(Err),
    };
    let relations = catalog.relations(locked(&reply)).await?;
    let (mut view_functions, mut view_operators) = (Vec::new(), Vec::new());
    for relation in &relations {
        if let Some(view) = relation
            .view
            .as_deref()
            .and_then(|view| Text::read(view).ok())
        {
            view_functions.extend(catalog.functions(&view, None).await?);
            view_operators.extend(catalog.operators(&view).await?);
        }
    }
    let evidence = Evidence {
        text,
        plan: reply
            .results
            .first()
            .and_then(|rows| rows.scalar())
            .map_or(&[], |plan| &plan[..]),
        fields: reply.results.get(1).map_or(&[], |rows| &rows.fields),
        relations,
        view_functions: &view_functions,
        operators,
        view_operators,
        catalogs: &session.database.config.query_catalogs,
    };
    Ok(Analysis::conclude(evidence, &functions, identity).map_err(Stopped::Refused))
}

/// Errors about the text are an outcome; all others are not kept.
fn stopped(error: RunError) -> Result<Stopped, Problem> {
    let RunError::Session(session) = &error else {
        return Err(error.into());
    };
    match &**session {
        SessionError::Database {
            statement,
            error: database,
            ..
        } if is_about_the_text(&database.code) => Ok(Stopped::Database {
            sqlstate: database.code.clone(),
            message: database.message.clone(),
            position: position(*statement, database),
        }),
        _ => Err(outcome::of_run(error)),
    }
}

/// Classes of syntax and access rules, names, values (of constants: nothing was read), features.
fn is_about_the_text(sqlstate: &str) -> bool {
    ["42", "3F", "22", "0A", "25006"]
        .iter()
        .any(|class| sqlstate.starts_with(class))
}

fn position(statement: Option<usize>, error: &DbError) -> Option<usize> {
    let position: usize = error.position.as_deref()?.parse().ok()?;
    (statement == Some(0))
        .then(|| position.checked_sub(BEFORE))
        .flatten()
}

fn locked(reply: &Reply) -> Vec<u32> {
    let rows = reply.results.get(2).map(|rows| rows.values.iter());
    let texts = rows.into_iter().flatten().flatten();
    texts
        .filter_map(|text| std::str::from_utf8(text).ok()?.parse().ok())
        .collect()
}

/// Questions to the catalog, on the gateway's own connections.
pub(crate) struct Asking<'s> {
    session: &'s Session,
}

impl<'s> Asking<'s> {
    pub(crate) fn of(session: &'s Session) -> Self {
        Self { session }
    }

    pub(super) async fn is_operator(&self) -> Result<bool, Problem> {
        let operator = format!("{}_operator", self.session.database.config.role_prefix);
        let role = self.session.caller.principal.role.oid;
        let rows = self.ask(IS_MEMBER, &[&role, &operator]).await?;
        let is_member = rows.first().map_or(Ok(false), |row| row.try_get(0));
        is_member.map_err(|error| self.failed(&error))
    }

    pub(crate) async fn ask(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Vec<tokio_postgres::Row>, Problem> {
        let database = &self.session.database;
        let turn = database.analyses.turn().await;
        let _turn = turn.map_err(|error| self.failed(&error))?;
        let client = database.own.get().await;
        let client = client.map_err(|error: OwnPoolError| self.failed(&error))?;
        let rows = client.query(sql, params).await;
        rows.map_err(|error| self.failed(&error))
    }

    pub(crate) fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Problem {
        tracing::warn!(
            request_id = %self.session.context.id, error = %error, cause = ?error, "catalog_failed"
        );
        Problem::new(ErrorCode::DatabaseUnavailable)
    }

    /// `only_of`: who is not to know of functions that he can't call.
    pub(super) async fn functions(
        &self,
        text: &Text,
        only_of: Option<u32>,
    ) -> Result<Vec<Function>, Problem> {
        let all = |names: &'_ BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>();
        let called = all(&text.called);
        let [behind_rows, behind_values] = [&text.attributes, &text.attributes_of_values].map(all);
        let names = all(&text.names);
        let snapshot = self.session.database.catalog.snapshot();
        let rows = self
            .ask(
                FUNCTIONS_SQL,
                &[&called, &behind_rows, &behind_values, &names, &only_of],
            )
            .await?;
        let functions = rows.iter().map(|row| {
            let oid = row.try_get(5)?;
            Ok(Function {
                oid,
                schema: row.try_get(0)?,
                name: row.try_get(1)?,
                builtin: row.try_get(2)?,
                volatility: first(row.try_get(3)?),
                kind: first(row.try_get(4)?),
                called: row.try_get(6)?,
                declared_safe: snapshot
                    .functions()
                    .iter()
                    .any(|function| function.oid == oid && function.declared_safe),
            })
        });
        functions
            .collect::<Result<_, tokio_postgres::Error>>()
            .map_err(|error| self.failed(&error))
    }

    async fn names_what_is_closed(&self, text: &Text) -> Result<bool, Problem> {
        // `type('...')` and `('...').type` are casts as well.
        let names: BTreeSet<&String> = text
            .types
            .iter()
            .chain(&text.certainly_called)
            .chain(&text.attributes_of_values)
            .collect();
        let names: Vec<&String> = names.into_iter().collect();
        if names.is_empty() {
            return Ok(false);
        }
        let role = self.session.caller.principal.role.oid;
        let rows = self.ask(CLOSED_SQL, &[&names, &role]).await?;
        let closed = rows.first().map_or(Ok(true), |row| row.try_get(0));
        closed.map_err(|error| self.failed(&error))
    }

    async fn operators(&self, text: &Text) -> Result<Vec<String>, Problem> {
        if text.operators.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<&String> = text.operators.iter().collect();
        let rows = self.ask(OPERATORS_SQL, &[&names]).await?;
        let names = rows.iter().map(|row| row.try_get(0));
        names
            .collect::<Result<_, tokio_postgres::Error>>()
            .map_err(|error| self.failed(&error))
    }

    async fn relations(&self, oids: Vec<u32>) -> Result<Vec<Relation>, Problem> {
        // The publication is named as the schema is.
        let publication = &self.session.database.config.engine_schema;
        let role = self.session.caller.principal.role.oid;
        let rows = self
            .ask(RELATIONS_SQL, &[&oids, publication, &role])
            .await?;
        let relations = rows.iter().map(|row| {
            let (names, types): (Vec<String>, Vec<u32>) = (row.try_get(8)?, row.try_get(9)?);
            Ok(Relation {
                oid: row.try_get(0)?,
                schema: row.try_get(1)?,
                name: row.try_get(2)?,
                kind: first(row.try_get(3)?),
                row_security: row.try_get(4)?,
                system: row.try_get(5)?,
                published: row.try_get(6)?,
                view: row.try_get(7)?,
                comparable: names.into_iter().zip(types).collect(),
                open: row.try_get(10)?,
            })
        });
        relations
            .collect::<Result<_, tokio_postgres::Error>>()
            .map_err(|error| self.failed(&error))
    }
}

fn first(text: &str) -> char {
    text.chars().next().unwrap_or(' ')
}
