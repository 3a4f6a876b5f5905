//! What a worker asks of the database: one function for each step, each one statement.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rolegate_pg::EngineSql;
use rolegate_pg::own::{OwnPool, OwnPoolError};
use rolegate_pg::wire::{Endpoint, Login};
use rolegate_rules::CallbackRules;
use serde_json::value::RawValue;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use crate::description::Declaration;
use crate::ends::Ends;
use crate::job::{Attempt, Job, JobOptions, JobPrincipal};
use crate::notes::Note;

/// No declarations.
const NONE: &str = "[]";

/// The queue in one database, as the worker's login. Connections are kept apart by what they do: each
/// has the plans of its statements, which took longer to make than they take to run.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    claims: OwnPool,
    ends: OwnPool,
    rest: OwnPool,
    sql: Arc<Statements>,
    /// What the worker says about its queues and kinds.
    declarations: Arc<str>,
}

#[derive(Debug)]
struct Statements {
    register: String,
    claim: String,
    finish: String,
    finish_with: String,
    completion: String,
    complete: String,
    alive: String,
    ended: String,
    note: String,
    checkpoint: String,
    give_back: String,
    unregister: String,
    principals: String,
    callback: String,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No connection.
    #[error("no connection to the queue")]
    Pool(#[from] OwnPoolError),
    /// The statement failed.
    #[error("the queue refused a statement")]
    Statement(#[from] tokio_postgres::Error),
    /// This worker was given up: it was silent for too long, and its jobs run elsewhere.
    #[error("the worker is not registered any more")]
    GivenUp,
}

impl EngineError {
    /// What was to be written can't be stored, however often it is tried: text that PostgreSQL has
    /// no character for, a number that is too large, a structure that is too deep, a job that follows
    /// in a queue that is not there.
    pub(crate) fn is_about_the_data(&self) -> bool {
        let Self::Statement(error) = self else {
            return false;
        };
        error.code().is_some_and(|code| {
            let class = code.code().get(..2);
            class == Some("22") || class == Some("54") || code == &SqlState::UNDEFINED_OBJECT
        })
    }

    /// What PostgreSQL said.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Statement(error) => error
                .as_db_error()
                .map_or_else(|| error.to_string(), |error| error.message().to_owned()),
            _ => self.to_string(),
        }
    }

    /// Whether the statement may have had its effect: the server did not say that it did not.
    pub(crate) fn may_have_worked(&self) -> bool {
        match self {
            Self::Statement(error) => error
                .as_db_error()
                .is_none_or(|error| error.parsed_severity() != Some(Severity::Error)),
            Self::Pool(_) | Self::GivenUp => false,
        }
    }

    fn of_claim(error: tokio_postgres::Error) -> Self {
        if error.code() == Some(&SqlState::NO_DATA_FOUND) {
            Self::GivenUp
        } else {
            Self::Statement(error)
        }
    }
}

/// A worker as the database knows it.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) worker: i64,
    /// Ids of the queues, in the order they were named in.
    pub(crate) queues: Vec<i32>,
}

/// What a claim gave.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    pub(crate) jobs: Vec<(Attempt, Job)>,
    /// There were none for now, and no reason to sleep: when to look again.
    pub(crate) again: Option<Duration>,
}

