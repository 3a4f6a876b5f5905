//! The oldest minor versions that may be used, as data.

use std::sync::LazyLock;

use serde::Deserialize;

use super::finding::{Finding, Severity};

/// The oldest major version supported.
const OLDEST_MAJOR: u32 = 15;

/// What a minimum is for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minimum {
    /// Only where SQL text of callers runs.
    pub caller_sql: bool,
    /// One for each major version it concerns (`15.19`).
    pub versions: Vec<String>,
    /// What was fixed in them.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    minimum: Vec<Minimum>,
}

static MINIMUMS: LazyLock<Vec<Minimum>> = LazyLock::new(|| {
    let file: File = toml::from_str(include_str!("minimum_versions.toml"))
        .expect("the file is part of the program and a test reads it");
    file.minimum
});

/// The minimums that `server_version_num` (150018) does not reach.
pub fn missed(server_version_num: u32, runs_caller_sql: bool) -> Vec<&'static Minimum> {
    let (major, minor) = split(server_version_num);
    MINIMUMS
        .iter()
        .filter(|minimum| runs_caller_sql || !minimum.caller_sql)
        .filter(|minimum| {
            minimum
                .versions
                .iter()
                .filter_map(|version| parse(version))
                .any(|(of_major, at_least)| of_major == major && minor < at_least)
        })
        .collect()
}

pub(super) fn check(
    server_version_num: u32,
    server_version: &str,
    runs_caller_sql: bool,
) -> Option<Finding> {
    let (major, minor) = split(server_version_num);
    let missed = missed(server_version_num, runs_caller_sql);
    let message = if major < OLDEST_MAJOR {
        format!(
            "PostgreSQL {server_version} is older than {OLDEST_MAJOR}, the oldest version supported."
        )
    } else {
        let reasons: Vec<_> = missed.iter().map(|minimum| &*minimum.reason).collect();
        format!(
            "PostgreSQL {server_version} lacks security fixes: {}.",
            reasons.join("; ")
        )
    };
    let at_least = missed
        .iter()
        .flat_map(|minimum| &minimum.versions)
        .filter_map(|version| parse(version))
        .filter(|(of_major, _)| *of_major == major)
        .max();
    if major >= OLDEST_MAJOR && at_least.is_none() {
        return None;
    }
    let fix = at_least.map_or_else(
        || format!("-- upgrade to PostgreSQL {OLDEST_MAJOR} or newer"),
        |(major, minor)| format!("-- upgrade to PostgreSQL {major}.{minor} or newer"),
    );
    Some(Finding {
        id: "server_version".to_owned(),
        severity: Severity::Error,
        // Without what a packager adds, so that an allow-list entry names one version.
        object: format!("PostgreSQL {major}.{minor}"),
        message,
        chain: Vec::new(),
        fix,
    })
}

fn split(server_version_num: u32) -> (u32, u32) {
    (server_version_num / 10_000, server_version_num % 10_000)
}

fn parse(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_in_the_file_can_be_read_and_has_a_reason() {
        for minimum in MINIMUMS.iter() {
            assert!(!minimum.reason.is_empty());
            for version in &minimum.versions {
                assert!(parse(version).is_some(), "{version}");
            }
        }
    }

    #[test]
    fn caller_sql_asks_for_more() {
        for (version, with, without) in [
            (150_019, false, false),
            (150_018, true, false),
            (150_008, true, true),
            (160_014, true, false),
            (160_015, false, false),
            (170_000, true, true),
            (170_011, false, false),
            (180_005, true, false),
            (180_006, false, false),
            (190_000, false, false),
            (140_099, true, true),
        ] {
            assert_eq!(
                check(version, "x", true).is_some(),
                with,
                "{version} with caller SQL"
            );
            assert_eq!(
                check(version, "x", false).is_some(),
                without,
                "{version} without"
            );
        }
    }

    #[test]
    fn the_fix_names_the_newest_minimum() {
        let finding = check(150_008, "15.8 (Debian)", true).unwrap();
        assert_eq!(finding.fix, "-- upgrade to PostgreSQL 15.19 or newer");
        assert_eq!(finding.object, "PostgreSQL 15.8");
        assert!(finding.message.contains("CVE-2024-10976"));
    }
}
