//! Row-level security: whether it is asked, and what each policy says to one row.

mod policy;

use rolegate_pg::quote;

use super::relation::Relation;
use super::sealed::{Asking, Rights, Tried};
use super::table::Privilege;
use super::{ExplainError, Step, StepKind, Verdict, grants};
use policy::{Expression, Policy};

/// Whether row-level security is asked, and the policies that apply to the role.
pub(super) struct Status {
    /// Why it is not asked, with the way to that.
    off: Option<(String, Vec<String>)>,
    policies: Vec<Policy>,
}

impl Status {
    pub(super) async fn of(asking: &Asking<'_>, relation: &Relation) -> Result<Self, ExplainError> {
        let off = if !relation.row_security {
            Some(("row-level security is off".to_owned(), Vec::new()))
        } else if asking.superuser {
            Some((
                "superusers are not asked by row-level security".to_owned(),
                Vec::new(),
            ))
        } else if asking.bypasses {
            Some((
                "the role bypasses row-level security".to_owned(),
                Vec::new(),
            ))
        } else if relation.forced {
            None
        } else {
            grants::way_to(asking, relation.owner).await?.map(|way| {
                (
                    "the role has the rights of the table's owner, who is not asked".to_owned(),
                    way,
                )
            })
        };
        let policies = match off {
            Some(_) => Vec::new(),
            None => grants::policies(asking, relation.oid)
                .await?
                .iter()
                .map(Policy::read)
                .collect::<Result<_, _>>()?,
        };
        Ok(Self { off, policies })
    }

    /// Whether a policy reads another relation or calls a function that is not built in, for
    /// which the role needs rights of its own.
    pub(super) fn reaches_further(&self) -> bool {
        self.policies.iter().any(Policy::reaches_further)
    }

    /// One step for each policy that is asked, and one for what they say together.
    /// `planned`: nothing before this has refused.
    pub(super) async fn explain(
        &self,
        asking: &Asking<'_>,
        relation: &Relation,
        privilege: Privilege,
        key: &[(String, String)],
        planned: bool,
    ) -> Result<Vec<Step>, ExplainError> {
        if let Some((text, via)) = &self.off {
            return Ok(vec![together(Verdict::Allowed, text.clone(), via.clone())]);
        }
        let row = if !planned || key.is_empty() {
            Row::None
        } else if privilege == Privilege::Insert {
            new_row(asking, relation, key)?
        } else {
            stored_row(asking, relation, key).await?
        };
        let mut steps = Vec::new();
        // Every pass asks the policies of one command; a row has to get through all of them.
        for (command, expression) in passes(privilege, !key.is_empty()) {
            let asked: Vec<&Policy> = self
                .policies
                .iter()
                .filter(|policy| policy.is_for(command))
                .collect();
            let mut verdicts = Vec::new();
            for policy in &asked {
                let (verdict, text) = policy.evaluate(asking, relation, expression, &row).await?;
                steps.push(Step {
                    kind: StepKind::Policy,
                    verdict,
                    text,
                    via: policy.chain.clone(),
                });
                verdicts.push((policy.permissive, verdict));
            }
            let verdict = match &row {
                // Without a row nothing is refused but adding one that no policy could accept.
                Row::None if privilege != Privilege::Insert => Verdict::Allowed,
                Row::None if asked.iter().any(|policy| policy.permissive) => Verdict::Unknown,
                _ => combine(&verdicts),
            };
            let about = format!("{} {}", command.as_str(), expression.as_str());
            let text = match (&row, asked.iter().any(|policy| policy.permissive)) {
                (_, false) => format!("no policy lets the role have a row ({about})"),
                (Row::Unknown(why), _) => format!("the policies cannot be asked: {why}"),
                (Row::None, true) => format!("the policies decide for each row ({about})"),
                (_, true) => format!("the policies say {} ({about})", verdict.as_str()),
            };
            let verdict = match row {
                Row::Unknown(_) if asked.iter().any(|policy| policy.permissive) => Verdict::Unknown,
                _ => verdict,
            };
            steps.push(together(verdict, text, Vec::new()));
        }
        Ok(steps)
    }
}

/// The row that policies are asked about.
enum Row {
    /// None was named.
    None,
    /// One was named and cannot be had.
    Unknown(String),
    /// SQL that makes it out of `$1`, and the values of `$1`.
    Of {
        columns: String,
        values: Vec<String>,
    },
}

fn together(verdict: Verdict, text: String, via: Vec<String>) -> Step {
    Step {
        kind: StepKind::RowSecurity,
        verdict,
        text,
        via,
    }
}

