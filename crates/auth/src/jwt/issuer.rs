//! One issuer, ready to check tokens.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rolegate_model::CredentialKind;

use super::error::JwtError;
use super::json::{Json, with_text_member};
use super::key_set::KeySet;
use super::parts::Parts;
use crate::encoding::bearer_digest;
use crate::issuer::{Audiences, Presence, RoleRule};
use crate::jwks::JwksSource;
use crate::signing::{ROLE_OID_CLAIM, SYSTEM_IDENTIFIER_CLAIM, SigningKeys};
use crate::verified::{Origin, VerifiedToken};

/// The longest `jti` and `sub` that are passed on, in bytes.
const MAX_ID_BYTES: usize = 256;

/// An issuer with its keys.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) iss: Option<Arc<str>>,
    pub(crate) keys: Keys,
    pub(crate) audiences: Audiences,
    pub(crate) authorized_parties: Option<Vec<String>>,
    pub(crate) role_rule: RoleRule,
    pub(crate) db_name: Presence,
    pub(crate) issued_at: Presence,
    pub(crate) leeway: SignedDuration,
}

/// Where the keys are.
#[derive(Debug)]
pub(crate) enum Keys {
    /// In the configuration.
    Fixed(Arc<KeySet>),
    /// Behind a URL.
    Jwks(Arc<JwksSource>),
    /// Our own.
    Own(Arc<SigningKeys>),
}

impl Keys {
    /// The keys, among them the one called `kid` if the issuer has it.
    pub(crate) async fn get(&self, kid: Option<&str>) -> Result<Arc<KeySet>, JwtError> {
        match self {
            Self::Fixed(set) => Ok(Arc::clone(set)),
            Self::Jwks(source) => source.keys(kid).await,
            Self::Own(keys) => Ok(keys.verifying()),
        }
    }

    /// The generation of the keys that may be used now, if there are any.
    pub(crate) fn generation(&self) -> Option<u64> {
        match self {
            Self::Fixed(set) => Some(set.generation),
            Self::Jwks(source) => source.generation(),
            Self::Own(keys) => Some(keys.verifying().generation),
        }
    }
}

/// A token that was checked, and when it may be used.
pub(crate) struct Checked {
    pub(crate) token: VerifiedToken,
    pub(crate) valid_from: Option<Timestamp>,
    pub(crate) valid_until: Timestamp,
}

impl Issuer {
    /// Checks the claims of a token whose signature verified.
    pub(crate) fn check(
        &self,
        parts: &Parts<'_>,
        bearer: &str,
        database: &str,
        now: Timestamp,
    ) -> Result<Checked, JwtError> {
        let claims = &parts.claims;
        if text(claims, "iss")? != self.iss.as_deref() {
            return Err(JwtError::IssuerUnknown);
        }
        let (expires_at, issued_at, valid_from) = self.times(claims)?;
        let valid_until = later(expires_at, self.leeway);
        check_window(valid_from, valid_until, now)?;
        self.check_parties(claims)?;
        match (text(claims, "db_name")?, self.db_name) {
            (Some(name), _) if name == database => {}
            (Some(_), _) => return Err(JwtError::Database),
            (None, Presence::Optional) => {}
            (None, Presence::Required) => return Err(JwtError::ClaimMissing("db_name")),
        }

        let role = self.role_rule.choose(claims)?;
        let claims_text =
            with_text_member(&parts.claims_text, "role", role.as_str()).map_err(JwtError::Json)?;
        let short = |name| Ok::<_, JwtError>(text(claims, name)?.filter(|id| !id.is_empty()));
        let token_id = match short("jti")? {
            Some(jti) if jti.len() <= MAX_ID_BYTES => jti.into(),
            _ => bearer_digest(bearer).into(),
        };
        let subject = short("sub")?;
        if subject.is_some_and(|subject| subject.len() > MAX_ID_BYTES) {
            return Err(JwtError::ClaimMalformed("sub"));
        }
        let token = VerifiedToken {
            role,
            claims: claims_text.into(),
            issuer: self.iss.clone().unwrap_or_default(),
            subject: subject.map(Into::into),
            token_id,
            issued_at,
            expires_at: Some(expires_at),
            kind: CredentialKind::Jwt,
            scopes: None,
            origin: self.origin(claims)?,
        };
        Ok(Checked {
            token,
            valid_from,
            valid_until,
        })
    }

