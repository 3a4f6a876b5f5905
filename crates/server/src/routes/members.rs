//! Members of a request's JSON object, each read as what it is to be. `null` is as if left out.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use rolegate_model::ErrorCode;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::problem::Problem;

/// The longest time that is asked for anywhere: ten years.
const MAX_SECONDS: f64 = 24.0 * 3660.0 * 3600.0;

/// The members, as they were sent: no number of `args` is changed on its way.
#[derive(Debug)]
pub(crate) struct Members(BTreeMap<String, Box<RawValue>>);

impl Members {
    /// Reads them. An empty body has none; a name that is none of `known` is refused, because a
    /// filter that was mistyped would filter nothing.
    pub(crate) fn read(bytes: &[u8], known: &[&str]) -> Result<Self, Problem> {
        if bytes.is_empty() {
            return Ok(Self(BTreeMap::new()));
        }
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(bytes).map_err(|error| {
                if error.is_data() {
                    Problem::at("body", "is no object").hint("Send an object, or no body.")
                } else {
                    Problem::new(ErrorCode::ParseError)
                }
            })?;
        if let Some(name) = members.keys().find(|name| !known.contains(&&***name)) {
            let hint = if known.is_empty() {
                "There are none here.".to_owned()
            } else {
                format!("There are: {}.", known.join(", "))
            };
            return Err(Problem::at(name, "is not a member here").hint(hint));
        }
        Ok(Self(members))
    }

