//! Roles that requests can become and that reach too much.

use tokio_postgres::Client;

use crate::audit::AuditOptions;
use crate::audit::finding::{Finding, Severity};
use crate::closure::ForbiddenRole;

/// A role that requests can become.
pub(in crate::audit) struct Target {
    oid: u32,
    name: String,
    /// The shared login of assume mode may switch to it.
    assumed: bool,
    /// A member of the group of admitted roles.
    admitted: bool,
}

pub(in crate::audit) async fn targets(
    client: &Client,
    options: &AuditOptions,
) -> Result<Vec<Target>, tokio_postgres::Error> {
    let sql = options.names.render(include_str!("targets.sql"));
    let rows = client.query(sql.as_ref(), &[&options.anonymous()]).await?;
    rows.iter()
        .map(|row| {
            Ok(Target {
                oid: row.try_get("role_oid")?,
                name: row.try_get("role_name")?,
                assumed: row.try_get("assumed")?,
                admitted: row.try_get("admitted")?,
            })
        })
        .collect()
}

/// Findings for those targets that are forbidden, and for those nobody admitted.
pub(in crate::audit) fn forbidden(
    forbidden: Vec<ForbiddenRole>,
    targets: &[Target],
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = forbidden
        .into_iter()
        .filter(|role| targets.iter().any(|target| target.oid == role.role_oid))
        // Our own anonymous login counts as an engine role for being one, and that is all.
        .filter(|role| role.chain != format!("{} (engine role)", role.role_name))
        .map(|role| Finding {
            id: "role_reaches_forbidden".to_owned(),
            severity: Severity::Error,
            message:
                "Requests can become this role, and it reaches rights that no request may have."
                    .to_owned(),
            chain: role.chain.split(" -> ").map(str::to_owned).collect(),
            fix: "-- revoke the first membership of the chain that is not needed".to_owned(),
            object: role.role_name,
        })
        .collect();
    findings.extend(
        targets
            .iter()
            .filter(|target| target.assumed && !target.admitted)
            .map(|target| Finding {
                id: "role_not_admitted".to_owned(),
                severity: Severity::Warning,
                object: target.name.clone(),
                message: "The shared login may switch to this role, which nobody admitted."
                    .to_owned(),
                chain: vec![
                    "the shared login".to_owned(),
                    format!("member of {}", target.name),
                ],
                fix: "-- rolegate roles admit, or revoke the membership".to_owned(),
            }),
    );
    findings
}
