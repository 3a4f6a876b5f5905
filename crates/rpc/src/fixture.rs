//! A snapshot with functions of every kind, for tests.

use rolegate_pg::catalog::{
    Argument, ArgumentMode, Function, FunctionKind, Returns, Snapshot, Type, TypeShape, Types,
    Volatility,
};

use crate::kind::oid;

pub(crate) const VOID: u32 = 2278;
pub(crate) const RECORD: u32 = 2249;
pub(crate) const INT4_ARRAY: u32 = 1007;
pub(crate) const TEXT_ARRAY: u32 = 1009;
pub(crate) const JSONB_ARRAY: u32 = 3807;
pub(crate) const BOX_ARRAY: u32 = 1020;
pub(crate) const BPCHAR_ARRAY: u32 = 1014;
pub(crate) const INT4RANGE: u32 = 3904;
pub(crate) const ANYELEMENT: u32 = 2283;
pub(crate) const MOOD: u32 = 20001;
pub(crate) const POSITIVE: u32 = 20002;
pub(crate) const ITEM: u32 = 20003;
pub(crate) const ITEM_ARRAY: u32 = 20004;
pub(crate) const ORDER: u32 = 20005;
pub(crate) const CITEXT: u32 = 20006;
pub(crate) const CITEXT_ARRAY: u32 = 20007;
pub(crate) const DOCUMENT: u32 = 20008;
pub(crate) const TAGS: u32 = 20009;

/// The types.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn types() -> Types {
    let scalars = [
        (oid::BOOL, "boolean", "bool"),
        (oid::BYTEA, "bytea", "bytea"),
        (oid::INT8, "bigint", "int8"),
        (oid::INT2, "smallint", "int2"),
        (oid::INT4, "integer", "int4"),
        (oid::TEXT, "text", "text"),
        (oid::BPCHAR, "character", "bpchar"),
        (oid::FLOAT8, "double precision", "float8"),
        (oid::NUMERIC, "numeric", "numeric"),
        (oid::MONEY, "money", "money"),
        (oid::DATE, "date", "date"),
        (oid::TIMESTAMPTZ, "timestamp with time zone", "timestamptz"),
        (oid::UUID, "uuid", "uuid"),
        (oid::BOX, "box", "box"),
        (CITEXT, "public.citext", "citext"),
    ]
    .map(|(oid, sql, name)| (oid, sql, name, TypeShape::Scalar));
    let columns = |columns: &[(&str, u32)]| {
        TypeShape::Composite(
            columns
                .iter()
                .map(|(name, oid)| ((*name).to_owned(), *oid))
                .collect(),
        )
    };
    let others = [
        (oid::JSON, "json", "json", TypeShape::Json),
        (oid::JSONB, "jsonb", "jsonb", TypeShape::Json),
        (VOID, "void", "void", TypeShape::Void),
        (RECORD, "record", "record", TypeShape::Pseudo),
        (ANYELEMENT, "anyelement", "anyelement", TypeShape::Pseudo),
        (
            INT4_ARRAY,
            "integer[]",
            "_int4",
            TypeShape::Array(oid::INT4),
        ),
        (TEXT_ARRAY, "text[]", "_text", TypeShape::Array(oid::TEXT)),
        (
            JSONB_ARRAY,
            "jsonb[]",
            "_jsonb",
            TypeShape::Array(oid::JSONB),
        ),
        (BOX_ARRAY, "box[]", "_box", TypeShape::Array(oid::BOX)),
        (
            BPCHAR_ARRAY,
            "character[]",
            "_bpchar",
            TypeShape::Array(oid::BPCHAR),
        ),
        (
            CITEXT_ARRAY,
            "public.citext[]",
            "_citext",
            TypeShape::Array(CITEXT),
        ),
        (INT4RANGE, "int4range", "int4range", TypeShape::Range),
        (
            MOOD,
            "app.mood",
            "mood",
            TypeShape::Enum(vec!["happy".into(), "it's \"ok\"".into()]),
        ),
        (
            POSITIVE,
            "app.positive",
            "positive",
            TypeShape::Domain {
                base: oid::INT4,
                not_null: true,
            },
        ),
        (
            DOCUMENT,
            "app.document",
            "document",
            TypeShape::Domain {
                base: oid::JSONB,
                not_null: false,
            },
        ),
        (
            TAGS,
            "app.tags",
            "tags",
            TypeShape::Domain {
                base: TEXT_ARRAY,
                not_null: false,
            },
        ),
        (
            ITEM,
            "app.item",
            "item",
            columns(&[
                ("sku", oid::TEXT),
                ("price", oid::NUMERIC),
                ("count", POSITIVE),
            ]),
        ),
        (ITEM_ARRAY, "app.item[]", "_item", TypeShape::Array(ITEM)),
        (
            ORDER,
            "app.\"Order\"",
            "Order",
            columns(&[
                ("id", oid::INT8),
                ("items", ITEM_ARRAY),
                ("mood", MOOD),
                ("extra", oid::JSONB),
                ("placed_at", oid::TIMESTAMPTZ),
            ]),
        ),
    ];
    scalars
        .into_iter()
        .chain(others)
        .map(|(oid, sql, name, shape)| {
            let comment = (oid == ORDER).then(|| "An order as it was placed.".to_owned());
            (
                oid,
                Type {
                    oid,
                    sql: sql.into(),
                    name: name.into(),
                    shape,
                    comment,
                },
            )
        })
        .collect()
}

