//! Documentation in the comment of a function.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

const PARAMS_LINE: &str = "--- PARAMS ---";

/// What a comment says. The syntax is described in [`crate::describe`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Documentation {
    /// First line.
    pub summary: Option<String>,
    /// All text that is not about arguments or the result, the first line included.
    pub description: Option<String>,
    /// Descriptions of arguments by name.
    pub params: BTreeMap<String, String>,
    /// Description of the result.
    pub returns: Option<String>,
    /// Schemas of the members of a single `json` argument.
    pub properties: Option<Map<String, Value>>,
}

/// What the lines that follow belong to.
enum Place {
    Text,
    Param(String),
    Returns,
}

impl Documentation {
    /// Reads a comment; none is an empty one.
    pub fn of(comment: Option<&str>) -> Self {
        let comment = comment.unwrap_or_default();
        let (text, json) = match comment.split_once(PARAMS_LINE) {
            Some((text, json)) => (text, Some(json)),
            None => (comment, None),
        };
        let mut documentation = Self::default();
        let mut description = String::new();
        let mut place = Place::Text;
        for line in text.lines() {
            let line = line.trim_end();
            let marker = line.trim_start();
            if let Some(rest) = after_word(marker, "@param") {
                let (name, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                documentation
                    .params
                    .insert(name.to_owned(), rest.trim().to_owned());
                place = Place::Param(name.to_owned());
                continue;
            }
            let returns = after_word(marker, "@returns").or_else(|| after_word(marker, "@return"));
            if let Some(rest) = returns {
                documentation.returns = Some(rest.to_owned());
                place = Place::Returns;
                continue;
            }
            if line.is_empty() {
                place = Place::Text;
            }
            let known = match &place {
                Place::Text => None,
                Place::Param(name) => documentation.params.get_mut(name),
                Place::Returns => documentation.returns.as_mut(),
            };
            if let Some(known) = known {
                if !known.is_empty() {
                    known.push(' ');
                }
                known.push_str(marker);
            } else {
                description.push_str(line);
                description.push('\n');
            }
        }
        let description = description.trim();
        if !description.is_empty() {
            documentation.summary = description.lines().next().map(str::to_owned);
            documentation.description = Some(description.to_owned());
        }
        documentation.properties = json.and_then(properties);
        documentation
    }
}

/// The text after a word that stands alone.
fn after_word<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    let rest = line.strip_prefix(word)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// The first JSON value of a text, if it is an object of schemas. References would point out of
/// the documents it becomes part of, so a text with one is not used.
fn properties(text: &str) -> Option<Map<String, Value>> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Map<String, Value>>();
    let properties = values.next()?.ok()?;
    let is_schema = |value: &Value| value.is_object() && !has_reference(value);
    properties.values().all(is_schema).then_some(properties)
}

fn has_reference(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            matches!(name.as_str(), "$ref" | "$dynamicRef") || has_reference(value)
        }),
        Value::Array(elements) => elements.iter().any(has_reference),
        _ => false,
    }
}
