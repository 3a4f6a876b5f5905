//! From the `Authorization` header to a verified credential.

use std::sync::Arc;

use jiff::Timestamp;
use rolegate_model::{CredentialKind, ErrorCode, RoleName};
use serde_json::json;

use crate::api_token::{ApiToken, ApiTokenError, ApiTokens, NotOurs};
use crate::jwt::{JwtError, Verifier};
use crate::verified::{Origin, VerifiedToken};

/// The issuer of requests without a credential.
pub const ANONYMOUS: &str = "anonymous";

/// Why a request has no identity. The text is for the log and contains nothing of the credential.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No credential, and anonymous requests are not allowed.
    #[error("there is no credential and anonymous access is off")]
    Missing,
    /// Not `Bearer TOKEN`.
    #[error("the Authorization header is not a bearer token")]
    Malformed,
    /// A JWT that is refused.
    #[error("the JWT is refused")]
    Jwt(#[from] JwtError),
    /// An API token that is refused.
    #[error("the API token is refused")]
    ApiToken(#[from] ApiTokenError),
}

impl AuthError {
    /// The code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::CredentialMissing,
            Self::Malformed => ErrorCode::CredentialMalformed,
            Self::Jwt(error) => error.code(),
            Self::ApiToken(error) => error.code(),
        }
    }

    /// The kind of credential that was tried, for log and metrics.
    pub fn kind(&self) -> Option<CredentialKind> {
        match self {
            Self::Missing | Self::Malformed => None,
            Self::Jwt(_) => Some(CredentialKind::Jwt),
            Self::ApiToken(_) => Some(CredentialKind::ApiToken),
        }
    }

    /// The whole chain of causes in one line, for the log event `auth_failed`.
    pub fn reason(&self) -> String {
        let mut text = self.to_string();
        let mut error: &dyn std::error::Error = self;
        while let Some(source) = error.source() {
            text.push_str(": ");
            text.push_str(&source.to_string());
            error = source;
        }
        text
    }
}

/// Verifies the credential of a request to one database.
#[derive(Debug)]
pub struct Authenticator {
    verifier: Arc<Verifier>,
    api_tokens: Option<Arc<ApiTokens>>,
    anonymous: Option<Arc<VerifiedToken>>,
}

impl Authenticator {
    /// `api_tokens` are those of the database; `anonymous` is the role of requests without a
    /// credential, `None` if there have to be none.
    pub fn new(
        verifier: Arc<Verifier>,
        api_tokens: Option<Arc<ApiTokens>>,
        anonymous: Option<RoleName>,
    ) -> Self {
        let anonymous = anonymous.map(|role| Arc::new(anonymous_token(role)));
        Self {
            verifier,
            api_tokens,
            anonymous,
        }
    }

    /// Verifies the value of the `Authorization` header of a request to `database`.
    ///
    /// A credential that is there and wrong is an error, never anonymous.
    pub async fn authenticate(
        &self,
        header: Option<&str>,
        database: &str,
        now: Timestamp,
    ) -> Result<Arc<VerifiedToken>, AuthError> {
        let Some(header) = header else {
            return self.anonymous.clone().ok_or(AuthError::Missing);
        };
        let bearer = bearer(header).ok_or(AuthError::Malformed)?;
        match &self.api_tokens {
            Some(tokens) if tokens.is_meant(bearer) => Ok(tokens.verify(bearer, now).await?),
            None if ApiToken::is_meant(bearer) => Err(ApiTokenError::from(NotOurs).into()),
            _ => Ok(self.verifier.verify(bearer, database, now).await?),
        }
    }
}

/// The token of `Bearer TOKEN`: one scheme, spaces, one token of the characters that RFC 6750
/// allows.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, rest) = header.split_once(' ')?;
    let token = rest.trim_start_matches(' ');
    let allowed = |byte: u8| ALLOWED[usize::from(byte)];
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(allowed))
        .then_some(token)
}

/// The characters of a token; a table, because every byte of every request's token is looked at.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        allowed[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=');
        byte += 1;
    }
    allowed
};

fn anonymous_token(role: RoleName) -> VerifiedToken {
    VerifiedToken {
        claims: json!({ "role": role.as_str() }).to_string().into(),
        role,
        issuer: ANONYMOUS.into(),
        subject: None,
        token_id: ANONYMOUS.into(),
        issued_at: None,
        expires_at: None,
        kind: CredentialKind::Anonymous,
        scopes: None,
        origin: Origin::Anonymous,
    }
}

#[cfg(test)]
mod tests {
    use rolegate_model::{Clock, SystemClock};

    use super::*;
    use crate::jwt::VerifierOptions;

    fn authenticator(anonymous: bool) -> Authenticator {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let verifier = Verifier::new(&[], None, VerifierOptions::default(), &clock);
        let role = RoleName::new("rolegate_anonymous").expect("usable");
        Authenticator::new(
            Arc::new(verifier.expect("no issuer is valid")),
            None,
            anonymous.then_some(role),
        )
    }

    async fn code(authenticator: &Authenticator, header: Option<&str>) -> Option<ErrorCode> {
        let now = Timestamp::UNIX_EPOCH;
        authenticator
            .authenticate(header, "app", now)
            .await
            .err()
            .map(|error| error.code())
    }

    #[tokio::test]
    async fn no_credential_is_anonymous_only_where_that_is_allowed() {
        assert_eq!(
            code(&authenticator(false), None).await,
            Some(ErrorCode::CredentialMissing)
        );
        let allowed = authenticator(true);
        let token = allowed
            .authenticate(None, "app", Timestamp::UNIX_EPOCH)
            .await;
        let token = token.expect("anonymous");
        assert_eq!(token.origin, Origin::Anonymous);
        assert_eq!(token.claims.as_ref(), r#"{"role":"rolegate_anonymous"}"#);
    }

    #[tokio::test]
    async fn a_wrong_credential_is_never_anonymous() {
        let allowed = authenticator(true);
        for header in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            "Token abc",
            "Bearer a b",
            "Bearer a\tb",
            "Bearer a,b",
            "Bearerabc",
            "Bearer ä",
        ] {
            let refused = code(&allowed, Some(header)).await;
            assert_eq!(refused, Some(ErrorCode::CredentialMalformed), "{header:?}");
        }
        for header in ["Bearer abc", "bearer abc", "Bearer rg_abc", "BEARER a.b.c"] {
            let refused = code(&allowed, Some(header)).await;
            assert_eq!(refused, Some(ErrorCode::TokenInvalid), "{header:?}");
        }
    }

    #[test]
    fn a_token_has_the_characters_of_the_standard_and_no_others() {
        let named = b"-._~+/=";
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || named.contains(&byte);
            assert_eq!(ALLOWED[usize::from(byte)], expected, "{byte}");
        }
    }

    #[tokio::test]
    async fn the_reason_has_the_chain_and_not_the_token() {
        let refused = authenticator(false)
            .authenticate(
                Some("Bearer e30.eyJpc3MiOiJodW50ZXIyIn0.AAAA"),
                "app",
                Timestamp::UNIX_EPOCH,
            )
            .await
            .expect_err("no algorithm");
        assert_eq!(
            refused.reason(),
            "the JWT is refused: the token's algorithm is not one of its key"
        );
        assert_eq!(refused.kind(), Some(CredentialKind::Jwt));
    }
}
