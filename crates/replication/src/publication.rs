//! Which tables are published, and that it stays so.
//!
//! Partitions are published one by one. A publication through the root would not tell that a
//! partition alone was truncated, and a partition may have no replica identity where its root has one.

use rolegate_pg::{EngineSql, quote};
use serde::Serialize;
use tokio_postgres::{Client, Transaction};

/// What a synchronisation did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Tables {
    /// Published before, and still.
    pub kept: Vec<String>,
    /// Published from now on.
    pub added: Vec<String>,
    /// Not published any more: not exposed, or not publishable.
    pub removed: Vec<String>,
    /// Exposed, and why they can't be published.
    pub left_out: Vec<LeftOut>,
}

/// A table that can't be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The table, quoted where it has to be.
    pub table: String,
    /// Why.
    pub reason: String,
}

/// Whose publication it is.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The schema's name, which is also that of the publication.
    pub schema: String,
    /// The role that owns the schema, and the publication.
    pub owner: String,
}

/// Why the publication is not as it should be. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    /// Not a superuser's connection.
    #[error(
        "event triggers, and publishing tables of others, need a superuser; the connection is {role}"
    )]
    NotSuperuser {
        /// Who it is.
        role: String,
    },
    /// The schema is older than this program.
    #[error("the schema {schema} has no change stream; run: rolegate migrate")]
    NotMigrated {
        /// The schema.
        schema: String,
    },
    /// No schemas, or one that can't be.
    #[error("{schema} can't be published: name the schemas that are exposed")]
    Schema {
        /// What was named.
        schema: String,
    },
    /// A publication of this name that is not made like ours.
    #[error(
        "the publication {name} is for all tables or for whole schemas, where any table may lose its replica \
         identity and with it take no updates; drop it, and run this again"
    )]
    Foreign {
        /// Its name.
        name: String,
    },
    /// The server refused.
    #[error("the server refused")]
    Postgres(#[from] tokio_postgres::Error),
}

/// Makes the publication and its event triggers what they should be. Connected as a superuser; all of it in
/// one transaction, which can be repeated.
pub async fn sync(
    client: &mut Client,
    of: &Installation,
    schemas: &[String],
) -> Result<Tables, PublicationError> {
    require_superuser(client).await?;
    require_migrated(client, of).await?;
    let refused = schemas.iter().find(|schema| {
        **schema == of.schema || schema.starts_with("pg_") || *schema == "information_schema"
    });
    if let Some(schema) = refused {
        return Err(PublicationError::Schema {
            schema: schema.clone(),
        });
    }
    let transaction = client.transaction().await?;
    transaction
        .batch_execute("set local lock_timeout = '10s'")
        .await?;
    publish(&transaction, of).await?;
    let sql = "select n.nspname::pg_catalog.text from pg_catalog.pg_namespace n \
               where n.nspname = any ($1) and not pg_catalog.has_schema_privilege($2::pg_catalog.text, n.oid, 'USAGE')";
    // To take a table out of it its owner has to find the table.
    for row in transaction.query(sql, &[&schemas, &of.owner]).await? {
        let schema = quote::ident(row.try_get(0)?);
        let text = [
            "grant usage on schema ",
            &schema,
            " to ",
            &quote::ident(&of.owner),
        ]
        .concat();
        transaction.batch_execute(&text).await?;
    }
    let tables = tables(&transaction, of, schemas).await?;
    for table in &tables.added {
        alter(&transaction, of, "add", table).await?;
    }
    for table in &tables.removed {
        alter(&transaction, of, "drop", table).await?;
    }
    for (name, event, function) in [
        ("commands", "ddl_command_end", "note_command"),
        ("drops", "sql_drop", "note_drop"),
    ] {
        event_trigger(&transaction, of, name, event, function).await?;
    }
    transaction.commit().await?;
    Ok(tables)
}

/// What [`sync`] would do, looking only. Any connection whose role may call `unpublishable`.
pub async fn look(
    client: &mut Client,
    of: &Installation,
    schemas: &[String],
) -> Result<Tables, PublicationError> {
    require_migrated(client, of).await?;
    let transaction = client.build_transaction().read_only(true).start().await?;
    let tables = tables(&transaction, of, schemas).await?;
    transaction.commit().await?;
    Ok(tables)
}

/// Removes publication and event triggers, and the owner's right to find the published tables. Connected as a superuser. What is not there is no error.
pub async fn remove(client: &mut Client, of: &Installation) -> Result<(), PublicationError> {
    require_superuser(client).await?;
    let sql = "select distinct t.schemaname::pg_catalog.text from pg_catalog.pg_publication_tables t \
               where t.pubname = $1::pg_catalog.text";
    let mut text = String::new();
    for row in client.query(sql, &[&of.schema]).await? {
        let schema = quote::ident(row.try_get(0)?);
        text += &[
            "revoke usage on schema ",
            &schema,
            " from ",
            &quote::ident(&of.owner),
            ";",
        ]
        .concat();
    }
    for name in ["commands", "drops"] {
        let trigger = quote::ident(&format!("{}_{name}", of.schema));
        text += &["drop event trigger if exists ", &trigger, ";"].concat();
    }
    text += &["drop publication if exists ", &quote::ident(&of.schema)].concat();
    let transaction = client.transaction().await?;
    transaction.batch_execute(&text).await?;
    Ok(transaction.commit().await?)
}

