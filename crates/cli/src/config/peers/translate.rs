//! From an environment to values of ours, and what to say about each variable.

use std::collections::BTreeMap;

use figment::value::{Dict, Map};
use figment::{Metadata, Profile, Provider};
use serde_json::Value;

use super::values::{self, Convert};
use super::{Part, Setting, table};

/// A value of ours that comes from a variable of somebody else's.
pub(crate) struct Given {
    pub(super) path: Vec<String>,
    pub(super) value: Value,
    /// The variables.
    pub(super) from: String,
}

impl Provider for Given {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("environment {}", self.from))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut value = figment::value::Value::serialize(&self.value)?;
        for key in self.path.iter().rev() {
            value = Dict::from([(key.clone(), value)]).into();
        }
        let dict = value.into_dict().unwrap_or_default();
        Ok(Map::from([(Profile::Default, dict)]))
    }
}

/// What became of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) variable: String,
    /// Whose it is.
    pub(crate) peers: String,
    pub(crate) outcome: Outcome,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It has the value of this key of ours.
    ReadAs(String),
    /// It could have been read, and was not.
    Ignored(String),
    /// A surface that does not exist yet.
    NotYet(String),
    /// There is no such setting, and why.
    Never(String),
}

/// A variable that is set.
pub(super) struct Found {
    pub(super) variable: String,
    peers: Vec<String>,
    pub(super) value: String,
    ours: String,
}

/// A translation in progress.
pub(super) struct Translation<'a> {
    /// What is left to look at.
    found: BTreeMap<Part, Vec<Found>>,
    /// Whether a key of ours is set.
    pub(super) configured: &'a dyn Fn(&str) -> bool,
    values: Vec<Given>,
    notes: Vec<Note>,
}

/// Reads the variables of others. `configured` says which of our own keys are set: they win.
pub(crate) fn translate(
    environment: &BTreeMap<String, String>,
    configured: &dyn Fn(&str) -> bool,
) -> (Vec<Given>, Vec<Note>) {
    let mut translation = Translation {
        found: BTreeMap::new(),
        configured,
        values: Vec::new(),
        notes: Vec::new(),
    };
    translation.collect(environment);
    translation.bind();
    for (part, path, convert) in PLAIN {
        translation.plain(part, path, convert);
    }
    translation.database();
    translation.issuer();
    translation
        .notes
        .sort_by(|a, b| a.variable.cmp(&b.variable));
    (translation.values, translation.notes)
}

/// One variable, one key.
const PLAIN: [(Part, &str, Convert); 11] = [
    (Part::LogLevel, "log.level", values::level),
    (Part::Origins, "gateway.allowed_origins", values::list),
    (Part::BodyBytes, "gateway.max_body_bytes", values::number),
    (Part::Streams, "gateway.max_streams", values::number),
    (Part::DryRun, "gateway.dry_run", values::dry_run),
    (Part::PublicUrl, "gateway.public_url", values::text),
    (Part::LoginHours, "login.token_seconds", values::hours),
    (Part::CallbackPrefix, "callbacks.prefix", values::text),
    (Part::CallbackSecret, "callbacks.secret", values::secret),
    (Part::MetricsAddress, "metrics.bind", values::address),
    (Part::MetricsPort, "metrics.bind", values::port),
];

