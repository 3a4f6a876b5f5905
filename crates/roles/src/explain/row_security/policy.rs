//! One policy.

use rolegate_pg::quote;

use super::super::relation::Relation;
use super::super::sealed::{Asking, Rights, Tried};
use super::super::table::Privilege;
use super::super::{ExplainError, Verdict};
use super::Row;

/// Which of a policy's expressions is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expression {
    /// Of a stored row.
    Using,
    /// Of a new row.
    Check,
}

impl Expression {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Using => "USING",
            Self::Check => "WITH CHECK",
        }
    }
}

/// A policy that applies to the role.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts of the catalog"
)]
pub(super) struct Policy {
    name: String,
    pub(super) permissive: bool,
    /// `polcmd`: r, a, w, d or * for all.
    command: String,
    using: Option<String>,
    check: Option<String>,
    /// Calls something volatile, or reads what cannot be judged.
    volatile: bool,
    reads_relations: bool,
    calls_functions: bool,
    /// How it comes to apply.
    pub(super) chain: Vec<String>,
}

impl Policy {
    pub(super) fn read(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            name: row.try_get("name")?,
            permissive: row.try_get("permissive")?,
            command: row.try_get("command")?,
            using: row.try_get("using_text")?,
            check: row.try_get("check_text")?,
            volatile: row.try_get("volatile")?,
            reads_relations: row.try_get("reads_relations")?,
            calls_functions: row.try_get("calls_functions")?,
            chain: row.try_get("chain")?,
        })
    }

    pub(super) fn is_for(&self, command: Privilege) -> bool {
        let letter = match command {
            Privilege::Select => "r",
            Privilege::Insert => "a",
            Privilege::Update => "w",
            Privilege::Delete => "d",
        };
        self.command == "*" || self.command == letter
    }

    pub(super) fn reaches_further(&self) -> bool {
        self.reads_relations || self.calls_functions
    }

    /// What it says to the row, and a sentence.
    pub(super) async fn evaluate(
        &self,
        asking: &Asking<'_>,
        relation: &Relation,
        expression: Expression,
        row: &Row,
    ) -> Result<(Verdict, String), ExplainError> {
        let text = match expression {
            Expression::Using => self.using.as_deref(),
            // Without one of its own, USING is the check.
            Expression::Check => self.check.as_deref().or(self.using.as_deref()),
        };
        let kind = if self.permissive {
            "policy"
        } else {
            "restrictive policy"
        };
        let shown = text.unwrap_or("true");
        let shown = format!("{kind} {}: {} {shown}", self.name, expression.as_str());
        let (columns, values) = match row {
            Row::None => return Ok((Verdict::Allowed, shown)),
            Row::Unknown(_) => return Ok((Verdict::Unknown, shown)),
            Row::Of { columns, values } => (columns, values),
        };
        let Some(text) = text else {
            return Ok((Verdict::Allowed, shown));
        };
        if let Some(why) = self.not_evaluated(asking, text) {
            return Ok((Verdict::Unknown, format!("{shown}; {why}")));
        }
        // The expression was written by the server from its own tree.
        let statement = [
            "select coalesce((",
            text,
            "), false)::pg_catalog.text from (select ",
            columns,
            ") as ",
            &quote::ident(&relation.name),
        ];
        let values: Vec<&str> = values.iter().map(|value| &**value).collect();
        Ok(
            match asking
                .attempt(Rights::Role, &statement.concat(), &values)
                .await?
            {
                Tried::Lines(lines) => {
                    let holds = lines.first().is_some_and(|line| line == "true");
                    (Verdict::of(holds), format!("{shown}; for this row {holds}"))
                }
                Tried::Refused(why) | Tried::Failed(why) => (
                    Verdict::Unknown,
                    format!("{shown}; for this row the server says: {why}"),
                ),
            },
        )
    }

    fn not_evaluated(&self, asking: &Asking<'_>, text: &str) -> Option<&'static str> {
        if self.volatile {
            Some("not evaluated: it is volatile, reads a view or reads its own table")
        } else if ["claim(", "claims("].iter().any(|call| text.contains(call)) {
            Some("not evaluated: it depends on the signed claims of a request")
        } else if text.contains("current_setting(") && !asking.has_claims {
            Some("not evaluated: it depends on settings of a request")
        } else {
            None
        }
    }
}
