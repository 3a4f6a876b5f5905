//! May the role read or write this relation, or this row of it?

use serde::{Deserialize, Serialize};

use super::relation::Relation;
use super::sealed::{Asking, Rights, Tried};
use super::{ExplainError, Step, StepKind, Verdict, grants, row_security};

/// How a relation is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Privilege {
    /// Read.
    Select,
    /// Add a row.
    Insert,
    /// Change a row. With a key: whether the row as it stands can be changed and kept.
    Update,
    /// Remove a row.
    Delete,
}

impl Privilege {
    /// The word in GRANT.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

pub(super) async fn explain(
    asking: &Asking<'_>,
    name: &str,
    privilege: Privilege,
    columns: &[String],
    key: &[(String, String)],
) -> Result<(String, Vec<Step>), ExplainError> {
    let relation = Relation::find(asking, name).await?;
    let keys: Vec<&str> = key.iter().map(|(name, _)| &**name).collect();
    for name in columns
        .iter()
        .map(|name| &**name)
        .chain(keys.iter().copied())
    {
        relation.column(name)?;
    }
    let mut used: Vec<&str> = columns.iter().map(|name| &**name).collect();
    if privilege == Privilege::Insert {
        used.extend(
            keys.iter()
                .copied()
                .filter(|name| !columns.iter().any(|c| c == name)),
        );
    }
    if used.is_empty() && privilege != Privilege::Delete {
        used = relation
            .columns
            .iter()
            .map(|column| &*column.name)
            .collect();
    }

    let mut steps = vec![grants::schema(asking, relation.schema_oid, &relation.schema).await?];
    steps.extend(privileges(asking, &relation, privilege, &used, &keys).await?);
    let granted = steps.iter().all(|step| step.verdict == Verdict::Allowed);
    if relation.view {
        steps.push(view_hop(&relation));
    }
    // Without the grants the server asks nothing more, and the answer cannot change.
    if granted {
        let security = row_security::Status::of(asking, &relation).await?;
        let statement = relation.statement(privilege, &used, key)?;
        steps.push(plan(asking, &relation, &security, &statement, key).await?);
        let planned = steps.iter().all(|step| step.verdict != Verdict::Denied);
        if relation.view && !key.is_empty() && planned {
            steps.push(row_of_view(asking, privilege, &statement, key).await?);
        } else if !relation.view {
            steps.extend(
                security
                    .explain(asking, &relation, privilege, key, planned)
                    .await?,
            );
        }
    }
    let target = match key {
        [] => format!("{} {}", privilege.as_str().to_lowercase(), relation.shown()),
        key => {
            let pairs: Vec<_> = key
                .iter()
                .map(|(name, value)| [name, "=", value].concat())
                .collect();
            let verb = privilege.as_str().to_lowercase();
            format!("{verb} {} where {}", relation.shown(), pairs.join(" and "))
        }
    };
    Ok((target, steps))
}

async fn privileges(
    asking: &Asking<'_>,
    relation: &Relation,
    privilege: Privilege,
    used: &[&str],
    keys: &[&str],
) -> Result<Vec<Step>, ExplainError> {
    let shown = relation.shown();
    let mut steps = Vec::new();
    let read = if privilege == Privilege::Select {
        let mut read = used.to_vec();
        read.extend(keys.iter().filter(|name| !used.contains(name)));
        read
    } else {
        steps.extend(
            grants::relation(asking, relation.oid, &shown, privilege.as_str(), used).await?,
        );
        // To find the row is to read the key.
        if privilege == Privilege::Insert {
            Vec::new()
        } else {
            keys.to_vec()
        }
    };
    if privilege == Privilege::Select || !read.is_empty() {
        steps.extend(grants::relation(asking, relation.oid, &shown, "SELECT", &read).await?);
    }
    Ok(steps)
}

fn view_hop(relation: &Relation) -> Step {
    let text = if relation.invoker {
        "the view reads with the rights of the role: it is security_invoker".to_owned()
    } else {
        format!(
            "the view reads with the rights of {}, its owner",
            relation.owner_name
        )
    };
    Step {
        kind: StepKind::Hop,
        verdict: Verdict::Allowed,
        text,
        via: Vec::new(),
    }
}

/// What the server says to the whole statement: it also asks for what views and policies read.
async fn plan(
    asking: &Asking<'_>,
    relation: &Relation,
    security: &row_security::Status,
    statement: &str,
    key: &[(String, String)],
) -> Result<Step, ExplainError> {
    let (verdict, text) = if asking.may_try {
        let values: Vec<&str> = key.iter().map(|(_, value)| &**value).collect();
        let explain = ["explain (costs off) ", statement].concat();
        match asking.attempt(Rights::Role, &explain, &values).await? {
            Tried::Lines(_) => (
                Verdict::Allowed,
                "the server plans it for the role".to_owned(),
            ),
            Tried::Refused(message) => (Verdict::Denied, message),
            Tried::Failed(message) => (Verdict::Unknown, message),
        }
    } else if relation.view {
        let why = "what the view reads can be tried on a superuser's connection only";
        (Verdict::Unknown, why.to_owned())
    } else if security.reaches_further() {
        let why = "what the policies read can be tried on a superuser's connection only";
        (Verdict::Unknown, why.to_owned())
    } else {
        (
            Verdict::Allowed,
            "nothing but the relation itself is read".to_owned(),
        )
    };
    Ok(Step {
        kind: StepKind::Plan,
        verdict,
        text,
        via: Vec::new(),
    })
}

/// A row of a view can only be looked for.
async fn row_of_view(
    asking: &Asking<'_>,
    privilege: Privilege,
    statement: &str,
    key: &[(String, String)],
) -> Result<Step, ExplainError> {
    let values: Vec<&str> = key.iter().map(|(_, value)| &**value).collect();
    let (verdict, text) = if privilege != Privilege::Select || !asking.may_try {
        (
            Verdict::Unknown,
            "whether a row of a view can be written is not tried".to_owned(),
        )
    } else {
        let count = [
            "select pg_catalog.count(*)::pg_catalog.text from (",
            statement,
            ") found",
        ];
        match asking
            .attempt(Rights::Role, &count.concat(), &values)
            .await?
        {
            Tried::Lines(lines) if lines.iter().any(|line| line != "0") => {
                (Verdict::Allowed, "the view shows this row".to_owned())
            }
            Tried::Lines(_) => (
                Verdict::Unknown,
                "the view shows no such row: hidden or not there".to_owned(),
            ),
            Tried::Refused(message) => (Verdict::Denied, message),
            Tried::Failed(message) => (Verdict::Unknown, message),
        }
    };
    Ok(Step {
        kind: StepKind::RowSecurity,
        verdict,
        text,
        via: Vec::new(),
    })
}
