//! The replication surface, and where it passes on what it reads.

use std::net::SocketAddr;

use rolegate_replication::FeedBounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::process::{RelaySurface, ReplicationSurface};

/// The replication surface.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Replication {
    /// Make a slot even if `max_slot_wal_keep_size` of the server is -1. A process that stops for good then
    /// fills the server's disk.
    allow_unlimited_wal: bool,
    /// Address on which other processes may hear what this one reads, with TLS; without it they can't. For the
    /// operators' own network. What is passed on are names of tables and keys of rows that changed, never rows.
    relay_listen: Option<SocketAddr>,
    /// What other processes connect to, `HOST:PORT`, if it is not `relay_listen`; needed if that is `0.0.0.0` or
    /// `[::]`.
    relay_address: Option<String>,
    /// Commits that are kept for whoever is behind, in this process or through its relay; 16 to 1000000. Whoever
    /// is further behind begins anew.
    #[schemars(range(min = 16, max = 1_000_000), extend("x-unit" = "commits"))]
    max_kept_commits: usize,
    /// Bytes of the commits that are kept; 1 MiB to 1 GiB.
    #[schemars(range(min = 1_048_576, max = 1_073_741_824))]
    max_kept_bytes: usize,
}

impl Default for Replication {
    fn default() -> Self {
        let bounds = FeedBounds::default();
        Self {
            allow_unlimited_wal: false,
            relay_listen: None,
            relay_address: None,
            max_kept_commits: bounds.commits,
            max_kept_bytes: bounds.bytes,
        }
    }
}

/// What the surface does.
pub(super) fn surface(section: &Replication) -> anyhow::Result<ReplicationSurface> {
    let address = section.relay_address.clone();
    if let Some(address) = &address {
        anyhow::ensure!(
            section.relay_listen.is_some(),
            "replication.relay_address is where others find replication.relay_listen, which is not set"
        );
        let port = address
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty())
            .and_then(|(_, port)| port.parse::<u16>().ok());
        anyhow::ensure!(
            port.is_some_and(|port| port > 0) && address.len() <= 300,
            "replication.relay_address is {address:?}; it must be a host and a port (\"node1:7405\")"
        );
    }
    let relay = section.relay_listen.map(|listen| RelaySurface {
        listen,
        address: address.clone(),
    });
    if let Some(relay) = &relay {
        anyhow::ensure!(
            relay.address.is_some() || !relay.listen.ip().is_unspecified(),
            "replication.relay_listen is {}, which is no address that others could connect to; \
             say which one is, with replication.relay_address",
            relay.listen
        );
    }
    Ok(ReplicationSurface {
        allow_unlimited_wal: section.allow_unlimited_wal,
        relay,
    })
}

/// What is kept of a stream, if each bound is one.
pub(super) fn feed_bounds(section: &Replication) -> anyhow::Result<FeedBounds> {
    for (key, value, least, most) in [
        ("max_kept_commits", section.max_kept_commits, 16, 1_000_000),
        ("max_kept_bytes", section.max_kept_bytes, 1 << 20, 1 << 30),
    ] {
        if !(least..=most).contains(&value) {
            anyhow::bail!("replication.{key} is {value}; it must be between {least} and {most}");
        }
    }
    Ok(FeedBounds {
        commits: section.max_kept_commits,
        bytes: section.max_kept_bytes,
    })
}
