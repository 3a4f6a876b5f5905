//! Findings that somebody looked at and accepted, in a file that is committed and reviewed.

use serde::Deserialize;

/// One accepted finding.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct AllowEntry {
    /// The finding's id.
    pub id: String,
    /// The finding's object, exactly. There are no patterns: a new object needs a new look.
    pub object: String,
    /// Why it is accepted.
    pub reason: String,
}

/// The accepted findings.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowList {
    /// In the file's order.
    #[serde(default, rename = "allow")]
    pub entries: Vec<AllowEntry>,
}

/// Why an allow-list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AllowListError {
    /// Not TOML of this shape.
    #[error("the allow-list is not valid")]
    Syntax(#[from] toml::de::Error),
    /// Nobody said why.
    #[error("the allow-list's entry for {id} on {object} gives no reason")]
    NoReason {
        /// The finding's id.
        id: String,
        /// The finding's object.
        object: String,
    },
}

impl AllowList {
    /// Reads TOML: `[[allow]]` tables with `id`, `object` and `reason`.
    pub fn parse(text: &str) -> Result<Self, AllowListError> {
        let list: Self = toml::from_str(text)?;
        match list
            .entries
            .iter()
            .find(|entry| entry.reason.trim().is_empty())
        {
            Some(entry) => Err(AllowListError::NoReason {
                id: entry.id.clone(),
                object: entry.object.clone(),
            }),
            None => Ok(list),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_order() {
        let list = AllowList::parse(
            "[[allow]]\nid = \"public_table\"\nobject = \"api.a\"\nreason = \"open data\"\n\
             [[allow]]\nid = \"public_table\"\nobject = \"api.b\"\nreason = \"open data\"\n",
        )
        .unwrap();
        let objects: Vec<_> = list.entries.iter().map(|entry| &*entry.object).collect();
        assert_eq!(objects, ["api.a", "api.b"]);
        assert_eq!(AllowList::parse("").unwrap(), AllowList::default());
    }

    #[test]
    fn an_entry_without_a_reason_is_refused() {
        for reason in ["", "  "] {
            let text =
                format!("[[allow]]\nid = \"public_table\"\nobject = \"x\"\nreason = \"{reason}\"");
            assert!(matches!(
                AllowList::parse(&text),
                Err(AllowListError::NoReason { .. })
            ));
        }
        for text in [
            "[[allow]]\nid = \"a\"\nobject = \"b\"",
            "[[alow]]\n",
            "[[allow]]\nx = 1",
        ] {
            assert!(
                matches!(AllowList::parse(text), Err(AllowListError::Syntax(_))),
                "{text}"
            );
        }
    }
}
