//! Whether a verified credential's role may be used: from token to principal.

use rolegate_model::{ErrorCode, Principal, RoleIdentity, RoleName};
use rolegate_pg::catalog::RoleFacts;

use crate::verified::{Origin, VerifiedToken};

/// How requests become the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunMode {
    /// Connections log in as the role.
    Login,
    /// Connections of `rolegate_authenticator` switch to the role.
    Assume,
}

/// Why a role is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such role in this cluster.
    #[error("the role `{0}` does not exist")]
    Unknown(RoleName),
    /// Too powerful, or a member of something that is.
    #[error("the role `{role}` is too powerful to be used here: {chain}")]
    Forbidden {
        /// The role.
        role: RoleName,
        /// The chain of memberships, for operators; not for the client.
        chain: String,
    },
    /// Dropped and made again, on another cluster, or younger than the token.
    #[error("the token is for an earlier role `{role}`: {reason}")]
    Replaced {
        /// The role.
        role: RoleName,
        /// How that is known.
        reason: Replaced,
    },
    /// Nobody admitted it for this mode.
    #[error("the role `{role}` is not admitted; an operator can run `rolegate roles admit {role}`")]
    NotAdmitted {
        /// The role.
        role: RoleName,
        /// The mode it would run in.
        mode: RunMode,
    },
}

/// How it is known that a token is for an earlier role of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Replaced {
    /// The OID in the token is another one.
    #[error("its OID is another one")]
    Oid,
    /// The token was signed on another cluster.
    #[error("it belongs to another cluster")]
    Cluster,
    /// The token is older than the first time this role was seen.
    #[error("the token was issued before this role was first seen")]
    Older,
}

impl Refusal {
    /// The code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown(_) => ErrorCode::RoleUnknown,
            Self::Forbidden { .. } => ErrorCode::RoleForbidden,
            Self::Replaced { .. } => ErrorCode::RoleReplaced,
            Self::NotAdmitted { .. } => ErrorCode::RoleNotAdmitted,
        }
    }

    /// What the client may read besides the code's title: never the chain of memberships.
    pub fn public_detail(&self) -> Option<String> {
        match self {
            Self::NotAdmitted { .. } => Some(self.to_string()),
            Self::Unknown(_) | Self::Forbidden { .. } | Self::Replaced { .. } => None,
        }
    }
}

/// Makes the principal of a verified credential, or says why not.
///
/// `facts` are the catalog's facts about the role the token names, `None` if it has no such role.
pub fn admit(
    token: &VerifiedToken,
    facts: Option<&RoleFacts>,
    mode: RunMode,
) -> Result<Principal, Refusal> {
    let facts = existing(&token.role, facts)?;
    check_replaced(token, facts)?;
    if token.origin == Origin::Anonymous {
        // Nobody admits the anonymous role: the deployment names it. It is only ever logged in as.
        if !facts.can_login {
            return Err(not_admitted(&token.role, RunMode::Login));
        }
    } else {
        check_admitted(facts, mode)?;
    }
    Ok(Principal {
        role: facts.identity.clone(),
        claims: token.claims.clone(),
        issuer: token.issuer.clone(),
        subject: token.subject.clone(),
        token_id: token.token_id.clone(),
        kind: token.kind,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
        scopes: token.scopes.clone(),
    })
}

/// Whether a role whose password was checked may have a token: the role as it is now.
pub fn admit_login(
    role: &RoleName,
    facts: Option<&RoleFacts>,
    mode: RunMode,
) -> Result<RoleIdentity, Refusal> {
    let facts = existing(role, facts)?;
    check_admitted(facts, mode)?;
    Ok(facts.identity.clone())
}

