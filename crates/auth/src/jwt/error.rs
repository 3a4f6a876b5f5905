//! Why a JWT is refused.

use rolegate_model::ErrorCode;

use crate::issuer::RoleRuleError;

/// Why a JWT is refused. The text is for the log; it contains nothing of the token.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// Longer than [`super::MAX_TOKEN_BYTES`].
    #[error("the token is too long")]
    TooLong,
    /// Not three base64url parts of JSON objects.
    #[error("the token does not have the shape of a JWT")]
    Shape,
    /// Header or claims are no JSON, or have a member twice.
    #[error("the token's JSON is not acceptable")]
    Json(#[source] serde_json::Error),
    /// `crit` names extensions, and none is known here.
    #[error("the token's header names critical extensions")]
    Critical,
    /// `typ` says that it is something else.
    #[error("the token's type says that it is no access token")]
    Type,
    /// `alg` is missing, or is not one that the issuer's key is for.
    #[error("the token's algorithm is not one of its key")]
    Algorithm,
    /// `iss` is not configured.
    #[error("the token's issuer is not configured")]
    IssuerUnknown,
    /// Several keys, and the token does not say which.
    #[error("the issuer has several keys and the token names none")]
    KidMissing,
    /// No key of that name.
    #[error("the issuer has no key of the name in the token")]
    KidUnknown,
    /// No keys could be fetched, or the last ones are too old.
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable,
    /// The signature does not fit.
    #[error("the signature does not verify")]
    Signature,
    /// A claim that has to be there is not.
    #[error("the claim `{0}` is missing")]
    ClaimMissing(&'static str),
    /// A claim has the wrong type or an impossible value.
    #[error("the claim `{0}` is malformed")]
    ClaimMalformed(&'static str),
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is still ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` or `azp` names others.
    #[error("the claim `{0}` does not name an accepted party")]
    Audience(&'static str),
    /// `db_name` names another database.
    #[error("the token is for another database")]
    Database,
    /// No usable role.
    #[error("the token leads to no usable role")]
    Role(#[from] RoleRuleError),
}

impl JwtError {
    /// The code for the client.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::IssuerUnknown => ErrorCode::TokenIssuerUnknown,
            Self::KeysUnavailable => ErrorCode::IssuerUnavailable,
            Self::Expired => ErrorCode::TokenExpired,
            Self::NotYetValid => ErrorCode::TokenNotYetValid,
            Self::Audience(_) => ErrorCode::TokenAudienceWrong,
            Self::Database | Self::ClaimMissing("db_name") => ErrorCode::TokenDatabaseWrong,
            Self::Role(error) => error.code(),
            Self::TooLong
            | Self::Shape
            | Self::Json(_)
            | Self::Critical
            | Self::Type
            | Self::Algorithm
            | Self::KidMissing
            | Self::KidUnknown
            | Self::Signature
            | Self::ClaimMissing(_)
            | Self::ClaimMalformed(_) => ErrorCode::TokenInvalid,
        }
    }
}