impl Engine {
    /// Makes no connection yet.
    pub(crate) fn new(
        endpoint: &Endpoint,
        login: &Login,
        writers: usize,
        sql: &EngineSql,
        declarations: &[Declaration<'_>],
    ) -> Result<Self, OwnPoolError> {
        // Texts and lists of texts are JSON.
        let declarations = serde_json::to_string(declarations).unwrap_or_else(|_| NONE.to_owned());
        let sql = Statements {
            register: sql.of(
                "select r.worker, r.queue_ids, case when $4::pg_catalog.text <> '[]' \
                 then rolegate.declare_jobs(r.worker, $4::pg_catalog.text::pg_catalog.jsonb) end \
                 from rolegate.register_worker($1, $2, $3) r",
            ),
            claim: sql.of(
                "select claim, claimed_at, ordinal, root, lane, attempt, max_attempts, \
                 flags, kind, principal, args, options, enqueued_at, id \
                 from rolegate.claim_jobs($1, $2, $3)",
            ),
            finish: sql.of("select rolegate.finish_jobs($1, $2, $3, $4, $5, $6, $7)"),
            finish_with: sql.of("select rolegate.finish_jobs_with($1, $2, $3, $4, $5, $6, $7, $8)"),
            completion: sql.of("select rolegate.completion_token($1, $2, $3, $4)"),
            complete: sql.of("select rolegate.complete_attempt($1::pg_catalog.text, \
                 $2::pg_catalog.text::pg_catalog.jsonb)"),
            alive: sql.of("select rolegate.worker_alive($1, $2)"),
            ended: sql.of("select rolegate.ended_attempts($1, $2, $3)"),
            note: sql.of("select rolegate.note_jobs($1, $2, $3, $4, $5)"),
            checkpoint: sql.of("select rolegate.attempt_checkpoint($1, $2, $3)"),
            give_back: sql.of("select rolegate.give_back_claims($1, $2, $3)"),
            unregister: sql.of("select rolegate.unregister_worker($1)"),
            principals: sql.of(
                "select role_name, role_oid, token_id, claims, scopes, revoked \
                 from rolegate.job_principals(array[$1::bigint])",
            ),
            callback: sql.of("select rolegate.register_callback($1, $2, $3, \
                 pg_catalog.make_interval(secs => $4), $5, $6)"),
        };
        Ok(Self {
            claims: OwnPool::new(endpoint, login, 1)?,
            ends: OwnPool::new(endpoint, login, writers)?,
            rest: OwnPool::new(endpoint, login, 2)?,
            sql: Arc::new(sql),
            declarations: declarations.into(),
        })
    }

    /// Says who works on what, and what people are told about it. Queues that are not there are made.
    pub(crate) async fn register(
        &self,
        name: &str,
        queues: &[String],
    ) -> Result<Registration, EngineError> {
        let client = self.rest.get().await?;
        let version = env!("CARGO_PKG_VERSION");
        let row = client
            .query_one(
                &self.sql.register,
                &[&name, &version, &queues, &&*self.declarations],
            )
            .await?;
        if let Some(differ @ 1..) = row.try_get::<_, Option<i32>>(2)? {
            tracing::info!(worker = name, differ, "job_descriptions_differ");
        }
        Ok(Registration {
            worker: row.try_get(0)?,
            queues: row.try_get(1)?,
        })
    }

    /// At most `most` jobs of these queues, which come first in this order. `names` are those of
    /// the registration's queues.
    pub(crate) async fn claim(
        &self,
        registration: &Registration,
        order: &[i32],
        names: &[Arc<str>],
        most: i32,
    ) -> Result<Claimed, EngineError> {
        let client = self.claims.get().await?;
        let statement = client.prepare_cached(&self.sql.claim).await?;
        let rows = client
            .query(&statement, &[&registration.worker, &order, &most])
            .await
            .map_err(EngineError::of_claim)?;
        let mut claimed = Claimed::default();
        let mut last_kind: Arc<str> = "".into();
        for row in rows {
            let Some(claim) = row.try_get::<_, Option<i64>>(0)? else {
                let milliseconds: i64 = row.try_get(13)?;
                claimed.again = Some(Duration::from_millis(milliseconds.unsigned_abs()));
                continue;
            };
            let lane: i32 = row.try_get(4)?;
            let kind: &str = row.try_get(8)?;
            if &*last_kind != kind {
                last_kind = kind.into();
            }
            let position = registration.queues.iter().position(|id| *id == lane / 4);
            let attempt = Attempt {
                worker: registration.worker,
                claim,
                claimed_at: row.try_get(1)?,
                ordinal: row.try_get(2)?,
                flags: row.try_get(7)?,
            };
            let job = Job {
                id: row.try_get(3)?,
                kind: Arc::clone(&last_kind),
                queue: position
                    .and_then(|position| names.get(position))
                    .map_or_else(|| "".into(), Arc::clone),
                priority: u8::try_from(lane % 4 + 1).unwrap_or(2),
                args: raw(row.try_get(10)?),
                attempt: row.try_get::<_, i16>(5)?.unsigned_abs() + 1,
                max_attempts: row.try_get::<_, i16>(6)?.unsigned_abs(),
                principal: row.try_get(9)?,
                enqueued_at: row.try_get(12)?,
                options: options(row.try_get(11)?),
                checkpoint: None,
            };
            claimed.jobs.push((attempt, job));
        }
        Ok(claimed)
    }

    /// Ends attempts. The positions (from 0) of those that had ended already.
    pub(crate) async fn finish(&self, worker: i64, ends: &Ends) -> Result<Vec<usize>, EngineError> {
        let client = self.ends.get().await?;
        // NULL is shorter, and is a way without looking at each.
        let states = ends
            .states
            .iter()
            .any(|state| *state != b'c'.cast_signed())
            .then_some(&ends.states);
        let details = ends
            .details
            .iter()
            .any(Option::is_some)
            .then_some(&ends.details);
        let flags = ends
            .flags
            .iter()
            .any(|flags| *flags != 0)
            .then_some(&ends.flags);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &worker,
            &ends.claims,
            &ends.ordinals,
            &ends.claimed_at,
            &states,
            &details,
            &flags,
        ];
        let mut sql = &self.sql.finish;
        if ends.follow_ups.iter().any(Option::is_some) {
            sql = &self.sql.finish_with;
            parameters.push(&ends.follow_ups);
        }
        let statement = client.prepare_cached(sql).await?;
        let row = client.query_one(&statement, &parameters).await?;
        Ok(positions(row.try_get(0)?))
    }

