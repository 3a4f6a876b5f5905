//! Settings of the systems people come from: which of ours is the same, and reading theirs from
//! the environment where we have it.

mod parts;
mod translate;
mod values;

use serde::Deserialize;

pub(crate) use translate::{Note, Outcome, translate};

/// Somebody else's settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// All variables of this beginning are theirs.
    pub(crate) prefix: Option<String>,
    pub(crate) settings: Vec<Setting>,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setting {
    /// An environment variable, a flag, or a key of a file.
    pub(crate) theirs: String,
    /// A flag that says the same.
    pub(crate) flag: Option<String>,
    pub(crate) default: String,
    /// Our key.
    pub(crate) ours: Option<String>,
    /// Read from the environment, as this.
    pub(crate) read: Option<Part>,
    /// The surface that will have it.
    pub(crate) not_yet: Option<String>,
    /// Why there is none.
    pub(crate) never: Option<String>,
}

/// What a variable of theirs says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    BindHost,
    BindPort,
    BodyBytes,
    BudgetRows,
    CallbackPrefix,
    CallbackSecret,
    DatabaseHost,
    DatabaseName,
    DatabasePort,
    DatabaseSchemas,
    DatabaseTls,
    DatabaseUrl,
    DryRun,
    IssuerAudience,
    IssuerJwksUrl,
    IssuerLeeway,
    IssuerName,
    IssuerPublicKey,
    IssuerRoleClaim,
    IssuerRolePath,
    IssuerSecret,
    LogLevel,
    LoginHours,
    MetricsAddress,
    MetricsPort,
    Origins,
    PoolConnections,
    PoolIdle,
    PoolLifetime,
    PoolWait,
    PublicUrl,
    QueryCacheBytes,
    Streams,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    peer: Vec<Peer>,
}

/// All of them.
pub(crate) fn table() -> Vec<Peer> {
    #[expect(clippy::expect_used, reason = "part of the program; a test reads it")]
    toml::from_str::<Table>(include_str!("peers.toml"))
        .expect("the table is well-formed")
        .peer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::reference::keys;

    #[test]
    fn every_setting_has_one_answer_and_names_a_key_of_ours() {
        let ours: BTreeSet<String> = keys().into_iter().map(|key| key.path).collect();
        let peers = table();
        assert!(peers.len() >= 5);
        for peer in &peers {
            let mut seen = BTreeSet::new();
            for setting in &peer.settings {
                let name = format!("{}: {}", peer.name, setting.theirs);
                assert!(seen.insert(&setting.theirs), "{name} twice");
                let answers = [&setting.ours, &setting.not_yet, &setting.never];
                let answers = answers.iter().filter(|answer| answer.is_some()).count();
                assert_eq!(answers, 1, "{name}");
                assert!(setting.read.is_none() || setting.ours.is_some(), "{name}");
                if let Some(key) = &setting.ours
                    && key != "issuers"
                {
                    assert!(ours.contains(key), "{name}: there is no key {key}");
                }
            }
        }
    }

    /// The same variable means the same, whoever reads it.
    #[test]
    fn a_name_that_several_use_is_read_in_one_way() {
        let peers = table();
        let all = || peers.iter().flat_map(|peer| &peer.settings);
        for setting in all() {
            for other in all().filter(|other| other.theirs == setting.theirs) {
                assert_eq!(other.read, setting.read, "{}", setting.theirs);
                assert_eq!(other.ours, setting.ours, "{}", setting.theirs);
            }
        }
    }
}