    /// `exp`, `iat`, and from when on the token may be used.
    fn times(
        &self,
        claims: &Json,
    ) -> Result<(Timestamp, Option<Timestamp>, Option<Timestamp>), JwtError> {
        let expires_at = time(claims, "exp")?.ok_or(JwtError::ClaimMissing("exp"))?;
        let issued_at = time(claims, "iat")?;
        if issued_at.is_none() && self.issued_at == Presence::Required {
            return Err(JwtError::ClaimMissing("iat"));
        }
        let valid_from = time(claims, "nbf")?
            .max(issued_at)
            .map(|at| later(at, -self.leeway));
        Ok((expires_at, issued_at, valid_from))
    }

    fn check_parties(&self, claims: &Json) -> Result<(), JwtError> {
        let audiences: Vec<&str> = match claims.member("aud") {
            None => Vec::new(),
            Some(Json::Text(one)) => vec![one],
            Some(Json::Array(several)) => several
                .iter()
                .map(|audience| audience.text().ok_or(JwtError::ClaimMalformed("aud")))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(JwtError::ClaimMalformed("aud")),
        };
        if !self.audiences.accept(audiences.into_iter()) {
            return Err(JwtError::Audience("aud"));
        }
        if let Some(parties) = &self.authorized_parties {
            let party = text(claims, "azp")?;
            if !party.is_some_and(|party| parties.iter().any(|accepted| accepted == party)) {
                return Err(JwtError::Audience("azp"));
            }
        }
        Ok(())
    }

    fn origin(&self, claims: &Json) -> Result<Origin, JwtError> {
        if !matches!(self.keys, Keys::Own(_)) {
            return Ok(Origin::External);
        }
        let role_oid = match claims.member(ROLE_OID_CLAIM) {
            Some(Json::Number(number)) => whole(*number).and_then(|oid| u32::try_from(oid).ok()),
            Some(_) => None,
            None => return Err(JwtError::ClaimMissing(ROLE_OID_CLAIM)),
        };
        // A text, because it has more digits than a JSON number carries safely.
        let system_identifier = text(claims, SYSTEM_IDENTIFIER_CLAIM)?
            .ok_or(JwtError::ClaimMissing(SYSTEM_IDENTIFIER_CLAIM))?;
        Ok(Origin::Own {
            role_oid: role_oid.ok_or(JwtError::ClaimMalformed(ROLE_OID_CLAIM))?,
            system_identifier: system_identifier
                .parse()
                .map_err(|_| JwtError::ClaimMalformed(SYSTEM_IDENTIFIER_CLAIM))?,
        })
    }
}

/// Whether `now` is inside, with both ends moved by the leeway already.
pub(crate) fn check_window(
    valid_from: Option<Timestamp>,
    valid_until: Timestamp,
    now: Timestamp,
) -> Result<(), JwtError> {
    if now >= valid_until {
        return Err(JwtError::Expired);
    }
    if valid_from.is_some_and(|from| now < from) {
        return Err(JwtError::NotYetValid);
    }
    Ok(())
}

/// A claim that is a text where it is there.
pub(crate) fn text<'a>(claims: &'a Json, name: &'static str) -> Result<Option<&'a str>, JwtError> {
    match claims.member(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(JwtError::ClaimMalformed(name)),
    }
}

/// A `NumericDate`: seconds since 1970, fractions cut off towards the past.
fn time(claims: &Json, name: &'static str) -> Result<Option<Timestamp>, JwtError> {
    match claims.member(name) {
        None => Ok(None),
        Some(Json::Number(seconds)) => whole(seconds.floor())
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .map(Some)
            .ok_or(JwtError::ClaimMalformed(name)),
        Some(_) => Err(JwtError::ClaimMalformed(name)),
    }
}

/// A number that is whole, not negative, and exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && (0.0..EXACT).contains(&number)).then_some(number as i64)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    // Outside of the calendar: the nearest end of it.
    at.saturating_add(by).unwrap_or(at)
}
