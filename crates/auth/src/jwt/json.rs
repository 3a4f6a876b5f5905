//! JSON of a token, read strictly: a member that is there twice is refused, at every depth.
//! Which of the two counts differs from reader to reader, and a token must mean one thing.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A JSON value, for looking things up. Numbers in it are for times and ids of ours only; what is
/// passed on to the database is the original text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool,
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole document.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// A member of an object.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text of a text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Strict)
    }
}

/// `\u0000` is legal JSON, and no text of PostgreSQL can hold it.
fn no_nul<E: de::Error>(text: String) -> Result<String, E> {
    if text.contains('\0') {
        Err(E::custom("a text contains NUL"))
    } else {
        Ok(text)
    }
}

struct Strict;

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated members")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "times and OIDs are far below 2^53"
    )]
    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "times and OIDs are far below 2^53"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Json, E> {
        no_nul(text.to_owned()).map(Json::Text)
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Json, E> {
        no_nul(text).map(Json::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut seen = HashSet::new();
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let name = no_nul(name)?;
            if !seen.insert(name.clone()) {
                return Err(de::Error::custom("a member is there twice"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(Json::Object(members))
    }
}

/// The members of an object with the text of their values as it was.
struct RawMembers<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = RawMembers<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawMembers(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// The object `text` with its member `name` set to the text `value`, and every other value
/// exactly as it was written.
pub(crate) fn with_text_member(
    text: &str,
    name: &str,
    value: &str,
) -> Result<String, serde_json::Error> {
    let RawMembers(members) = serde_json::from_str(text)?;
    let mut result = String::with_capacity(text.len() + name.len() + value.len() + 8);
    result.push('{');
    for (key, raw) in members.iter().filter(|(key, _)| key != name) {
        result.push_str(&serde_json::to_string(key)?);
        result.push(':');
        result.push_str(raw.get());
        result.push(',');
    }
    result.push_str(&serde_json::to_string(name)?);
    result.push(':');
    result.push_str(&serde_json::to_string(value)?);
    result.push('}');
    Ok(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repeated_members_are_refused_at_every_depth() {
        assert!(Json::parse(br#"{"a":1,"b":{"a":1}}"#).is_ok());
        assert!(Json::parse(br#"{"a":1,"a":1}"#).is_err());
        assert!(Json::parse(br#"{"x":[{"a":1,"\u0061":1}]}"#).is_err());
    }

    #[test]
    fn nul_and_trailing_text_are_refused() {
        assert!(Json::parse(br#"{"a":"\u0000"}"#).is_err());
        assert!(Json::parse(br#"{"\u0000":1}"#).is_err());
        assert!(Json::parse(b"{} {}").is_err());
        assert!(Json::parse(&b"[".repeat(10_000)).is_err());
    }

    #[test]
    fn numbers_keep_their_text() {
        let claims = r#"{"n":9007199254740993,"role":"x","d":1.10,"e":[1e2,{"f":0.30}]}"#;
        assert_eq!(
            with_text_member(claims, "role", "a\"b").expect("an object"),
            r#"{"n":9007199254740993,"d":1.10,"e":[1e2,{"f":0.30}],"role":"a\"b"}"#
        );
    }

    proptest! {
        #[test]
        fn any_text_survives_as_a_member(key in "\\PC{0,8}", value in "\\PC{0,8}") {
            let claims = serde_json::json!({ &key: 1 }).to_string();
            let result = with_text_member(&claims, "role", &value).expect("an object");
            let parsed: serde_json::Value = serde_json::from_str(&result).expect("JSON");
            prop_assert_eq!(parsed["role"].as_str(), Some(value.as_str()));
        }
    }
}