    /// What completes this attempt in a transaction of another login. `None`: it has ended.
    pub(crate) async fn completion(&self, attempt: Attempt) -> Result<Option<String>, EngineError> {
        let client = self.rest.get().await?;
        let statement = client.prepare_cached(&self.sql.completion).await?;
        let Attempt {
            claim,
            ordinal,
            claimed_at,
            flags,
            ..
        } = attempt;
        let row = client
            .query_one(&statement, &[&claim, &ordinal, &claimed_at, &flags])
            .await?;
        Ok(row.try_get(0)?)
    }

    /// The statement that does, with the token and the output as text.
    pub(crate) fn complete(&self) -> &str {
        &self.sql.complete
    }

    /// The positions (from 0) of those that have ended.
    pub(crate) async fn ended(&self, attempts: &[Attempt]) -> Result<Vec<usize>, EngineError> {
        let client = self.rest.get().await?;
        let statement = client.prepare_cached(&self.sql.ended).await?;
        let claims: Vec<i64> = attempts.iter().map(|attempt| attempt.claim).collect();
        let ordinals: Vec<i16> = attempts.iter().map(|attempt| attempt.ordinal).collect();
        let at: Vec<SystemTime> = attempts.iter().map(|attempt| attempt.claimed_at).collect();
        let row = client
            .query_one(&statement, &[&claims, &ordinals, &at])
            .await?;
        Ok(positions(row.try_get(0)?))
    }

    /// Writes down what handlers noted. The positions (from 0) of those that had ended already.
    pub(crate) async fn note(
        &self,
        worker: i64,
        notes: &[&(Attempt, Note)],
    ) -> Result<Vec<usize>, EngineError> {
        let client = self.rest.get().await?;
        let statement = client.prepare_cached(&self.sql.note).await?;
        let claims: Vec<i64> = notes.iter().map(|(attempt, _)| attempt.claim).collect();
        let ordinals: Vec<i16> = notes.iter().map(|(attempt, _)| attempt.ordinal).collect();
        let at: Vec<SystemTime> = notes.iter().map(|(at, _)| at.claimed_at).collect();
        let notes: Vec<Json<&Note>> = notes.iter().map(|(_, note)| Json(note)).collect();
        let row = client
            .query_one(&statement, &[&worker, &claims, &ordinals, &at, &notes])
            .await?;
        Ok(positions(row.try_get(0)?))
    }

