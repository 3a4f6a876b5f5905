//! What a type is to a caller.

use rolegate_pg::catalog::{TypeShape, Types};

/// OIDs below this are PostgreSQL's own (`FirstNormalObjectId`).
const FIRST_USER_OID: u32 = 16384;
/// Domains over domains end somewhere; a snapshot that says otherwise is not followed forever.
const MOST_DOMAINS: usize = 32;

/// OIDs of built-in types that are treated in a special way.
pub(crate) mod oid {
    pub(crate) const BOOL: u32 = 16;
    pub(crate) const BYTEA: u32 = 17;
    pub(crate) const CHAR: u32 = 18;
    pub(crate) const NAME: u32 = 19;
    pub(crate) const INT8: u32 = 20;
    pub(crate) const INT2: u32 = 21;
    pub(crate) const INT4: u32 = 23;
    pub(crate) const TEXT: u32 = 25;
    pub(crate) const OID: u32 = 26;
    pub(crate) const JSON: u32 = 114;
    #[cfg(test)]
    pub(crate) const JSONB: u32 = 3802;
    pub(crate) const BOX: u32 = 603;
    pub(crate) const FLOAT4: u32 = 700;
    pub(crate) const FLOAT8: u32 = 701;
    pub(crate) const MONEY: u32 = 790;
    pub(crate) const BPCHAR: u32 = 1042;
    pub(crate) const VARCHAR: u32 = 1043;
    pub(crate) const DATE: u32 = 1082;
    pub(crate) const TIME: u32 = 1083;
    pub(crate) const TIMESTAMP: u32 = 1114;
    pub(crate) const TIMESTAMPTZ: u32 = 1184;
    pub(crate) const INTERVAL: u32 = 1186;
    pub(crate) const TIMETZ: u32 = 1266;
    pub(crate) const NUMERIC: u32 = 1700;
    pub(crate) const UUID: u32 = 2950;
}

/// What a type is to a caller, domains looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'t> {
    Boolean,
    /// `int2`, `int4`, `int8`, `oid`.
    Integer,
    /// `numeric`, floats, `money`.
    Number,
    Text,
    Bytes,
    Enum(&'t [String]),
    /// Another built-in base type.
    Other,
    /// A base type that an extension or a user made.
    Foreign,
    Range,
    Json,
    Array(u32),
    Composite(&'t [(String, u32)]),
    Void,
    /// An anonymous row.
    Record,
    /// A type that no caller can give or get.
    Unsupported,
}

impl<'t> Kind<'t> {
    pub(crate) fn of(types: &'t Types, type_oid: u32) -> Self {
        let base = base(types, type_oid);
        let Some(found) = types.get(&base) else {
            return Self::Unsupported;
        };
        match &found.shape {
            TypeShape::Json => Self::Json,
            TypeShape::Array(element) => Self::Array(*element),
            TypeShape::Composite(columns) => Self::Composite(columns),
            TypeShape::Enum(labels) => Self::Enum(labels),
            TypeShape::Range => Self::Range,
            TypeShape::Void => Self::Void,
            TypeShape::Pseudo if found.name == "record" => Self::Record,
            TypeShape::Pseudo | TypeShape::Domain { .. } => Self::Unsupported,
            TypeShape::Scalar => match base {
                oid::BOOL => Self::Boolean,
                oid::INT2 | oid::INT4 | oid::INT8 | oid::OID => Self::Integer,
                oid::FLOAT4 | oid::FLOAT8 | oid::NUMERIC | oid::MONEY => Self::Number,
                oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::CHAR => Self::Text,
                oid::BYTEA => Self::Bytes,
                builtin if builtin < FIRST_USER_OID => Self::Other,
                _ => Self::Foreign,
            },
        }
    }
}

/// The type under all domains.
pub(crate) fn base(types: &Types, type_oid: u32) -> u32 {
    let mut oid = type_oid;
    for _ in 0..MOST_DOMAINS {
        match types.get(&oid).map(|found| &found.shape) {
            Some(TypeShape::Domain { base, .. }) => oid = *base,
            _ => break,
        }
    }
    oid
}

/// The name of a type as SQL, safe in a statement and without a length: `character` and `bit`
/// alone would mean one character and one bit, and cut the value.
pub(crate) fn sql_name(types: &Types, type_oid: u32) -> Option<String> {
    let found = types.get(&type_oid)?;
    Some(match found.sql.as_str() {
        "character" => "pg_catalog.bpchar".to_owned(),
        "character[]" => "pg_catalog.bpchar[]".to_owned(),
        "bit" => "pg_catalog.\"bit\"".to_owned(),
        "bit[]" => "pg_catalog.\"bit\"[]".to_owned(),
        other => other.to_owned(),
    })
}

/// The name of a type for people.
pub(crate) fn display_name(types: &Types, type_oid: u32) -> &str {
    types
        .get(&type_oid)
        .map_or("unknown", |found| found.sql.as_str())
}
