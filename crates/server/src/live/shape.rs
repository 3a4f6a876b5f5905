//! What has to be known of a query to watch it.

use std::collections::HashSet;
use std::sync::Arc;

use rolegate_model::ErrorCode;
use rolegate_query::{
    Analysis, ClaimsRead, OPAQUE_SQL, PARTITIONS_SQL, POLICIES_SQL, ROW_KEYS_SQL, Relation,
    Written, is_ordered, key_columns,
};

use crate::problem::Problem;
use crate::query::{self, Asked, Asking, Decision, Found};

/// What is known of a query in an identity, whatever its parameters are.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each was found out by itself"
)]
pub(super) struct Shape {
    found: Arc<Found>,
    /// Where the key stands in the result.
    pub(super) key: Option<Vec<usize>>,
    /// The order of the rows means something.
    pub(super) ordered: bool,
    /// The claims that its rows depend on.
    pub(super) claims: ClaimsRead,
    /// Policies decide which rows are seen.
    pub(super) secured: bool,
    /// Another caller could get other rows.
    pub(super) depends_on_caller: bool,
    /// Code runs that could read any table, so that any commit can make a difference.
    pub(super) opaque: bool,
    /// Everything it reads, by OID.
    pub(super) relations: Vec<u32>,
    /// Partitions of these that its plan does not go through; another one could.
    pub(super) parts: Vec<u32>,
}

/// A table with rows of a partitioned one.
#[derive(Debug)]
struct Part {
    oid: u32,
    name: String,
    published: bool,
}

impl Shape {
    /// Finds it out, with a few questions to the catalog.
    pub(super) async fn find(decision: &Decision, asked: &Asked) -> Result<Self, Problem> {
        let found = Arc::clone(&decision.found);
        let analysis = found.analysis().map_err(query::to_caller)?;
        let asking = Asking::of(&decision.session);
        let parts = parts(&asking, decision, analysis).await?;
        let policies = policies(&asking, analysis).await?;
        let written = Written::of(&asked.text, analysis, &policies);
        let unseen = analysis
            .read_set
            .iter()
            .filter(|relation| !relation.published && !matches!(relation.kind, 'v' | 'p'))
            .filter(|relation| is_its_own(decision, &written, relation))
            .map(Relation::display)
            .chain(
                parts
                    .iter()
                    .filter(|part| !part.published)
                    .map(|part| part.name.clone()),
            )
            .next();
        if let Some(relation) = unseen {
            return Err(unpublished(&relation));
        }
        let opaque = written.opaque || is_opaque(&asking, decision, &written).await?;
        let tables = tables(&asking, analysis).await?;
        let key = key_columns(&tables, &written, analysis);
        let read: HashSet<u32> = analysis.read_set.iter().map(|r| r.oid).collect();
        let parts = parts.iter().map(|part| part.oid);
        let parts = parts.filter(|oid| !read.contains(oid)).collect();
        Ok(Self {
            key,
            secured: analysis
                .read_set
                .iter()
                .any(|relation| relation.row_security),
            ordered: is_ordered(&asked.text),
            claims: if opaque {
                ClaimsRead::All
            } else {
                written.claims
            },
            depends_on_caller: analysis.depends_on_caller().is_some(),
            opaque,
            relations: read.into_iter().collect(),
            parts,
            found,
        })
    }

    /// What was found out about the query.
    pub(super) fn found(&self) -> &Found {
        &self.found
    }

    /// What the query reads and gives.
    pub(super) fn analysis(&self) -> Result<&Analysis, Problem> {
        self.found.analysis().map_err(query::to_caller)
    }

    /// Whether rows of the other one would be told as these are.
    pub(super) fn tells_like(&self, other: &Self) -> bool {
        let columns = |shape: &Self| {
            let analysis = shape.found.analysis().ok()?;
            Some(analysis.columns.clone())
        };
        self.key == other.key && self.ordered == other.ordered && columns(self) == columns(other)
    }
}

/// Whether the query reads the relation itself. Planning runs functions to make estimates, those of claims among
/// them, and what they read is found locked like everything else.
fn is_its_own(decision: &Decision, written: &Written, relation: &Relation) -> bool {
    let ours = relation.schema == decision.session.database.config.engine_schema;
    !(relation.system || ours) || written.names.contains(&relation.name)
}

fn unpublished(relation: &str) -> Problem {
    Problem::new(ErrorCode::QueryRefused)
        .message(format!(
            "Changes of {relation} are not seen here, so the query can't be watched."
        ))
        .hint("Tables need a replica identity and have to be published: rolegate replication sync.")
}

async fn parts(
    asking: &Asking<'_>,
    decision: &Decision,
    analysis: &Analysis,
) -> Result<Vec<Part>, Problem> {
    let roots = analysis
        .read_set
        .iter()
        .filter(|relation| relation.kind == 'p');
    let roots: Vec<u32> = roots.map(|relation| relation.oid).collect();
    if roots.is_empty() {
        return Ok(Vec::new());
    }
    let publication = &decision.session.database.config.engine_schema;
    let rows = asking.ask(PARTITIONS_SQL, &[&roots, publication]).await?;
    let parts = rows.iter().map(|row| {
        Ok(Part {
            oid: row.try_get(0)?,
            name: row.try_get(1)?,
            published: row.try_get(2)?,
        })
    });
    parts
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|error| asking.failed(&error))
}

async fn policies(asking: &Asking<'_>, analysis: &Analysis) -> Result<Vec<String>, Problem> {
    let secured: Vec<u32> = analysis
        .read_set
        .iter()
        .filter(|relation| relation.row_security)
        .map(|relation| relation.oid)
        .collect();
    if secured.is_empty() {
        return Ok(Vec::new());
    }
    let rows = asking.ask(POLICIES_SQL, &[&secured]).await?;
    let texts = rows.iter().map(|row| row.try_get(0));
    texts
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|error| asking.failed(&error))
}

async fn is_opaque(
    asking: &Asking<'_>,
    decision: &Decision,
    written: &Written,
) -> Result<bool, Problem> {
    let called: Vec<&String> = written.called.iter().collect();
    let attributes: Vec<&String> = written.attributes.iter().collect();
    let operators: Vec<&String> = written.operators.iter().collect();
    let schema = &decision.session.database.config.engine_schema;
    let rows = asking
        .ask(OPAQUE_SQL, &[&called, &attributes, &operators, schema])
        .await?;
    let opaque = rows.first().map_or(Ok(true), |row| row.try_get(0));
    opaque.map_err(|error| asking.failed(&error))
}

async fn tables(
    asking: &Asking<'_>,
    analysis: &Analysis,
) -> Result<Vec<(String, Vec<String>)>, Problem> {
    let oids: Vec<u32> = analysis
        .read_set
        .iter()
        .map(|relation: &Relation| relation.oid)
        .collect();
    let rows = asking.ask(ROW_KEYS_SQL, &[&oids]).await?;
    let tables = rows
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    tables
        .collect::<Result<_, tokio_postgres::Error>>()
        .map_err(|error| asking.failed(&error))
}
