//! The reference page of the configuration, made from the tree's own schema and the table of other
//! systems' settings.

use std::fmt::Write as _;

use serde_json::Value;

use super::peers;
use super::tree::Config;

/// The version that keys without another are since.
const FIRST_VERSION: &str = "0.1.0";

/// A key of the configuration file.
#[derive(Debug)]
pub(crate) struct Key {
    /// With `NAME` for a name of the operator's and `[]` for each of a list.
    pub(crate) path: String,
    kind: String,
    default: String,
    unit: Option<String>,
    since: String,
    meaning: String,
}

/// Every key.
pub(crate) fn keys() -> Vec<Key> {
    let schema = schemars::schema_for!(Config).to_value();
    let mut keys = Vec::new();
    Walk { root: &schema }.object(&schema, "", None, &mut keys);
    keys
}

struct Walk<'a> {
    root: &'a Value,
}

impl<'a> Walk<'a> {
    /// What a reference leads to.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        // `Option` of a type of its own.
        if let Some(variants) = schema["anyOf"].as_array()
            && let [only, null] = &**variants
            && null["type"] == "null"
        {
            schema = only;
        }
        match schema["$ref"]
            .as_str()
            .and_then(|path| path.strip_prefix('#'))
        {
            Some(path) => self.root.pointer(path).unwrap_or(schema),
            None => schema,
        }
    }

    fn object(
        &self,
        schema: &'a Value,
        path: &str,
        defaults: Option<&'a Value>,
        keys: &mut Vec<Key>,
    ) {
        let Some(properties) = schema["properties"].as_object() else {
            return;
        };
        let required: Vec<&str> = schema["required"]
            .as_array()
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for (name, property) in properties {
            let path = match path {
                "" => name.clone(),
                path => format!("{path}.{name}"),
            };
            let default = match defaults.and_then(|defaults| defaults.get(name)) {
                Some(default) => Some(default),
                None => property.get("default"),
            };
            let default = if required.contains(&name.as_str()) {
                Default::Required
            } else {
                Default::Value(default)
            };
            self.property(property, path, default, keys);
        }
    }

    fn property(
        &self,
        property: &'a Value,
        path: String,
        default: Default<'a>,
        keys: &mut Vec<Key>,
    ) {
        let schema = self.resolve(property);
        let inner = self.resolve(&schema["additionalProperties"]);
        let item = self.resolve(&schema["items"]);
        if schema["properties"].is_object() {
            let defaults = match default {
                Default::Value(value) => value,
                Default::Required => None,
            };
            return self.object(schema, &path, defaults, keys);
        }
        if inner["properties"].is_object() {
            return self.object(inner, &format!("{path}.NAME"), None, keys);
        }
        if item["properties"].is_object() {
            return self.object(item, &format!("{path}[]"), None, keys);
        }
        if let Some(variants) = schema["oneOf"].as_array()
            && variants
                .iter()
                .all(|variant| variant["properties"].is_object())
        {
            // One of several tables with one key each.
            for variant in variants {
                let mut alternatives = Vec::new();
                self.object(variant, &path, None, &mut alternatives);
                for key in &mut alternatives {
                    "one of them".clone_into(&mut key.default);
                    key.meaning = meaning(variant);
                }
                keys.extend(alternatives);
            }
            return;
        }
        let own = meaning(property);
        keys.push(Key {
            kind: self.kind(schema),
            default: default.text(),
            unit: unit(property, &path, schema),
            since: property["x-since"]
                .as_str()
                .unwrap_or(FIRST_VERSION)
                .to_owned(),
            meaning: if own.is_empty() { meaning(schema) } else { own },
            path,
        });
    }

    fn kind(&self, schema: &'a Value) -> String {
        if let Some(variants) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            let names: Vec<String> = variants
                .iter()
                .map(|variant| match variant["const"].as_str() {
                    Some(word) => format!("`{word}`"),
                    None => self.kind(self.resolve(variant)),
                })
                .collect();
            return names.join(" or ");
        }
        if let Some(words) = schema["enum"].as_array() {
            let words = words.iter().filter_map(Value::as_str);
            return words
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(" or ");
        }
        if schema.as_bool() == Some(true) {
            return "anything".to_owned();
        }
        let types = match &schema["type"] {
            Value::String(name) => vec![name.as_str()],
            Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        match types.into_iter().find(|name| *name != "null") {
            Some("array") => format!("list of {}", self.kind(self.resolve(&schema["items"]))),
            Some("object") => {
                let values = self.kind(self.resolve(&schema["additionalProperties"]));
                format!("table of {values}")
            }
            Some(name) => name.to_owned(),
            None => "string".to_owned(),
        }
    }
}

