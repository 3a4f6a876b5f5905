//! Bounds of live queries.

use std::time::Duration;

use rolegate_server::config::LiveBounds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Live queries at one database, and what they may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Live {
    /// Different queries that are watched at the same time; 1 to 100000.
    #[schemars(range(min = 1, max = 100_000), extend("x-unit" = "queries"))]
    max_queries: u64,
    /// Streams of one role at the same time; 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "streams"))]
    max_streams_per_role: u64,
    /// Queries that run at the same time because something was committed; 1 to 1000.
    #[schemars(range(min = 1, max = 1000), extend("x-unit" = "runs"))]
    concurrency: u64,
    /// How often queries of one role run in a second; 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "runs"))]
    runs_per_second: u64,
    /// Rows of one result; 1 to 1000000.
    #[schemars(range(min = 1, max = 1_000_000), extend("x-unit" = "rows"))]
    max_rows: u64,
    /// Bytes of all results and of what is kept of them, about; 1 MiB to 64 GiB.
    #[schemars(range(min = 1_048_576, max = 68_719_476_736_u64))]
    max_bytes: u64,
    /// Changes of a query's result that are kept for clients that are behind or come back; 1 to 100000.
    #[schemars(range(min = 1, max = 100_000), extend("x-unit" = "changes"))]
    max_kept_changes: u64,
    /// Bytes of them; 1 KiB to 1 GiB.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    max_kept_bytes: u64,
    /// How long a query that nobody watches is kept up to date for clients that come back; 0 to 3600.
    #[schemars(range(min = 0, max = 3600))]
    grace_seconds: u64,
}

impl Default for Live {
    fn default() -> Self {
        let bounds = LiveBounds::default();
        let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        Self {
            max_queries: number(bounds.groups),
            max_streams_per_role: number(bounds.streams_per_role),
            concurrency: number(bounds.concurrency),
            runs_per_second: bounds.runs_per_second.into(),
            max_rows: number(bounds.max_rows),
            max_bytes: number(bounds.max_bytes),
            max_kept_changes: number(bounds.history),
            max_kept_bytes: number(bounds.history_bytes),
            grace_seconds: bounds.grace.as_secs(),
        }
    }
}

/// The bounds, if each of them is one.
pub(super) fn bounds(section: &Live) -> anyhow::Result<LiveBounds> {
    const GIB: u64 = 1 << 30;
    for (key, value, least, most) in [
        ("max_queries", section.max_queries, 1, 100_000),
        (
            "max_streams_per_role",
            section.max_streams_per_role,
            1,
            1_000_000,
        ),
        ("concurrency", section.concurrency, 1, 1000),
        ("runs_per_second", section.runs_per_second, 1, 1_000_000),
        ("max_rows", section.max_rows, 1, 1_000_000),
        ("max_bytes", section.max_bytes, 1 << 20, 64 * GIB),
        ("max_kept_changes", section.max_kept_changes, 1, 100_000),
        ("max_kept_bytes", section.max_kept_bytes, 1024, GIB),
        ("grace_seconds", section.grace_seconds, 0, 3600),
    ] {
        anyhow::ensure!(
            (least..=most).contains(&value),
            "query.live.{key} is {value}; it must be between {least} and {most}"
        );
    }
    Ok(LiveBounds {
        groups: usize::try_from(section.max_queries)?,
        streams_per_role: usize::try_from(section.max_streams_per_role)?,
        concurrency: usize::try_from(section.concurrency)?,
        runs_per_second: u32::try_from(section.runs_per_second)?,
        max_rows: usize::try_from(section.max_rows)?,
        max_bytes: usize::try_from(section.max_bytes)?,
        history: usize::try_from(section.max_kept_changes)?,
        history_bytes: usize::try_from(section.max_kept_bytes)?,
        grace: Duration::from_secs(section.grace_seconds),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_schema_says_is_what_is_checked() {
        let schema = schemars::schema_for!(Live).to_value();
        let properties = schema["properties"].as_object().expect("an object");
        assert_eq!(properties.len(), 9);
        for (key, property) in properties {
            let least = property["minimum"].as_u64().expect("a minimum");
            let most = property["maximum"].as_u64().expect("a maximum");
            let with = |value: u64| {
                let mut section = serde_json::to_value(Live::default()).expect("data");
                section[key] = json!(value);
                bounds(&serde_json::from_value(section).expect("a section"))
            };
            with(least).expect("within");
            with(most).expect("within");
            for value in least.checked_sub(1).into_iter().chain([most + 1]) {
                let error = with(value).expect_err("beyond").to_string();
                let says =
                    format!("query.live.{key} is {value}; it must be between {least} and {most}");
                assert_eq!(error, says);
            }
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_gateway() {
        let bounds = bounds(&Live::default()).expect("within");
        let defaults = LiveBounds::default();
        assert_eq!(format!("{bounds:?}"), format!("{defaults:?}"));
    }
}