/// Which policies the server asks. A statement that names a row reads it, so those for SELECT too.
fn passes(privilege: Privilege, reads: bool) -> Vec<(Privilege, Expression)> {
    use Expression::{Check, Using};
    use Privilege::{Delete, Insert, Select, Update};
    match privilege {
        Select => vec![(Select, Using)],
        Insert => vec![(Insert, Check)],
        Update if reads => vec![(Update, Using), (Select, Using), (Update, Check)],
        Delete if reads => vec![(Delete, Using), (Select, Using)],
        Update => vec![(Update, Using)],
        Delete => vec![(Delete, Using)],
    }
}

/// One permissive policy has to say yes and no restrictive one may say no.
fn combine(verdicts: &[(bool, Verdict)]) -> Verdict {
    let says = |permissive: bool, verdict: Verdict| verdicts.contains(&(permissive, verdict));
    let possible = says(true, Verdict::Allowed) || says(true, Verdict::Unknown);
    if !possible || says(false, Verdict::Denied) {
        Verdict::Denied
    } else if says(true, Verdict::Unknown) || says(false, Verdict::Unknown) {
        // Also with another yes: the server may ask the unknown one first, and that may raise.
        Verdict::Unknown
    } else {
        Verdict::Allowed
    }
}

/// The new row of an INSERT, if all of it is known.
fn new_row(
    asking: &Asking<'_>,
    relation: &Relation,
    key: &[(String, String)],
) -> Result<Row, ExplainError> {
    if !asking.may_try {
        return Ok(Row::Unknown(NOT_HERE.to_owned()));
    }
    let named = |name: &str| key.iter().position(|(column, _)| column == name);
    let filled = relation
        .columns
        .iter()
        .find(|c| c.filled && named(&c.name).is_none());
    if let Some(column) = filled {
        return Ok(Row::Unknown(format!(
            "the server fills column {}",
            column.name
        )));
    }
    if relation.changed_by_trigger {
        return Ok(Row::Unknown("a trigger may change the row".to_owned()));
    }
    let mut columns = Vec::with_capacity(relation.columns.len());
    for column in &relation.columns {
        let value = match named(&column.name) {
            Some(position) => relation.argument(&column.name, position)?,
            None => ["null::", &column.kind].concat(),
        };
        columns.push([&value, " as ", &quote::ident(&column.name)].concat());
    }
    let values = key.iter().map(|(_, value)| value.clone()).collect();
    Ok(Row::Of {
        columns: columns.join(", "),
        values,
    })
}

/// The row with this key, read past its policies.
async fn stored_row(
    asking: &Asking<'_>,
    relation: &Relation,
    key: &[(String, String)],
) -> Result<Row, ExplainError> {
    if !asking.may_try {
        return Ok(Row::Unknown(NOT_HERE.to_owned()));
    }
    let read = [
        "select (the_row.*)::pg_catalog.text from ",
        &relation.quoted(),
        " the_row where ",
        &relation.condition(key)?,
        " limit 2",
    ];
    let values: Vec<&str> = key.iter().map(|(_, value)| &**value).collect();
    Ok(
        match asking
            .attempt(Rights::Reader, &read.concat(), &values)
            .await?
        {
            Tried::Lines(mut rows) => match (rows.pop(), rows.is_empty()) {
                (Some(row), true) => Row::Of {
                    columns: ["(($1[1])::", &relation.quoted(), ").*"].concat(),
                    values: vec![row],
                },
                (Some(_), false) => Row::Unknown("several rows have this key".to_owned()),
                (None, _) => Row::Unknown("no row has this key".to_owned()),
            },
            Tried::Refused(why) | Tried::Failed(why) => Row::Unknown(why),
        },
    )
}

const NOT_HERE: &str = "only a superuser's connection can ask them as another role";

#[cfg(test)]
mod tests {
    use super::Verdict::{Allowed, Denied, Unknown};
    use super::combine;

    #[test]
    fn policies_combine_as_the_server_combines_them() {
        for (verdicts, expected) in [
            (&[][..], Denied),
            (&[(true, Allowed)], Allowed),
            (&[(true, Denied)], Denied),
            (&[(true, Denied), (true, Allowed)], Allowed),
            (&[(false, Allowed)], Denied),
            (&[(true, Allowed), (false, Allowed)], Allowed),
            (&[(true, Allowed), (false, Denied)], Denied),
            (&[(true, Allowed), (true, Unknown)], Unknown),
            (&[(true, Unknown), (false, Denied)], Denied),
            (&[(true, Denied), (false, Unknown)], Denied),
            (&[(true, Allowed), (false, Unknown)], Unknown),
        ] {
            assert_eq!(combine(verdicts), expected, "{verdicts:?}");
        }
    }
}