#[derive(Clone, Copy)]
enum Default<'a> {
    Required,
    Value(Option<&'a Value>),
}

impl Default<'_> {
    fn text(self) -> String {
        match self {
            Self::Required => "required".to_owned(),
            Self::Value(None | Some(Value::Null)) => "none".to_owned(),
            Self::Value(Some(value)) => format!("`{value}`"),
        }
    }
}

/// Of numbers: what the key says, else what its name ends with.
fn unit(property: &Value, path: &str, schema: &Value) -> Option<String> {
    if let Some(unit) = property["x-unit"].as_str() {
        return Some(unit.to_owned());
    }
    let number = |name: &Value| name == "integer" || name == "number";
    let numeric = match &schema["type"] {
        Value::Array(types) => types.iter().any(number),
        name => number(name),
    };
    let unit = match path {
        _ if !numeric => return None,
        _ if path.ends_with("_ms") => "milliseconds",
        _ if path.ends_with("_seconds") => "seconds",
        _ if path.ends_with("_bytes") => "bytes",
        _ => return None,
    };
    Some(unit.to_owned())
}

/// A description on one line.
fn meaning(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The page.
pub(crate) fn page() -> String {
    let mut page = include_str!("reference.md").to_owned();
    let mut section = String::new();
    for key in keys() {
        let first = key.path.split(['.', '[']).next().unwrap_or_default();
        if first != section {
            first.clone_into(&mut section);
            let _ = write!(
                page,
                "\n## `{section}`\n\n| key | type | default | unit | since | meaning |\n\
                 |---|---|---|---|---|---|\n"
            );
        }
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} |",
            key.path,
            key.kind,
            cell(&key.default),
            key.unit.as_deref().unwrap_or("-"),
            key.since,
            cell(&key.meaning),
        );
    }
    page.push_str(include_str!("reference_peers.md"));
    for peer in peers::table() {
        let _ = write!(
            page,
            "\n### {}\n\n| theirs | their default | ours |\n|---|---|---|\n",
            peer.name
        );
        for setting in &peer.settings {
            let flag = match &setting.flag {
                Some(flag) => format!(", `{flag}`"),
                None => String::new(),
            };
            let ours = match (&setting.ours, &setting.not_yet, &setting.never) {
                (Some(ours), ..) if setting.read.is_some() => format!("`{ours}`, read"),
                (Some(ours), ..) => format!("`{ours}`"),
                (_, Some(surface), _) => format!("not yet ({surface})"),
                (.., Some(reason)) => format!("none: {reason}"),
                _ => String::new(),
            };
            let _ = writeln!(
                page,
                "| `{}`{flag} | {} | {} |",
                setting.theirs,
                cell(&setting.default),
                cell(&ours)
            );
        }
    }
    page
}

/// Text that stays in its cell and is no link.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_it_is() {
        let keys = keys();
        assert!(keys.len() > 40, "{}", keys.len());
        for key in &keys {
            assert!(!key.meaning.is_empty(), "{} has no description", key.path);
            assert!(
                key.kind != "integer" || key.unit.is_some(),
                "{} is a number without a unit: #[schemars(extend(\"x-unit\" = \"...\"))]",
                key.path
            );
        }
        for path in [
            "gateway.bind",
            "databases.NAME.pool.max_waiting",
            "issuers[].keys.shared_secret",
        ] {
            assert!(keys.iter().any(|key| key.path == path), "{path}");
        }
    }

    #[test]
    fn the_committed_page_is_this_one() {
        crate::golden::check("docs/reference/configuration.md", &page());
    }
}
