//! Making an application role usable, and taking that back.

use rolegate_model::{RoleName, RoleNameError};
use rolegate_pg::cluster::ident::{self, IdentError};
use rolegate_pg::quote;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row, Transaction};

use crate::closure;
use crate::names::Names;

/// What an admission sets `track_activities` to. Both mean `off`, and the server keeps the word as
/// it was written, also in dumps: so a dismissal knows what the admission did, and leaves an `off`
/// of somebody else's alone. Only a superuser can change it, so the role cannot.
const OFF_WAS_UNSET: &str = "no";
const OFF_WAS_ON: &str = "false";

/// How the gateway becomes the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmitMode<'a> {
    /// `rolegate_authenticator` switches to it. For databases whose `pg_hba.conf` is not ours.
    Assume,
    /// Connections log in as it, over the socket with the peer map.
    Login {
        /// The operating system user the gateway runs as.
        os_user: &'a str,
        /// The name of the map in `pg_hba.conf` (`peer map=...`).
        map: &'a str,
    },
}

/// What was done and what is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The role's OID.
    pub role_oid: u32,
    /// Login mode: what `pg_ident.conf` needs.
    pub ident_line: Option<IdentLine>,
    /// Login mode: `track_activities` could not be switched off, because only a superuser may.
    /// Connections of this role can read each other's statements until somebody does.
    pub activity_visible: bool,
}

/// What `pg_ident.conf` needs, followed by a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentLine {
    /// From 16 on: one line for all admitted roles. Once it is there, nothing is left to do.
    Once(String),
    /// Before it: a line for this role.
    Role(String),
}

/// What was taken back and what is left to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dismissal {
    /// Numbers of the lines of `pg_ident.conf` that still name the role; none if this connection
    /// may not read them.
    pub ident_lines: Option<Vec<i32>>,
    /// The admission had switched `track_activities` off, and it stays off, because only a
    /// superuser may switch it on.
    pub activity_hidden: bool,
}

/// How `track_activities` is set for a role, for all databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Unset,
    On,
    /// By whom, if by an admission: what was there before it.
    Off(Option<&'static str>),
}

impl Activity {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(match row.try_get::<_, Option<&str>>("activity")? {
            None => Self::Unset,
            Some(OFF_WAS_UNSET) => Self::Off(Some(" reset track_activities")),
            Some(OFF_WAS_ON) => Self::Off(Some(" set track_activities = on")),
            Some(_) if row.try_get("activity_on")? => Self::On,
            Some(_) => Self::Off(None),
        })
    }
}

/// Why a role was not admitted. Nothing has been granted, then.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The name has a special meaning or is not a name.
    #[error("the role cannot be admitted")]
    Name(#[from] RoleNameError),
    /// Login mode: the operating system user, the map or the role would mean something else in
    /// `pg_ident.conf`.
    #[error("the role cannot be admitted")]
    Ident(#[from] IdentError),
    /// No such role.
    #[error("there is no role {0}")]
    Unknown(String),
    /// Its memberships reach something that must never run callers' code.
    #[error("the role is too powerful: {chain}")]
    Forbidden {
        /// The membership chain.
        chain: String,
    },
    /// Before 16, whether a membership is inherited is a property of the member.
    #[error(
        "role {0} is NOINHERIT, so on this version the admission would give it nothing; run: alter role ... inherit"
    )]
    NotInheriting(String),
    /// Login mode for a role that may not log in.
    #[error("role {0} may not log in; run: alter role ... login, or admit it in assume mode")]
    NoLogin(String),
    /// A membership that somebody else granted is still there.
    #[error("role {0} is still admitted by a grant that this connection may not revoke")]
    StillAdmitted(String),
    /// The server refused.
    #[error("the server refused")]
    Postgres(#[from] tokio_postgres::Error),
}

