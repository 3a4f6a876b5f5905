//! `rolegate roles rebind`.

use std::process::ExitCode;

use super::super::connect::Target;
use crate::logging::say;

/// Binds again, or says what would be bound. Exit code 2 if something is refused.
pub(super) async fn run(
    roles: &[String],
    target: &Target,
    dry_run: bool,
) -> anyhow::Result<ExitCode> {
    let client = target.connect().await?;
    let sql = target
        .names()?
        .render(
            "select b.token_id::text, b.role_name, b.created_by, b.old_oid, b.new_oid, b.refused \
             from rolegate.rebind_roles($1, $2) b",
        )
        .into_owned();
    let only = (!roles.is_empty()).then_some(roles);
    let (mut bound, mut refused) = (0, 0);
    for row in client.query(&sql, &[&only, &dry_run]).await? {
        let token: &str = row.get(0);
        let role: &str = row.get(1);
        let by: &str = row.get(2);
        let old: u32 = row.get(3);
        if let Some(reason) = row.get::<_, Option<&str>>(5) {
            refused += 1;
            say(format_args!("refused  {token} of {role}: {reason}"));
        } else {
            bound += 1;
            let new: u32 = row.get(4);
            say(format_args!(
                "token    {token} of {role}, made by {by}: OID {old} -> {new}"
            ));
        }
    }
    let sql = target
        .names()?
        .render(
            "select b.role_name, b.old_oid, b.new_oid, b.principals, b.refused \
             from rolegate.rebind_jobs($1, $2) b",
        )
        .into_owned();
    for row in client.query(&sql, &[&only, &dry_run]).await? {
        let role: &str = row.get(0);
        let old: u32 = row.get(1);
        if let Some(reason) = row.get::<_, Option<&str>>(4) {
            refused += 1;
            say(format_args!("refused  jobs of {role}: {reason}"));
        } else {
            bound += 1;
            let (new, principals): (u32, i64) = (row.get(2), row.get(3));
            say(format_args!(
                "jobs     of {role}, {principals} sets of claims: OID {old} -> {new}"
            ));
        }
    }
    let would = if dry_run { "would be bound" } else { "bound" };
    say(format_args!("{bound} {would} again, {refused} refused"));
    Ok(if refused == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}
