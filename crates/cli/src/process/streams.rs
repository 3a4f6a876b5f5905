//! The change streams of a process: those that it reads, and those that it hears from another one.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use rolegate_replication::relay::Relay;
use rolegate_replication::{Feed, StreamConfig};
use rolegate_server::config::{DatabaseConfig, Queries};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Surfaces;

/// Change streams to read.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplicationSurface {
    pub(crate) allow_unlimited_wal: bool,
    /// `None`: what is read stays in this process.
    pub(crate) relay: Option<RelaySurface>,
}

/// Where they are passed on.
#[derive(Debug, Clone)]
pub(crate) struct RelaySurface {
    pub(crate) listen: SocketAddr,
    /// What others connect to, if it is not that.
    pub(crate) address: Option<String>,
}

/// What there is of each database, by its name.
#[derive(Debug)]
pub(super) struct Streams {
    feeds: Vec<(String, Feed)>,
    read: Vec<(StreamConfig, Feed)>,
    relay: Option<Arc<Relay>>,
}

impl Streams {
    /// Listens, if what is read here is passed on.
    pub(super) async fn bind(surfaces: &Surfaces) -> anyhow::Result<Self> {
        let surface = surfaces.replication.as_ref();
        let relay = match surface.and_then(|surface| surface.relay.as_ref()) {
            Some(relay) => Some(
                Relay::bind(relay.listen, relay.address.as_deref())
                    .await
                    .context("replication.relay_listen")?,
            ),
            None => None,
        };
        let answers = surfaces.gateway_bind.is_some() || surfaces.console.is_some();
        let mut streams = Self {
            feeds: Vec::new(),
            read: Vec::new(),
            relay,
        };
        for database in &surfaces.databases {
            let uses = answers && database.queries != Queries::Off;
            if surface.is_some() || uses {
                let feed = Feed::new(surfaces.feed_bounds);
                streams.feeds.push((database.name.clone(), feed));
            }
            if let (Some(surface), Some((_, feed))) = (surface, streams.feeds.last()) {
                let config = stream(database, surface, streams.relay.clone());
                streams.read.push((config, feed.clone()));
            }
        }
        Ok(streams)
    }

    /// That of a database, if it is read here or there is somebody to hear it.
    pub(super) fn feed(&self, database: &str) -> Option<Feed> {
        let mut feeds = self.feeds.iter();
        feeds
            .find(|(name, _)| name == database)
            .map(|(_, feed)| feed.clone())
    }

    /// Reads, or stands by for it, and passes on; the feeds, by their databases' names.
    pub(super) fn start(
        self,
        background: &TaskTracker,
        stop: &CancellationToken,
    ) -> Vec<(String, Feed)> {
        for (config, feed) in self.read {
            background.spawn(rolegate_replication::run(config, feed, stop.clone()));
        }
        if let Some(relay) = self.relay {
            background.spawn(relay.serve(stop.clone()));
        }
        self.feeds
    }
}

/// The change stream of a database, read as the login for it, past a pooler.
fn stream(
    database: &DatabaseConfig,
    surface: &ReplicationSurface,
    relay: Option<Arc<Relay>>,
) -> StreamConfig {
    let connect = rolegate_replication::Connect {
        endpoint: database.direct_endpoint().clone(),
        login: database.own_login("replicator"),
    };
    let (schema, prefix) = (&database.engine_schema, &database.role_prefix);
    StreamConfig {
        standby: database.standby.clone(),
        allow_unlimited_wal: surface.allow_unlimited_wal,
        relay,
        ..StreamConfig::new(&database.name, connect, schema, prefix)
    }
}