async fn require_superuser(client: &Client) -> Result<(), PublicationError> {
    let sql = "select r.rolsuper, r.rolname::pg_catalog.text from pg_catalog.pg_roles r \
               where r.rolname = current_user";
    let row = client.query_one(sql, &[]).await?;
    if row.try_get(0)? {
        return Ok(());
    }
    Err(PublicationError::NotSuperuser {
        role: row.try_get(1)?,
    })
}

async fn require_migrated(client: &Client, of: &Installation) -> Result<(), PublicationError> {
    let function = EngineSql::new(&of.schema).of("rolegate.change_stream_state()");
    let sql = "select pg_catalog.to_regprocedure($1::pg_catalog.text) is not null";
    if client.query_one(sql, &[&function]).await?.try_get(0)? {
        return Ok(());
    }
    Err(PublicationError::NotMigrated {
        schema: of.schema.clone(),
    })
}

/// The publication itself. It belongs to the schema's owner, so that a table that loses its replica identity
/// can be taken out by whoever did that.
async fn publish(client: &Transaction<'_>, of: &Installation) -> Result<(), PublicationError> {
    let sql = "select b.puballtables or exists (select from pg_catalog.pg_publication_namespace n \
               where n.pnpubid = b.oid) or b.pubviaroot \
               from pg_catalog.pg_publication b where b.pubname = $1::pg_catalog.text";
    let name = quote::ident(&of.schema);
    match client.query_opt(sql, &[&of.schema]).await? {
        Some(row) if row.try_get(0)? => {
            return Err(PublicationError::Foreign {
                name: of.schema.clone(),
            });
        }
        Some(_) => {}
        None => {
            let text = ["create publication ", &name].concat();
            client.batch_execute(&text).await?;
        }
    }
    let text = [
        "alter publication ",
        &name,
        " owner to ",
        &quote::ident(&of.owner),
    ];
    client.batch_execute(&text.concat()).await?;
    let text = [
        "alter publication ",
        &name,
        " set (publish = 'insert, update, delete, truncate')",
    ];
    Ok(client.batch_execute(&text.concat()).await?)
}

async fn tables(
    client: &Transaction<'_>,
    of: &Installation,
    schemas: &[String],
) -> Result<Tables, PublicationError> {
    let sql = EngineSql::new(&of.schema).of(include_str!("publication/tables.sql"));
    let mut tables = Tables::default();
    for row in client.query(&sql, &[&of.schema, &schemas]).await? {
        let table: String = row.try_get("name")?;
        let reason: Option<String> = row.try_get("reason")?;
        let (published, exposed): (bool, bool) =
            (row.try_get("published")?, row.try_get("exposed")?);
        match (published, exposed && reason.is_none()) {
            (true, true) => tables.kept.push(table.clone()),
            (true, false) => tables.removed.push(table.clone()),
            (false, true) => tables.added.push(table.clone()),
            (false, false) => {}
        }
        if exposed && let Some(reason) = reason {
            tables.left_out.push(LeftOut { table, reason });
        }
    }
    Ok(tables)
}

/// `table` comes quoted from the server.
async fn alter(
    client: &Transaction<'_>,
    of: &Installation,
    what: &str,
    table: &str,
) -> Result<(), tokio_postgres::Error> {
    let text = [
        "alter publication ",
        &quote::ident(&of.schema),
        " ",
        what,
        " table ",
        table,
    ];
    client.batch_execute(&text.concat()).await
}

/// Made if it is not there, and switched on. Another one of its name is replaced.
async fn event_trigger(
    client: &Transaction<'_>,
    of: &Installation,
    name: &str,
    event: &str,
    function: &str,
) -> Result<(), tokio_postgres::Error> {
    let trigger = quote::ident(&format!("{}_{name}", of.schema));
    let function = format!("{}()", quote::qualified(&of.schema, function));
    let sql = "select e.evtenabled in ('O', 'A') from pg_catalog.pg_event_trigger e \
               where e.evtname = $1::pg_catalog.text and e.evtevent = $2::pg_catalog.text \
               and e.evtfoid = $3::pg_catalog.text::pg_catalog.regprocedure";
    let plain = format!("{}_{name}", of.schema);
    match client.query_opt(sql, &[&plain, &event, &function]).await? {
        Some(row) if row.try_get(0)? => Ok(()),
        Some(_) => {
            let text = ["alter event trigger ", &trigger, " enable"].concat();
            client.batch_execute(&text).await
        }
        None => {
            let text = [
                "drop event trigger if exists ",
                &trigger,
                "; create event trigger ",
                &trigger,
                " on ",
                event,
                " execute function ",
                &function,
            ];
            client.batch_execute(&text.concat()).await
        }
    }
}
