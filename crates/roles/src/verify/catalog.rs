//! The catalog against the matrix.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::Check;
use super::functions::{self, PUBLIC};
use crate::names::Names;

/// Reads the catalog over any login's connection and adds what came out.
pub(super) async fn compare(
    client: &Client,
    names: &Names,
    checks: &mut Vec<Check>,
) -> Result<(), tokio_postgres::Error> {
    compare_functions(client, names, checks).await?;
    report_violations(client, names, checks).await
}

/// A function as one line: who may execute it, and whether it is sealed.
fn line(mut grantees: Vec<String>, owner: &str, definer: bool, settings: &[String]) -> String {
    grantees.sort();
    format!(
        "execute: {}; owner: {owner}; definer: {definer}; {}",
        if grantees.is_empty() {
            "nobody".to_owned()
        } else {
            grantees.join(", ")
        },
        if settings.is_empty() {
            "no settings".to_owned()
        } else {
            settings.join(", ")
        },
    )
}

async fn compare_functions(
    client: &Client,
    names: &Names,
    checks: &mut Vec<Check>,
) -> Result<(), tokio_postgres::Error> {
    let pinned = [names
        .render("search_path=pg_catalog, rolegate, pg_temp")
        .into_owned()];
    let mut expected: BTreeMap<String, String> = functions::all()
        .map(|function| {
            let grantees = function
                .grantees
                .iter()
                .map(|g| {
                    if *g == PUBLIC {
                        PUBLIC.to_owned()
                    } else {
                        names.role(g)
                    }
                })
                .collect();
            let signature = names.render(function.signature).into_owned();
            (
                signature,
                line(grantees, &names.role(function.owner), true, &pinned),
            )
        })
        .collect();
    let sql = names.render(include_str!("../sql/verify/functions.sql"));
    for row in client.query(sql.as_ref(), &[]).await? {
        let signature: String = row.try_get("signature")?;
        let owner: String = row.try_get("owner")?;
        let settings: Vec<String> = row.try_get("settings")?;
        let found = line(
            row.try_get("grantees")?,
            &owner,
            row.try_get("definer")?,
            &settings,
        );
        checks.push(Check {
            login: None,
            expected: expected
                .remove(&signature)
                .unwrap_or_else(|| "no such function".to_owned()),
            what: signature,
            found,
        });
    }
    checks.extend(expected.into_iter().map(|(what, expected)| Check {
        login: None,
        what,
        expected,
        found: "no such function".to_owned(),
    }));
    Ok(())
}

async fn report_violations(
    client: &Client,
    names: &Names,
    checks: &mut Vec<Check>,
) -> Result<(), tokio_postgres::Error> {
    let sql = names.render(include_str!("../sql/verify/violations.sql"));
    let rows = client.query(sql.as_ref(), &[]).await?;
    if rows.is_empty() {
        checks.push(Check {
            login: None,
            what: "rules about roles, ownership and PUBLIC".to_owned(),
            expected: "no violation".to_owned(),
            found: "no violation".to_owned(),
        });
    }
    for row in rows {
        checks.push(Check {
            login: None,
            what: row.try_get(0)?,
            expected: "no violation".to_owned(),
            found: row.try_get(1)?,
        });
    }
    Ok(())
}