/// The facts about `role`, if there is such a role and it is not too powerful.
fn existing<'a>(role: &RoleName, facts: Option<&'a RoleFacts>) -> Result<&'a RoleFacts, Refusal> {
    let facts = facts
        .filter(|facts| facts.identity.name == *role)
        .ok_or_else(|| Refusal::Unknown(role.clone()))?;
    match &facts.forbidden {
        Some(chain) => Err(Refusal::Forbidden {
            role: role.clone(),
            chain: chain.to_string(),
        }),
        None => Ok(facts),
    }
}

fn check_replaced(token: &VerifiedToken, facts: &RoleFacts) -> Result<(), Refusal> {
    let now = &facts.identity;
    let reason = match token.origin {
        Origin::Anonymous => None,
        Origin::Own {
            system_identifier, ..
        } if system_identifier != now.system_identifier => Some(Replaced::Cluster),
        Origin::Own { role_oid, .. } | Origin::Stored { role_oid } => {
            (role_oid != now.oid).then_some(Replaced::Oid)
        }
        // A token without `iat` gets here only if its issuer is configured to be believed so.
        Origin::External => match (token.issued_at, facts.first_seen) {
            // `iat` is whole seconds: a token of the second in which the role appeared is its own.
            (Some(issued), Some(seen)) => {
                (issued.as_second() < seen.as_second()).then_some(Replaced::Older)
            }
            _ => None,
        },
    };
    match reason {
        Some(reason) => Err(Refusal::Replaced {
            role: token.role.clone(),
            reason,
        }),
        None => Ok(()),
    }
}

fn check_admitted(facts: &RoleFacts, mode: RunMode) -> Result<(), Refusal> {
    let usable = match mode {
        RunMode::Login => facts.can_login,
        RunMode::Assume => facts.assumable,
    };
    if facts.admitted && usable {
        return Ok(());
    }
    Err(not_admitted(&facts.identity.name, mode))
}

