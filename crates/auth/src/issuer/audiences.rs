//! For whom a token may be meant.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The word that switches the check off.
const ANY: &str = "any";

/// Accepted values of `aud`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audiences {
    /// One of these has to be in the token; never empty.
    Listed(Vec<String>),
    /// Every token of the issuer, whoever it was meant for: any other service it was sent to can
    /// use it here. An audit finding.
    Any,
}

impl Audiences {
    /// Whether one of the token's audiences is accepted.
    pub(crate) fn accept<'a>(&self, mut of_token: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(listed) => of_token.any(|audience| listed.iter().any(|a| a == audience)),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl<'de> Deserialize<'de> for Audiences {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let listed = match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        };
        match listed.as_slice() {
            [] => Err(de::Error::custom(
                "list at least one audience, or say `any`",
            )),
            [only] if only == ANY => Ok(Self::Any),
            several if several.iter().any(|audience| audience == ANY) => Err(de::Error::custom(
                "`any` next to other audiences: say only one of them",
            )),
            _ => Ok(Self::Listed(listed)),
        }
    }
}

impl Serialize for Audiences {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_str(ANY),
            Self::Listed(listed) => listed.serialize(serializer),
        }
    }
}

impl JsonSchema for Audiences {
    fn schema_name() -> Cow<'static, str> {
        "Audiences".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Accepted values of `aud`, or the word `any`.",
            "oneOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1}
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_only_by_name_and_alone() {
        let parse = |text: &str| serde_json::from_str::<Audiences>(text).ok();
        assert_eq!(parse(r#""any""#), Some(Audiences::Any));
        assert_eq!(parse(r#"["any"]"#), Some(Audiences::Any));
        assert_eq!(
            parse(r#""api""#),
            Some(Audiences::Listed(vec!["api".into()]))
        );
        for refused in ["[]", r#"["any", "api"]"#, "null", "{}", "true"] {
            assert_eq!(parse(refused), None, "{refused}");
        }
    }
}