/// A volatile SQL function `api.NAME` without arguments that returns text.
pub(crate) fn function(oid: u32, name: &str) -> Function {
    Function {
        oid,
        schema: "api".into(),
        name: name.into(),
        kind: FunctionKind::Function,
        arguments: Vec::new(),
        returns: Returns {
            set: false,
            type_oid: oid::TEXT,
            columns: Vec::new(),
        },
        volatility: Volatility::Volatile,
        security_definer: false,
        language: "sql".into(),
        source: Some("select 1".into()),
        comment: None,
        settings: Vec::new(),
        declared_safe: false,
    }
}

/// Changes to a function, in the order they read.
pub(crate) trait With: Sized {
    fn arg(self, name: &str, type_oid: u32) -> Self;
    fn default_arg(self, name: &str, type_oid: u32) -> Self;
    fn mode_arg(self, mode: ArgumentMode, name: &str, type_oid: u32) -> Self;
    fn returning(self, type_oid: u32) -> Self;
    fn set(self) -> Self;
    fn columns(self, columns: &[(&str, u32)]) -> Self;
    fn stable(self) -> Self;
    fn procedure(self) -> Self;
    fn comment(self, comment: &str) -> Self;
    fn body(self, language: &str, source: &str) -> Self;
}

impl With for Function {
    fn arg(self, name: &str, type_oid: u32) -> Self {
        self.mode_arg(ArgumentMode::In, name, type_oid)
    }

    fn default_arg(self, name: &str, type_oid: u32) -> Self {
        let mut function = self.arg(name, type_oid);
        if let Some(last) = function.arguments.last_mut() {
            last.has_default = true;
        }
        function
    }

    fn mode_arg(mut self, mode: ArgumentMode, name: &str, type_oid: u32) -> Self {
        let name = (!name.is_empty()).then(|| name.to_owned());
        self.arguments.push(Argument {
            name,
            type_oid,
            mode,
            has_default: false,
        });
        self
    }

    fn returning(mut self, type_oid: u32) -> Self {
        self.returns.type_oid = type_oid;
        self
    }

    fn set(mut self) -> Self {
        self.returns.set = true;
        self
    }

    fn columns(mut self, columns: &[(&str, u32)]) -> Self {
        self.returns.columns = columns
            .iter()
            .map(|(name, oid)| ((*name).to_owned(), *oid))
            .collect();
        self
    }

    fn stable(mut self) -> Self {
        self.volatility = Volatility::Stable;
        self
    }

    fn procedure(mut self) -> Self {
        self.kind = FunctionKind::Procedure;
        self.returns.type_oid = VOID;
        self
    }

    fn comment(mut self, comment: &str) -> Self {
        self.comment = Some(comment.to_owned());
        self
    }

    fn body(mut self, language: &str, source: &str) -> Self {
        self.language = language.to_owned();
        self.source = Some(source.into());
        self
    }
}

/// A snapshot of the given functions.
pub(crate) fn snapshot(functions: Vec<Function>) -> Snapshot {
    Snapshot::new(functions, types(), "api")
}

/// Functions of every kind.
pub(crate) fn example() -> Snapshot {
    use ArgumentMode::{InOut, Out, Variadic};
    snapshot(vec![
        function(30001, "add")
            .arg("a", oid::INT4)
            .default_arg("b", oid::INT4)
            .default_arg("c", oid::INT4)
            .returning(oid::INT4)
            .stable()
            .comment("Adds numbers.\n\nNothing else.\n@param a the first\n@param b the second\n@returns the sum"),
        function(30002, "echo")
            .arg("payload", oid::JSONB)
            .returning(oid::JSONB)
            .comment("Echoes.\n--- PARAMS ---\n{\"name\": {\"type\": \"string\", \"description\": \"who\"}}"),
        function(30003, "place")
            .arg("order", ORDER)
            .arg("mood", MOOD)
            .arg("tags", TAGS)
            .arg("at", oid::TIMESTAMPTZ)
            .returning(ORDER),
        function(30004, "list_items")
            .arg("order_id", oid::INT8)
            .arg("within", INT4RANGE)
            .returning(ITEM)
            .set()
            .stable(),
        function(30005, "join_words")
            .arg("separator", oid::TEXT)
            .mode_arg(Variadic, "words", TEXT_ARRAY),
        function(30006, "totals")
            .returning(RECORD)
            .set()
            .columns(&[("day", oid::DATE), ("total", oid::NUMERIC)])
            .stable(),
        function(30007, "ids").returning(oid::INT8).set().columns(&[("it's", oid::INT8)]).stable(),
        function(30008, "forget").arg("id", oid::UUID).returning(VOID),
        function(30009, "settle")
            .procedure()
            .arg("order_id", oid::INT8)
            .mode_arg(InOut, "note", oid::TEXT)
            .mode_arg(Out, "paid", oid::NUMERIC)
            .columns(&[("note", oid::TEXT), ("paid", oid::NUMERIC)]),
        function(30010, "tidy").procedure(),
        function(30011, "documents").returning(DOCUMENT).set().stable(),
        function(30012, "any").arg("x", ANYELEMENT),
        function(30013, "Odd\"Name").arg("a\"b", oid::TEXT).default_arg("c\"d", oid::TEXT)
            .default_arg("e\"f", oid::TEXT),
        function(30014, "labels").arg("names", CITEXT_ARRAY).arg("fixed", BPCHAR_ARRAY),
        function(30015, "blob").arg("content", oid::BYTEA).returning(oid::BYTEA),
    ])
}