fn not_admitted(role: &RoleName, mode: RunMode) -> Refusal {
    Refusal::NotAdmitted {
        role: role.clone(),
        mode,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use rolegate_model::CredentialKind;
    use rolegate_pg::catalog::RoleBudget;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn token(origin: Origin) -> VerifiedToken {
        VerifiedToken {
            role: RoleName::new("alice").expect("usable"),
            claims: r#"{"role":"alice"}"#.into(),
            issuer: "https://idp.example".into(),
            subject: Some("1".into()),
            token_id: "id".into(),
            issued_at: Some(at(1000)),
            expires_at: Some(at(2000)),
            kind: CredentialKind::Jwt,
            scopes: None,
            origin,
        }
    }

    fn facts() -> RoleFacts {
        RoleFacts {
            identity: RoleIdentity {
                name: RoleName::new("alice").expect("usable"),
                oid: 4711,
                system_identifier: 99,
            },
            can_login: true,
            forbidden: None,
            admitted: true,
            assumable: false,
            memberships: 0,
            settings: Vec::new(),
            first_seen: Some(at(1000)),
            budget: RoleBudget::default(),
        }
    }

    fn code(origin: Origin, change: impl Fn(&mut RoleFacts), mode: RunMode) -> Option<ErrorCode> {
        let mut facts = facts();
        change(&mut facts);
        admit(&token(origin), Some(&facts), mode)
            .err()
            .map(|refusal| refusal.code())
    }

    #[test]
    fn an_admitted_role_becomes_the_principal_with_its_present_identity() {
        let principal = admit(&token(Origin::External), Some(&facts()), RunMode::Login);
        let principal = principal.expect("admitted");
        assert_eq!(principal.role, facts().identity);
        assert_eq!(principal.claims.as_ref(), r#"{"role":"alice"}"#);
    }

    #[test]
    fn unknown_and_forbidden_roles() {
        let unknown = admit(&token(Origin::External), None, RunMode::Login).expect_err("unknown");
        assert_eq!(unknown.code(), ErrorCode::RoleUnknown);
        let forbid = |facts: &mut RoleFacts| {
            facts.forbidden = Some("alice -> postgres (superuser)".into());
        };
        let mut forbidden = facts();
        forbid(&mut forbidden);
        let refusal = admit(&token(Origin::External), Some(&forbidden), RunMode::Login);
        let refusal = refusal.expect_err("forbidden");
        assert_eq!(refusal.code(), ErrorCode::RoleForbidden);
        assert_eq!(
            refusal.public_detail(),
            None,
            "the chain is not for the client"
        );
        for origin in [Origin::Anonymous, Origin::Stored { role_oid: 4711 }] {
            assert_eq!(
                code(origin, forbid, RunMode::Login),
                Some(ErrorCode::RoleForbidden)
            );
        }
    }

    #[test]
    fn facts_about_another_role_are_no_facts() {
        let other = |facts: &mut RoleFacts| {
            facts.identity.name = RoleName::new("Alice").expect("usable");
        };
        assert_eq!(
            code(Origin::External, other, RunMode::Login),
            Some(ErrorCode::RoleUnknown)
        );
    }

    #[test]
    fn tokens_of_an_earlier_role_are_refused() {
        let replaced = Some(ErrorCode::RoleReplaced);
        let same = |_: &mut RoleFacts| {};
        let own = |role_oid, system_identifier| Origin::Own {
            role_oid,
            system_identifier,
        };
        assert_eq!(code(own(4711, 99), same, RunMode::Login), None);
        assert_eq!(code(own(4712, 99), same, RunMode::Login), replaced);
        assert_eq!(code(own(4711, 98), same, RunMode::Login), replaced);
        assert_eq!(
            code(Origin::Stored { role_oid: 4711 }, same, RunMode::Login),
            None
        );
        assert_eq!(
            code(Origin::Stored { role_oid: 1 }, same, RunMode::Login),
            replaced
        );
        assert_eq!(code(Origin::External, same, RunMode::Login), None);
        let later = |facts: &mut RoleFacts| facts.first_seen = Some(at(1001));
        assert_eq!(code(Origin::External, later, RunMode::Login), replaced);
        assert_eq!(
            code(own(4711, 99), later, RunMode::Login),
            None,
            "the OID is better evidence"
        );
    }

    #[test]
    fn the_refusal_names_the_command_that_admits() {
        let not = |facts: &mut RoleFacts| facts.admitted = false;
        let mut facts = facts();
        not(&mut facts);
        let refusal = admit(&token(Origin::External), Some(&facts), RunMode::Login);
        let detail = refusal
            .expect_err("not admitted")
            .public_detail()
            .expect("public");
        assert!(detail.contains("rolegate roles admit alice"), "{detail}");
    }

    #[test]
    fn each_mode_has_its_own_condition() {
        let refused = Some(ErrorCode::RoleNotAdmitted);
        let same = |_: &mut RoleFacts| {};
        assert_eq!(code(Origin::External, same, RunMode::Assume), refused);
        let assumable = |facts: &mut RoleFacts| {
            facts.assumable = true;
            facts.can_login = false;
        };
        assert_eq!(code(Origin::External, assumable, RunMode::Assume), None);
        assert_eq!(code(Origin::External, assumable, RunMode::Login), refused);
        let role = RoleName::new("alice").expect("usable");
        let mut only_assumable = facts();
        assumable(&mut only_assumable);
        assert!(admit_login(&role, Some(&facts()), RunMode::Login).is_ok());
        assert!(admit_login(&role, Some(&only_assumable), RunMode::Login).is_err());
        assert!(admit_login(&role, None, RunMode::Login).is_err());
    }

    #[test]
    fn anonymous_needs_no_admission() {
        let not = |facts: &mut RoleFacts| facts.admitted = false;
        assert_eq!(code(Origin::Anonymous, not, RunMode::Login), None);
        let locked = |facts: &mut RoleFacts| facts.can_login = false;
        let refused = Some(ErrorCode::RoleNotAdmitted);
        assert_eq!(code(Origin::Anonymous, locked, RunMode::Login), refused);
    }
}
