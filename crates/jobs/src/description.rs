//! What people are told about a queue or a kind.

use std::collections::BTreeMap;

use serde::Serialize;

/// A name to show, and what else is to be known of a queue or a kind of job. What is not said is what an
/// operator said, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Description {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(rename = "description", skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    docs_url: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

impl Description {
    /// With a name to show, of at most 200 characters.
    #[must_use]
    pub fn named(display_name: impl Into<String>) -> Self {
        Self {
            display_name: Some(display_name.into()),
            ..Self::default()
        }
    }

    /// What it is for, in at most 4000 characters.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Who is asked when something is wrong with it.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Where to read more: `https://` or `http://`.
    #[must_use]
    pub fn docs_url(mut self, url: impl Into<String>) -> Self {
        self.docs_url = Some(url.into());
        self
    }

    /// Words to find it by, at most 20.
    #[must_use]
    pub fn tags<I: Into<String>>(mut self, tags: impl IntoIterator<Item = I>) -> Self {
        self.tags = tags.into_iter().map(Into::into).collect();
        self
    }
}

/// One of a worker's, as the database takes it.
#[derive(Debug, Serialize)]
pub(crate) struct Declaration<'a> {
    pub(crate) subject: &'static str,
    pub(crate) name: &'a str,
    #[serde(flatten)]
    pub(crate) description: &'a Description,
}

/// All of a worker's.
pub(crate) fn declarations<'a>(
    queues: &'a BTreeMap<String, Description>,
    kinds: &'a BTreeMap<&str, Description>,
) -> Vec<Declaration<'a>> {
    let queues = queues.iter().map(|(name, of)| ("queue", name.as_str(), of));
    let kinds = kinds.iter().map(|(name, of)| ("kind", *name, of));
    queues
        .chain(kinds)
        .map(|(subject, name, description)| Declaration {
            subject,
            name,
            description,
        })
        .collect()
}