    /// What earlier attempts left for this one.
    pub(crate) async fn checkpoint(
        &self,
        attempt: Attempt,
    ) -> Result<Option<Box<RawValue>>, EngineError> {
        let client = self.rest.get().await?;
        let statement = client.prepare_cached(&self.sql.checkpoint).await?;
        let Attempt {
            claim,
            ordinal,
            claimed_at,
            ..
        } = attempt;
        let row = client
            .query_one(&statement, &[&claim, &ordinal, &claimed_at])
            .await?;
        Ok(row.try_get::<_, Option<String>>(0)?.map(raw))
    }

    /// A sign of life; false if it came too late.
    pub(crate) async fn alive(
        &self,
        worker: i64,
        open_from: Option<i64>,
    ) -> Result<bool, EngineError> {
        let client = self.rest.get().await?;
        let row = client
            .query_one(&self.sql.alive, &[&worker, &open_from])
            .await?;
        Ok(row.try_get(0)?)
    }

    /// Gives back what was claimed as `worker` and is not among these claims. How many jobs that was.
    pub(crate) async fn give_back(
        &self,
        worker: i64,
        claims: &[i64],
        claimed_at: &[SystemTime],
    ) -> Result<i32, EngineError> {
        let client = self.rest.get().await?;
        let row = client
            .query_one(&self.sql.give_back, &[&worker, &claims, &claimed_at])
            .await?;
        Ok(row.try_get(0)?)
    }

    /// The worker stops; what it still had open is taken from it.
    pub(crate) async fn unregister(&self, worker: i64) -> Result<i32, EngineError> {
        let client = self.rest.get().await?;
        let row = client.query_one(&self.sql.unregister, &[&worker]).await?;
        Ok(row.try_get(0)?)
    }

    /// An answer from outside may end this attempt. `None`: it has ended already.
    pub(crate) async fn register_callback(
        &self,
        attempt: Attempt,
        timeout: Duration,
        resumable: bool,
        rules: Option<&CallbackRules>,
    ) -> Result<Option<Uuid>, EngineError> {
        let client = self.rest.get().await?;
        let statement = client.prepare_cached(&self.sql.callback).await?;
        let Attempt {
            claim,
            ordinal,
            claimed_at,
            ..
        } = attempt;
        let seconds = timeout.as_secs_f64();
        let row = client
            .query_one(
                &statement,
                &[
                    &claim,
                    &ordinal,
                    &claimed_at,
                    &seconds,
                    &resumable,
                    &rules.map(Json),
                ],
            )
            .await?;
        Ok(row.try_get(0)?)
    }

    /// No more connections.
    pub(crate) fn close(&self) {
        for pool in [&self.claims, &self.ends, &self.rest] {
            pool.close();
        }
    }

    pub(crate) async fn principal(&self, id: i64) -> Result<Option<JobPrincipal>, EngineError> {
        let client = self.rest.get().await?;
        let statement = client.prepare_cached(&self.sql.principals).await?;
        let row = client.query_opt(&statement, &[&id]).await?;
        row.map(|row| {
            Ok(JobPrincipal {
                role: row.try_get(0)?,
                role_oid: row.try_get(1)?,
                token_id: row.try_get(2)?,
                claims: row.try_get(3)?,
                scopes: row.try_get(4)?,
                revoked: row.try_get(5)?,
            })
        })
        .transpose()
    }
}

/// PostgreSQL counts from 1.
fn positions(numbers: Vec<i32>) -> Vec<usize> {
    let from_zero = |number: i32| usize::try_from(number - 1).ok();
    numbers.into_iter().filter_map(from_zero).collect()
}

/// JSON that PostgreSQL wrote; what else could it be.
fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn options(json: Option<&str>) -> JobOptions {
    json.map(JobOptions::read).unwrap_or_default()
}