impl Translation<'_> {
    fn collect(&mut self, environment: &BTreeMap<String, String>) {
        let mut seen: BTreeMap<String, (Setting, Found)> = BTreeMap::new();
        let mut prefixes = Vec::new();
        for peer in table() {
            prefixes.extend(peer.prefix.map(|prefix| (prefix, peer.name.clone())));
            for setting in peer.settings {
                let Some(value) = environment.get(&setting.theirs) else {
                    continue;
                };
                if value.is_empty() {
                    continue;
                }
                if let Some((_, found)) = seen.get_mut(&setting.theirs) {
                    found.peers.push(peer.name.clone());
                    continue;
                }
                let variable = setting.theirs.clone();
                let found = Found {
                    variable: variable.clone(),
                    peers: vec![peer.name.clone()],
                    value: value.clone(),
                    ours: setting.ours.clone().unwrap_or_default(),
                };
                seen.insert(variable, (setting, found));
            }
        }
        for (prefix, peer) in prefixes {
            let theirs = environment.keys().filter(|name| name.starts_with(&prefix));
            for variable in theirs.filter(|name| !seen.contains_key(*name)) {
                self.notes.push(Note {
                    variable: variable.clone(),
                    peers: peer.clone(),
                    outcome: Outcome::Ignored("no setting of this name is known".to_owned()),
                });
            }
        }
        for (setting, found) in seen.into_values() {
            match (setting.read, setting.not_yet, setting.never) {
                (Some(part), ..) => self.found.entry(part).or_default().push(found),
                (_, Some(surface), _) => self.note(&found, Outcome::NotYet(surface)),
                (.., Some(reason)) => self.note(&found, Outcome::Never(reason)),
                // Ours has another shape, so it is for people to translate.
                _ => self.ignore([found], "it cannot be translated"),
            }
        }
    }

    /// The variable for a part, if one is set; others for the same are not read.
    pub(super) fn take(&mut self, part: Part) -> Option<Found> {
        let mut found = self.found.remove(&part)?;
        let first = found.remove(0);
        for other in found {
            let why = format!("{} is read instead", first.variable);
            self.note(&other, Outcome::Ignored(why));
        }
        Some(first)
    }

    /// Gives a key of ours a value.
    pub(super) fn give(&mut self, path: Vec<String>, value: Value, from: &[&Found]) {
        for found in from {
            self.note(found, Outcome::ReadAs(found.ours.clone()));
        }
        let from: Vec<&str> = from.iter().map(|found| &*found.variable).collect();
        self.values.push(Given {
            path,
            value,
            from: from.join(", "),
        });
    }

    /// Says why variables were not read.
    pub(super) fn ignore(&mut self, found: impl IntoIterator<Item = Found>, why: &str) {
        for found in found {
            self.note(&found, Outcome::Ignored(why.to_owned()));
        }
    }

    fn note(&mut self, found: &Found, outcome: Outcome) {
        self.notes.push(Note {
            variable: found.variable.clone(),
            peers: found.peers.join(", "),
            outcome,
        });
    }

    fn plain(&mut self, part: Part, path: &str, convert: Convert) {
        let Some(found) = self.take(part) else {
            return;
        };
        let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
        if (self.configured)(path) {
            self.ignore([found], &format!("{path} is configured"));
        } else if self.values.iter().any(|given| given.path == keys) {
            self.ignore([found], &format!("another variable is read as {path}"));
        } else {
            self.convert(keys, found, convert);
        }
    }

    /// Gives a key the converted value, or says why not.
    pub(super) fn convert(&mut self, path: Vec<String>, found: Found, convert: Convert) {
        match convert(&found.value) {
            Ok(value) => self.give(path, value, &[&found]),
            Err(why) => self.ignore([found], why),
        }
    }

    fn bind(&mut self) {
        let (host, port) = (self.take(Part::BindHost), self.take(Part::BindPort));
        let Some(port) = port else {
            return self.ignore(host, "it is not read without the port");
        };
        if (self.configured)("gateway.bind") {
            return self.ignore([port].into_iter().chain(host), "gateway.bind is configured");
        }
        let both: Vec<&Found> = host.iter().chain([&port]).collect();
        match values::bind(host.as_ref().map(|host| &*host.value), &port.value) {
            Ok(value) => {
                let path = ["gateway", "bind"].map(str::to_owned).to_vec();
                self.give(path, value, &both);
            }
            Err(why) => self.ignore([port].into_iter().chain(host), why),
        }
    }
}