/// Admits `role` in `mode`. The connection is a superuser's, or that of a member of
/// `rolegate_grantor` with ADMIN on the role. Can be repeated.
pub async fn admit(
    client: &mut Client,
    names: &Names,
    role: &str,
    mode: AdmitMode<'_>,
) -> Result<Admission, AdmitError> {
    let role = RoleName::new(role)?;
    let transaction = client.transaction().await?;
    let row = transaction
        .query_opt(include_str!("sql/admit_facts.sql"), &[&role.as_str()])
        .await?
        .ok_or_else(|| AdmitError::Unknown(role.to_string()))?;
    let role_oid: u32 = row.try_get("role_oid")?;
    let inherits: bool = row.try_get("inherits")?;
    let may_login: bool = row.try_get("may_login")?;
    let membership_options: bool = row.try_get("membership_options")?;
    let superuser: bool = row.try_get("superuser")?;
    let activity = Activity::of(&row)?;

    if let Some(forbidden) = closure::forbidden_roles(&transaction, names, Some(role_oid), &[])
        .await?
        .pop()
    {
        return Err(AdmitError::Forbidden {
            chain: forbidden.chain,
        });
    }
    if !membership_options && !inherits {
        return Err(AdmitError::NotInheriting(role.to_string()));
    }
    let admitted = names.role("admitted");
    let options = if membership_options {
        " with inherit true, set false"
    } else {
        ""
    };
    let grant = [
        "grant ",
        &quote::ident(&admitted),
        " to ",
        &quote::ident(role.as_str()),
        options,
    ];
    transaction.batch_execute(&grant.concat()).await?;

    let mut admission = Admission {
        role_oid,
        ident_line: None,
        activity_visible: false,
    };
    match mode {
        AdmitMode::Assume => {
            // On 15 the authenticator is NOINHERIT, which says the same.
            let options = if membership_options {
                " with inherit false, set true"
            } else {
                ""
            };
            let grant = [
                "grant ",
                &quote::ident(role.as_str()),
                " to ",
                &quote::ident(&names.role("authenticator")),
                options,
            ];
            transaction.batch_execute(&grant.concat()).await?;
        }
        AdmitMode::Login { os_user, map } => {
            if !may_login {
                return Err(AdmitError::NoLogin(role.to_string()));
            }
            let off = match activity {
                Activity::Unset => Some(OFF_WAS_UNSET),
                Activity::On => Some(OFF_WAS_ON),
                Activity::Off(_) => None,
            };
            if let (Some(off), true) = (off, superuser) {
                let setting = [
                    "alter role ",
                    &quote::ident(role.as_str()),
                    " set track_activities = ",
                    &quote::literal(off),
                ];
                transaction.batch_execute(&setting.concat()).await?;
            }
            admission.activity_visible = off.is_some() && !superuser;
            admission.ident_line = Some(if membership_options {
                IdentLine::Once(ident::group_line(map, os_user, &admitted)?)
            } else {
                IdentLine::Role(ident::role_line(map, os_user, role.as_str())?)
            });
        }
    }
    transaction.commit().await?;
    tracing::info!(role = role.as_str(), role_oid, "role admitted");
    Ok(admission)
}

/// Takes the admission back: both memberships, whoever granted them, and with them the right to
/// connect; and `track_activities = off`, unless it was set before the admission. Says which lines
/// of `pg_ident.conf` have to go too. Can be repeated.
pub async fn dismiss(
    client: &mut Client,
    names: &Names,
    role: &str,
) -> Result<Dismissal, AdmitError> {
    let role = RoleName::new(role)?;
    let (admitted, authenticator) = (names.role("admitted"), names.role("authenticator"));
    let transaction = client.transaction().await?;
    let facts = transaction
        .query_opt(include_str!("sql/admit_facts.sql"), &[&role.as_str()])
        .await?
        .ok_or_else(|| AdmitError::Unknown(role.to_string()))?;
    for (group, member) in [
        (&*admitted, role.as_str()),
        (role.as_str(), &*authenticator),
    ] {
        let grantors = transaction
            .query(include_str!("sql/grantors.sql"), &[&group, &member])
            .await?;
        for row in &grantors {
            let mut revoke = vec![
                "revoke ".to_owned(),
                quote::ident(group),
                " from ".to_owned(),
                quote::ident(member),
            ];
            // Since 16 a REVOKE only takes back what its grantor gave.
            if let Some(grantor) = row.try_get::<_, Option<String>>(0)? {
                revoke.extend([" granted by ".to_owned(), quote::ident(&grantor)]);
            }
            transaction.batch_execute(&revoke.concat()).await?;
        }
        let left = transaction
            .query(include_str!("sql/grantors.sql"), &[&group, &member])
            .await?;
        if !left.is_empty() {
            return Err(AdmitError::StillAdmitted(role.to_string()));
        }
    }
    let activity_hidden = restore_activity(&transaction, &admitted, &role, &facts).await?;
    transaction.commit().await?;
    tracing::info!(role = role.as_str(), "role dismissed");
    Ok(Dismissal {
        ident_lines: ident_lines(client, role.as_str()).await?,
        activity_hidden,
    })
}

/// Puts `track_activities` back to what it was before the admission; whether that is left to do.
async fn restore_activity(
    transaction: &Transaction<'_>,
    admitted: &str,
    role: &RoleName,
    facts: &Row,
) -> Result<bool, AdmitError> {
    let Activity::Off(Some(before)) = Activity::of(facts)? else {
        return Ok(false);
    };
    // Through another group its calls still run.
    let sql = "select pg_catalog.pg_has_role($1::pg_catalog.text::pg_catalog.name, \
        $2::pg_catalog.text::pg_catalog.name, 'MEMBER')";
    let row = transaction
        .query_one(sql, &[&role.as_str(), &admitted])
        .await?;
    if row.try_get(0)? {
        return Ok(false);
    }
    if !facts.try_get::<_, bool>("superuser")? {
        return Ok(true);
    }
    let setting = ["alter role ", &quote::ident(role.as_str()), before];
    transaction.batch_execute(&setting.concat()).await?;
    Ok(false)
}

/// Lines of `pg_ident.conf` with this very name.
async fn ident_lines(client: &Client, role: &str) -> Result<Option<Vec<i32>>, AdmitError> {
    let lines = client
        .query(
            "select m.line_number from pg_catalog.pg_ident_file_mappings m \
             where m.pg_username = $1 order by m.line_number",
            &[&role],
        )
        .await;
    match lines {
        Ok(rows) => Ok(Some(
            rows.iter()
                .map(|row| row.try_get(0))
                .collect::<Result<_, _>>()?,
        )),
        // For superusers, unless it was granted.
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
