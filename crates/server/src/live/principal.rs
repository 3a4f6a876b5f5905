//! As whom a group runs its query.

use std::collections::BTreeMap;
use std::sync::Arc;

use rolegate_model::Principal;
use rolegate_query::ClaimsRead;
use serde_json::value::RawValue;

/// The caller with what the query's rows can depend on, and nothing else: whoever else has the same role and the
/// same claims in these gets the same rows. `None` if his claims can't be taken apart.
pub(super) fn projected(principal: &Principal, reads: &ClaimsRead) -> Option<Principal> {
    let (claims, token_id) = match reads {
        ClaimsRead::All => (
            Arc::clone(&principal.claims),
            Arc::clone(&principal.token_id),
        ),
        ClaimsRead::Only(names) => {
            let all: BTreeMap<String, &RawValue> = serde_json::from_str(&principal.claims).ok()?;
            let read: BTreeMap<String, &RawValue> = all
                .into_iter()
                .filter(|(name, _)| names.contains(name))
                .collect();
            (serde_json::to_string(&read).ok()?.into(), Arc::from(""))
        }
    };
    Some(Principal {
        role: principal.role.clone(),
        claims,
        issuer: Arc::from(""),
        subject: None,
        token_id,
        kind: principal.kind,
        issued_at: None,
        expires_at: None,
        scopes: None,
    })
}

#[cfg(test)]
mod tests {
    use rolegate_model::{CredentialKind, RoleIdentity, RoleName};

    use super::*;

    fn principal(claims: &str, token_id: &str) -> Principal {
        Principal {
            role: RoleIdentity {
                name: RoleName::new("member").expect("a name"),
                oid: 20_000,
                system_identifier: 1,
            },
            claims: claims.into(),
            issuer: "https://issuer".into(),
            subject: Some("alice".into()),
            token_id: token_id.into(),
            kind: CredentialKind::Jwt,
            issued_at: None,
            expires_at: None,
            scopes: None,
        }
    }

    fn only(names: &[&str]) -> ClaimsRead {
        ClaimsRead::Only(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn nothing_is_left_but_what_is_read() {
        let alice = principal(
            r#"{"sub": "alice", "org": 12345678901234567890.10, "exp": 1}"#,
            "a",
        );
        let run = projected(&alice, &only(&["org", "team"])).expect("claims");
        assert_eq!(&*run.claims, r#"{"org":12345678901234567890.10}"#);
        assert_eq!((&*run.token_id, run.subject), ("", None));
    }

    #[test]
    fn who_agrees_in_that_is_the_same() {
        let alice = principal(r#"{"sub": "alice", "org": 1}"#, "a");
        let bob = principal(r#"{"org":1,"sub":"bob"}"#, "b");
        let other = principal(r#"{"sub": "alice", "org": 2}"#, "c");
        let run = |caller: &Principal, reads: &ClaimsRead| projected(caller, reads);
        assert_eq!(run(&alice, &only(&["org"])), run(&bob, &only(&["org"])));
        assert_ne!(run(&alice, &only(&["org"])), run(&other, &only(&["org"])));
        assert_ne!(run(&alice, &only(&["sub"])), run(&bob, &only(&["sub"])));
        assert_ne!(run(&alice, &ClaimsRead::All), run(&bob, &ClaimsRead::All));
        assert_eq!(run(&principal("[1]", "d"), &only(&["org"])), None);
    }
}
