//! Liveness, readiness and metrics: on a listener of their own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use http::{StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use rolegate_pg::own::OwnPool;
use rolegate_replication::{Feed, Status};
use tokio_postgres::SimpleQueryMessage;

use crate::database::Database;

/// What the listener answers from.
#[derive(Debug)]
pub struct Health {
    databases: Vec<Arc<Database>>,
    /// Connections of surfaces with a login of their own that have to write, by the surfaces' names.
    pools: Vec<(String, OwnPool)>,
    /// Change streams that this process reads or hears, by their databases' names.
    feeds: Vec<(String, Feed)>,
    metrics: Option<PrometheusHandle>,
    draining: AtomicBool,
}

impl Health {
    /// Answers for these databases.
    pub fn new(databases: Vec<Arc<Database>>, metrics: Option<PrometheusHandle>) -> Arc<Self> {
        Self::probing(databases, Vec::new(), Vec::new(), metrics)
    }

    /// The same, and for surfaces with connections of their own and for change streams.
    pub fn probing(
        databases: Vec<Arc<Database>>,
        pools: Vec<(String, OwnPool)>,
        feeds: Vec<(String, Feed)>,
        metrics: Option<PrometheusHandle>,
    ) -> Arc<Self> {
        Arc::new(Self {
            databases,
            pools,
            feeds,
            metrics,
            draining: AtomicBool::new(false),
        })
    }

    /// From now on not ready: the process is about to stop.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

/// `/livez`, `/readyz`, `/metrics`.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .with_state(health)
}

/// What a connection says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Probed {
    Ok,
    ReadOnly,
    Unreachable,
}

async fn probe(pool: &OwnPool) -> Probed {
    let answered = tokio::time::timeout(Duration::from_secs(2), async {
        let client = pool.get().await.ok()?;
        // Also on a standby. What comes back is one row.
        let answer = client.simple_query("show transaction_read_only").await;
        answer.ok()?.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0) == Some("on")),
            _ => None,
        })
    });
    match answered.await {
        Ok(Some(false)) => Probed::Ok,
        Ok(Some(true)) => Probed::ReadOnly,
        _ => Probed::Unreachable,
    }
}

/// Ready when every database answers, those of surfaces that have to write take writes, and in a process that only reads change streams, when it follows each or
/// stands by for it. Says which one does not, and nothing more.
async fn readyz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    if health.draining.load(Ordering::Acquire) {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let mut text = String::new();
    let mut status = StatusCode::OK;
    let databases = health
        .databases
        .iter()
        .map(|database| (database.name(), &database.own, false));
    let pools = &health.pools;
    let pools = pools.iter().map(|(name, pool)| (&**name, pool, true));
    for (name, pool, writes) in databases.chain(pools) {
        let word = match probe(pool).await {
            Probed::ReadOnly if writes => "read-only: the database takes no writes",
            Probed::Ok | Probed::ReadOnly => "ok",
            Probed::Unreachable => "unreachable",
        };
        if word != "ok" {
            status = StatusCode::SERVICE_UNAVAILABLE;
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} {word}");
    }
    let alone = health.databases.is_empty() && health.pools.is_empty();
    for (name, feed) in &health.feeds {
        let stands = feed.status();
        if alone && !matches!(stands, Status::Following | Status::StandingBy) {
            status = StatusCode::SERVICE_UNAVAILABLE;
        }
        text.push_str(name);
        text.push_str(" change stream ");
        text.push_str(stands.word());
        if let Some(bytes) = feed.lag() {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {bytes} bytes behind");
        }
        text.push('\n');
    }
    (status, text)
}

async fn show_metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    for database in &health.databases {
        let status = database.pools.status();
        let label = database.name().to_owned();
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of connections are small"
        )]
        for (name, value) in [
            ("rolegate_pool_connections", status.connections as f64),
            ("rolegate_pool_idle", status.idle as f64),
            ("rolegate_pool_waiting", status.waiting as f64),
        ] {
            metrics::gauge!(name, "database" => label.clone()).set(value);
        }
    }
    match &health.metrics {
        Some(handle) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
            handle.render(),
        ),
        None => (
            StatusCode::NOT_FOUND,
            [(header::CONTENT_TYPE, "text/plain")],
            "metrics are not collected\n".to_owned(),
        ),
    }
}
