//! What has to happen from time to time: jobs whose time has come, workers that died, segments that
//! can be emptied, cron.
//!
//! Any number of processes may run this. One of them leads, by a lock of its session; it does everything
//! on that session, apart from the ring's upkeep, which is safe whoever does it. The server ends a
//! leader's session that is silent for a quarter of a minute, so a leader that hangs loses the lock
//! and can do nothing any more. Then another one takes over.

mod cron_step;
mod depth;
mod foreign;
mod horizon;
mod leader;
pub mod metrics;
mod pace;
mod principals_step;
mod ring;
mod session;
mod staging_step;
mod steps;
mod tick;

use std::sync::Arc;
use std::time::Duration;

use rolegate_pg::EngineSql;

use crate::cron::CronEntry;

pub use leader::run;
pub use session::Connect;
pub use tick::{Report, tick};

/// What to maintain, and how.
#[derive(Debug, Clone)]
pub struct MaintenanceConfig {
    /// Who leads, for people.
    pub name: String,
    /// The database in metrics and logs.
    pub database: Arc<str>,
    /// How to reach it, as the login for maintenance.
    pub connect: Connect,
    /// Statements for its schema.
    pub sql: Arc<EngineSql>,
    /// A worker that gives no sign of life for so long has died.
    pub silence: Duration,
    /// What keeps dead rows from being removed for so long is named in the log.
    pub horizon_patience: Duration,
    /// Cron entries of the configuration, which the leader applies: those that were declared so before and
    /// are not among them are removed. `None`: there is no such list here, and nothing is touched.
    pub crons: Option<Vec<CronEntry>>,
}

impl MaintenanceConfig {
    /// With the usual patience.
    pub fn new(database: &str, connect: Connect, sql: Arc<EngineSql>) -> Self {
        Self {
            name: format!("rolegate {}", std::process::id()),
            database: database.into(),
            connect,
            sql,
            silence: Duration::from_secs(30),
            horizon_patience: Duration::from_mins(5),
            crons: None,
        }
    }
}

/// Why maintenance does not go on.
#[derive(Debug, thiserror::Error)]
pub enum MaintenanceError {
    /// No connection.
    #[error("no connection to the database")]
    Connect(#[from] rolegate_pg::own::OwnPoolError),
    /// The connection that hears of deferred jobs failed.
    #[error("the connection that is woken failed")]
    Hear(#[from] rolegate_pg::wire::ConnectError),
    /// The connection or a statement failed.
    #[error("the database refused or went away")]
    Database(#[from] tokio_postgres::Error),
}