    fn get<T: DeserializeOwned>(&self, name: &str, what: &str) -> Result<Option<T>, Problem> {
        match self.0.get(name) {
            None => Ok(None),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| Problem::at(name, &format!("is not {what}")).hint("Or leave it out.")),
        }
    }

    /// A text of 1 to `max` characters.
    pub(crate) fn text(&self, name: &str, max: usize) -> Result<Option<String>, Problem> {
        let text: Option<String> = self.get(name, "a text")?;
        if let Some(text) = &text
            && (text.is_empty() || text.chars().count() > max || text.contains('\0'))
        {
            return Err(
                Problem::at(name, "is empty, too long, or has a zero character")
                    .hint(format!("1 to {max} characters.")),
            );
        }
        Ok(text)
    }

    /// A text that has to be there.
    pub(crate) fn needed_text(&self, name: &str, max: usize) -> Result<String, Problem> {
        self.text(name, max)?
            .ok_or_else(|| Problem::at(name, "is missing").hint(format!("1 to {max} characters.")))
    }

    /// One of these texts.
    pub(crate) fn choice(&self, name: &str, of: &[&str]) -> Result<Option<String>, Problem> {
        let text: Option<String> = self.get(name, "a text")?;
        match text {
            Some(text) if !of.contains(&&*text) => Err(Problem::at(name, "is not known here")
                .hint(format!("There are: {}.", of.join(", ")))),
            text => Ok(text),
        }
    }

    /// A whole number.
    pub(crate) fn number(
        &self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, Problem> {
        let number: Option<i64> = self.get(name, "a whole number")?;
        match number {
            Some(number) if !range.contains(&number) => Err(Problem::at(name, "is out of bounds")
                .hint(format!("{} to {}.", range.start(), range.end()))),
            number => Ok(number),
        }
    }

    /// True or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.get(name, "true or false")
    }

    /// A number of seconds, at least `least`, of ten years at most.
    pub(crate) fn seconds(&self, name: &str, least: f64) -> Result<Option<f64>, Problem> {
        let seconds: Option<f64> = self.get(name, "a number")?;
        match seconds {
            Some(seconds) if !(least..=MAX_SECONDS).contains(&seconds) => {
                Err(Problem::at(name, "is out of bounds")
                    .hint(format!("{least} to {MAX_SECONDS} seconds.")))
            }
            seconds => Ok(seconds),
        }
    }

    /// A time of RFC 3339, as PostgreSQL reads it.
    pub(crate) fn time(&self, name: &str) -> Result<Option<String>, Problem> {
        let text: Option<String> = self.get(name, "a text")?;
        let Some(text) = text else { return Ok(None) };
        let time: Timestamp = text.parse().map_err(|_| {
            Problem::at(name, "is no time with an offset").hint("Such as 2026-12-24T18:00:00Z.")
        })?;
        // PostgreSQL has no year 0 and no sign before one.
        if !(0..=253_402_300_799).contains(&time.as_second()) {
            return Err(Problem::at(name, "is out of bounds").hint("From 1970 to 9999."));
        }
        Ok(Some(time.to_string()))
    }

    /// The members of an object.
    pub(crate) fn nested(&self, name: &str, known: &[&str]) -> Result<Option<Self>, Problem> {
        let Some(json) = self.object(name)? else {
            return Ok(None);
        };
        Self::read(json.as_bytes(), known).map(Some)
    }

    /// A number from 0 on.
    pub(crate) fn amount(&self, name: &str) -> Result<Option<f64>, Problem> {
        let number: Option<f64> = self.get(name, "a number")?;
        match number {
            Some(number) if !(0.0..=1e9).contains(&number) => {
                Err(Problem::at(name, "is out of bounds").hint("0 to 1,000,000,000."))
            }
            number => Ok(number),
        }
    }

    /// Texts, at most `most`, of 1 to `max` characters each; as JSON.
    pub(crate) fn texts(
        &self,
        name: &str,
        most: usize,
        max: usize,
    ) -> Result<Option<String>, Problem> {
        let texts: Option<Vec<String>> = self.get(name, "a list of texts")?;
        let Some(texts) = texts else { return Ok(None) };
        let wrong =
            |text: &String| text.is_empty() || text.chars().count() > max || text.contains('\0');
        if texts.len() > most || texts.iter().any(wrong) {
            return Err(
                Problem::at(name, "are too many, or one is empty or too long")
                    .hint(format!("At most {most}, of 1 to {max} characters.")),
            );
        }
        Ok(Some(Value::from(texts).to_string()))
    }

    /// Ids of jobs, each once, in their order.
    pub(crate) fn ids(&self, name: &str, most: usize) -> Result<Vec<i64>, Problem> {
        let hint = || format!("A list of 1 to {most} whole numbers above zero.");
        let ids: Option<Vec<i64>> = self.get(name, "a list of ids")?;
        let mut ids = ids.ok_or_else(|| Problem::at(name, "is missing").hint(hint()))?;
        if ids.is_empty() || ids.len() > most || ids.iter().any(|id| *id <= 0) {
            return Err(Problem::at(name, "has too few, too many or wrong ids").hint(hint()));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Any JSON, as it was sent.
    pub(crate) fn json(&self, name: &str) -> Result<Option<String>, Problem> {
        let Some(raw) = self.0.get(name) else {
            return Ok(None);
        };
        // Raw values are skipped without recursion; this has the parser's bound of 128 levels.
        let value: Result<Value, _> = serde_json::from_str(raw.get());
        match value {
            Ok(Value::Null) => Ok(None),
            Ok(_) => Ok(Some(raw.get().to_owned())),
            Err(_) => Err(Problem::at(name, "is nested too deeply").hint("At most 128 levels.")),
        }
    }

    /// A JSON object, as it was sent.
    pub(crate) fn object(&self, name: &str) -> Result<Option<String>, Problem> {
        let json = self.json(name)?;
        match json {
            Some(json) if !json.starts_with('{') => {
                Err(Problem::at(name, "is no object").hint("Or leave it out."))
            }
            json => Ok(json),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: &Value) -> Members {
        Members::read(value.to_string().as_bytes(), &["a"]).expect("an object")
    }

    #[test]
    fn what_is_no_object_of_known_members_is_refused() {
        assert!(Members::read(b"", &[]).is_ok());
        assert!(Members::read(b"{}", &[]).is_ok());
        for (body, code) in [
            (&b"{"[..], ErrorCode::ParseError),
            (b"[]", ErrorCode::InvalidParams),
            (b"1", ErrorCode::InvalidParams),
            (br#"{"b": 1}"#, ErrorCode::InvalidParams),
        ] {
            let problem = Members::read(body, &["a"]).expect_err("it is refused");
            assert_eq!(problem.code, code, "{body:?}");
        }
    }

    #[test]
    fn null_is_as_if_left_out() {
        let members = members(&json!({"a": null}));
        assert_eq!(members.text("a", 1), Ok(None));
        assert_eq!(members.number("a", 1..=2), Ok(None));
        assert_eq!(members.json("a"), Ok(None));
        assert_eq!(members.time("a"), Ok(None));
        assert!(members.ids("a", 1).is_err());
    }

    #[test]
    fn numbers_of_json_stay_as_they_were_sent() {
        let raw = br#"{"a": {"n": 1.10, "m": 123456789012345678901234567890}}"#;
        let members = Members::read(raw, &["a"]).expect("an object");
        let json = members.object("a").expect("an object").expect("there");
        assert_eq!(json, r#"{"n": 1.10, "m": 123456789012345678901234567890}"#);
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(200), "]".repeat(200));
        let members = Members::read(deep.as_bytes(), &["a"]).expect("an object");
        assert!(members.json("a").is_err());
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        for (value, fits) in [
            ("", false),
            ("x", true),
            ("xxx", true),
            ("xxxx", false),
            ("\0", false),
        ] {
            assert_eq!(
                members(&json!({"a": value})).text("a", 3).is_ok(),
                fits,
                "{value:?}"
            );
        }
        for (value, fits) in [(0, false), (1, true), (4, true), (5, false)] {
            assert_eq!(
                members(&json!({"a": value})).number("a", 1..=4).is_ok(),
                fits,
                "{value}"
            );
        }
        for (value, fits) in [
            (json!([]), false),
            (json!([1]), true),
            (json!([2, 1, 2]), true),
            (json!([1, 2, 3, 4]), false),
            (json!([0]), false),
            (json!(["1"]), false),
        ] {
            assert_eq!(
                members(&json!({"a": value})).ids("a", 3).is_ok(),
                fits,
                "{value}"
            );
        }
        for (value, fits) in [(-0.1, false), (0.0, true), (1e18, false)] {
            assert_eq!(
                members(&json!({"a": value})).seconds("a", 0.0).is_ok(),
                fits,
                "{value}"
            );
        }
        for (value, fits) in [
            ("2026-12-24T18:00:00Z", true),
            ("2026-12-24T18:00:00.5+01:00", true),
            ("2026-12-24T18:00:00", false),
            ("-000001-12-24T18:00:00Z", false),
            ("tomorrow", false),
        ] {
            assert_eq!(
                members(&json!({"a": value})).time("a").is_ok(),
                fits,
                "{value}"
            );
        }
    }
}
