//! Types as JSON Schema.

use std::collections::BTreeMap;

use rolegate_pg::catalog::{Type, TypeShape, Types};
use serde_json::{Map, Value, json};

use crate::kind::{self, Kind, oid};

/// Composites can't contain themselves; the bound is for a snapshot that says otherwise.
const MOST_LEVELS: usize = 64;

/// Where enums, composites and domains are described.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Where they are used: every schema stands alone.
    Inline,
    /// In `#/components/schemas`.
    Components,
}

/// Makes schemas of types and collects those it refers to.
#[derive(Debug)]
pub struct Schemas<'t> {
    types: &'t Types,
    named: Named,
    /// Key and schema by OID.
    components: BTreeMap<u32, (String, Value)>,
    level: usize,
}

impl<'t> Schemas<'t> {
    /// Nothing collected yet.
    pub fn new(types: &'t Types, named: Named) -> Self {
        Self {
            types,
            named,
            components: BTreeMap::new(),
            level: 0,
        }
    }

    /// The schema of a value of the type, null included unless the type refuses it.
    pub fn of(&mut self, type_oid: u32) -> Value {
        let schema = self.not_null(type_oid);
        if crate::arguments::refuses_null(self.types, type_oid) {
            return schema;
        }
        or_null(schema)
    }

    /// The schema of a value of the type that is not null.
    pub fn not_null(&mut self, type_oid: u32) -> Value {
        let Some(found) = self.types.get(&type_oid) else {
            return json!({});
        };
        let is_named = matches!(
            found.shape,
            TypeShape::Composite(_) | TypeShape::Enum(_) | TypeShape::Domain { .. }
        );
        if !is_named || self.named == Named::Inline {
            return self.described(found);
        }
        if !self.components.contains_key(&type_oid) {
            let key = self.key(found);
            // Known before its parts are, so that a circle would end.
            self.components.insert(type_oid, (key.clone(), json!({})));
            let schema = self.described(found);
            self.components.insert(type_oid, (key, schema));
        }
        let key = &self.components[&type_oid].0;
        json!({"$ref": format!("#/components/schemas/{key}")})
    }

    /// Everything referred to, for `components.schemas`.
    pub fn into_components(self) -> Map<String, Value> {
        self.components.into_values().collect()
    }

    /// A key that `components` allows and no other type has.
    fn key(&self, found: &Type) -> String {
        let key: String = found
            .sql
            .chars()
            .filter(|c| *c != '"')
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        if self.components.values().any(|(known, _)| *known == key) {
            format!("{key}_{}", found.oid)
        } else {
            key
        }
    }

    fn described(&mut self, found: &Type) -> Value {
        if self.level > MOST_LEVELS {
            return json!({});
        }
        self.level += 1;
        let mut schema = self.shape(found);
        self.level -= 1;
        if let (Some(comment), Value::Object(members)) = (&found.comment, &mut schema) {
            members.insert("description".to_owned(), comment.clone().into());
        }
        schema
    }

    fn shape(&mut self, found: &Type) -> Value {
        match &found.shape {
            TypeShape::Domain { base, .. } => self.not_null(*base),
            TypeShape::Array(element) => json!({"type": "array", "items": self.of(*element)}),
            TypeShape::Enum(labels) => json!({"type": "string", "enum": labels}),
            TypeShape::Composite(columns) => self.object(columns),
            TypeShape::Void => json!({"type": "null"}),
            TypeShape::Range => json!({"type": "string"}),
            TypeShape::Pseudo if Kind::of(self.types, found.oid) == Kind::Record => {
                json!({"type": "object"})
            }
            TypeShape::Json | TypeShape::Pseudo => json!({}),
            TypeShape::Scalar => scalar(self.types, found),
        }
    }

    /// An object of columns, of which any may be left out.
    pub fn object(&mut self, columns: &[(String, u32)]) -> Value {
        let properties: Map<String, Value> = columns
            .iter()
            .map(|(name, type_oid)| (name.clone(), self.of(*type_oid)))
            .collect();
        json!({"type": "object", "properties": properties, "additionalProperties": false})
    }
}

fn scalar(types: &Types, found: &Type) -> Value {
    match found.oid {
        oid::INT2 => json!({"type": "integer", "minimum": i16::MIN, "maximum": i16::MAX}),
        oid::INT4 => json!({"type": "integer", "format": "int32"}),
        oid::INT8 => json!({"type": "integer", "format": "int64"}),
        oid::OID => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
        oid::NUMERIC => json!({"type": "number", "format": "decimal"}),
        oid::FLOAT4 => json!({"type": "number", "format": "float"}),
        oid::FLOAT8 => json!({"type": "number", "format": "double"}),
        oid::BYTEA => json!({"type": "string", "pattern": "^\\\\x([0-9A-Fa-f]{2})*$"}),
        oid::DATE => json!({"type": "string", "format": "date"}),
        oid::TIMESTAMPTZ => json!({"type": "string", "format": "date-time"}),
        oid::UUID => json!({"type": "string", "format": "uuid"}),
        // Without an offset these are not what the formats of JSON Schema mean.
        oid::TIME | oid::TIMETZ | oid::TIMESTAMP | oid::INTERVAL => {
            json!({"type": "string", "description": found.sql})
        }
        _ => match Kind::of(types, found.oid) {
            Kind::Boolean => json!({"type": "boolean"}),
            // What an extension's type is in JSON is the extension's choice.
            Kind::Foreign => json!({"description": format!("{} as text", found.sql)}),
            _ => json!({"type": "string"}),
        },
    }
}

/// Allows null as well.
fn or_null(mut schema: Value) -> Value {
    let Value::Object(members) = &mut schema else {
        return schema;
    };
    if members.contains_key("$ref") {
        return json!({"anyOf": [schema, {"type": "null"}]});
    }
    // Without a type everything is allowed already.
    if let Some(Value::String(name)) = members.get("type")
        && name != "null"
    {
        let name = name.clone();
        members.insert("type".to_owned(), json!([name, "null"]));
        if let Some(Value::Array(labels)) = members.get_mut("enum") {
            labels.push(Value::Null);
        }
    }
    schema
}

/// Whether a value of the type is one text in a query string, or several.
pub(super) fn fits_query(types: &Types, type_oid: u32) -> bool {
    let is_scalar = |type_oid| {
        !matches!(
            Kind::of(types, type_oid),
            Kind::Json
                | Kind::Array(_)
                | Kind::Composite(_)
                | Kind::Void
                | Kind::Record
                | Kind::Unsupported
        )
    };
    match Kind::of(types, kind::base(types, type_oid)) {
        Kind::Array(element) => is_scalar(element),
        _ => is_scalar(type_oid),
    }
}
