//! One thing the audit found.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// A hole if it was not meant.
    Warning,
    /// A hole.
    Error,
}

impl Severity {
    /// The word for it, which is also SARIF's level.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// What the checks' SQL says. An unknown word counts as the worst.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "note" => Self::Note,
            "warning" => Self::Warning,
            _ => Self::Error,
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing the audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind: stable, the same word in every version (`public_execute`).
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about, as SQL names it (`api.orders`, `api.pay(integer)`, a role, a setting).
    pub object: String,
    /// One sentence.
    pub message: String,
    /// Why it is so: who, through which membership, by which grant. Empty where no grant is
    /// involved.
    pub chain: Vec<String>,
    /// SQL that ends it, or a comment where SQL alone cannot.
    pub fix: String,
}
