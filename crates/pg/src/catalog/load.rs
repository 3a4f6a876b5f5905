//! Reading the functions of the exposed schemas.

use std::collections::BTreeSet;

use tokio_postgres::{GenericClient, Row};

use super::error::CatalogError;
use super::function::{
    Argument, ArgumentMode, Function, FunctionKind, Returns, Type, TypeShape, Types, Volatility,
};
use super::snapshot::Snapshot;

const JSON: u32 = 114;
const JSONB: u32 = 3802;
const VOID: u32 = 2278;

/// Reads a snapshot in one transaction.
pub(super) async fn snapshot(
    client: &mut tokio_postgres::Client,
    schemas: &[String],
    engine_schema: &str,
) -> Result<Snapshot, CatalogError> {
    let transaction = client
        .build_transaction()
        .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    // Type names come out qualified, and nothing of the session's path gets a say.
    transaction
        .batch_execute("set local search_path to ''")
        .await?;
    let safe = safe_functions(&transaction, engine_schema).await?;
    let rows = transaction
        .query(include_str!("sql/functions.sql"), &[&schemas])
        .await?;
    let functions = rows
        .iter()
        .map(|row| function(row, &safe))
        .collect::<Result<Vec<_>, _>>()?;
    let wanted: BTreeSet<u32> = functions
        .iter()
        .flat_map(|function| {
            function
                .arguments
                .iter()
                .map(|argument| argument.type_oid)
                .chain(function.returns.columns.iter().map(|(_, oid)| *oid))
                .chain([function.returns.type_oid])
        })
        .collect();
    let wanted: Vec<u32> = wanted.into_iter().collect();
    let rows = transaction
        .query(include_str!("sql/types.sql"), &[&wanted])
        .await?;
    let types = rows.iter().map(type_of).collect::<Result<Types, _>>()?;
    let deferrable = "select exists (select from pg_catalog.pg_trigger where tgdeferrable)";
    let has_deferrable = transaction.query_one(deferrable, &[]).await?.get(0);
    transaction.commit().await?;
    let default_schema = schemas.first().cloned().unwrap_or_default();
    Ok(Snapshot::new(functions, types, default_schema).with_deferrable(has_deferrable))
}

/// Functions declared safe for assume mode in their present definition.
async fn safe_functions(
    client: &impl GenericClient,
    engine_schema: &str,
) -> Result<BTreeSet<u32>, CatalogError> {
    let sql = include_str!("sql/safe.sql").replace(
        "rolegate.",
        &format!("{}.", crate::quote::ident(engine_schema)),
    );
    let rows = client.query(&sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn function(row: &Row, safe: &BTreeSet<u32>) -> Result<Function, CatalogError> {
    let oid: u32 = row.try_get(0)?;
    let kind = match row.try_get::<_, &str>(3)? {
        "f" => FunctionKind::Function,
        "p" => FunctionKind::Procedure,
        other => return Err(CatalogError::Unexpected(format!("prokind {other}"))),
    };
    let volatility = match row.try_get::<_, &str>(4)? {
        "i" => Volatility::Immutable,
        "s" => Volatility::Stable,
        _ => Volatility::Volatile,
    };
    let types: Vec<u32> = row.try_get(14)?;
    let modes: Option<Vec<String>> = row.try_get(15)?;
    let names: Option<Vec<String>> = row.try_get(16)?;
    let defaults = usize::try_from(row.try_get::<_, i32>(12)?).unwrap_or(0);
    let mut arguments = Vec::new();
    let mut columns = Vec::new();
    for (i, type_oid) in types.into_iter().enumerate() {
        let name = names
            .as_ref()
            .and_then(|names| names.get(i))
            .filter(|name| !name.is_empty());
        let mode = modes
            .as_ref()
            .and_then(|modes| modes.get(i))
            .map_or("i", String::as_str);
        if matches!(mode, "o" | "b" | "t") {
            let column = name
                .cloned()
                .unwrap_or_else(|| format!("column{}", columns.len() + 1));
            columns.push((column, type_oid));
        }
        let mode = match mode {
            "i" => ArgumentMode::In,
            "b" => ArgumentMode::InOut,
            "v" => ArgumentMode::Variadic,
            "o" if kind == FunctionKind::Procedure => ArgumentMode::Out,
            _ => continue,
        };
        arguments.push(Argument {
            name: name.cloned(),
            type_oid,
            mode,
            has_default: false,
        });
    }
    // Defaults belong to the last input arguments.
    for argument in arguments
        .iter_mut()
        .rev()
        .filter(|argument| argument.mode != ArgumentMode::Out)
        .take(defaults)
    {
        argument.has_default = true;
    }
    Ok(Function {
        oid,
        schema: row.try_get(1)?,
        name: row.try_get(2)?,
        kind,
        arguments,
        returns: Returns {
            set: row.try_get(9)?,
            type_oid: row.try_get(10)?,
            columns,
        },
        volatility,
        security_definer: row.try_get(5)?,
        language: row.try_get(6)?,
        source: row.try_get::<_, Option<String>>(7)?.map(Into::into),
        settings: row.try_get::<_, Option<_>>(17)?.unwrap_or_default(),
        comment: row.try_get(8)?,
        declared_safe: safe.contains(&oid),
    })
}

fn type_of(row: &Row) -> Result<(u32, Type), CatalogError> {
    let oid: u32 = row.try_get(0)?;
    let kind: &str = row.try_get(3)?;
    let is_array: bool = row.try_get(4)?;
    let shape = match kind {
        _ if oid == JSON || oid == JSONB => TypeShape::Json,
        _ if oid == VOID => TypeShape::Void,
        "b" if is_array => TypeShape::Array(row.try_get(5)?),
        "b" => TypeShape::Scalar,
        "d" => TypeShape::Domain {
            base: row.try_get(6)?,
            not_null: row.try_get(7)?,
        },
        "e" => TypeShape::Enum(row.try_get::<_, Option<_>>(9)?.unwrap_or_default()),
        "c" => {
            let names: Vec<String> = row.try_get::<_, Option<_>>(10)?.unwrap_or_default();
            let types: Vec<u32> = row.try_get::<_, Option<_>>(11)?.unwrap_or_default();
            TypeShape::Composite(names.into_iter().zip(types).collect())
        }
        "r" | "m" => TypeShape::Range,
        "p" => TypeShape::Pseudo,
        other => return Err(CatalogError::Unexpected(format!("typtype {other}"))),
    };
    let described = Type {
        oid,
        sql: row.try_get(1)?,
        name: row.try_get(2)?,
        shape,
        comment: row.try_get(8)?,
    };
    Ok((oid, described))
}
