//! `POST /query/explain`: why a query is public or private, what it reads, whether it can be kept.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use rolegate_model::CredentialKind;
use rolegate_query::{Touch, Unkept};
use serde_json::{Value, json};

use super::query::{finish, from_body};
use super::rpc;
use crate::problem::Problem;
use crate::query::{self, Asked, Decision};
use crate::request::RequestContext;
use crate::router::App;

pub(crate) async fn post(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let answer = async {
        let (session, wanted) = from_body(&app, &context, &headers, body).await?;
        let asked = wanted.read()?;
        let decision = query::decide(&session, &asked).await?;
        let nobody = session.caller.principal.kind == CredentialKind::Anonymous;
        let mut document = document(&decision, &asked, nobody)?;
        if !nobody
            && query::is_operator(&session).await?
            && let Ok(analysis) = decision.found.analysis()
        {
            // How much there is can tell of rows that others may not see.
            document["estimate"] =
                json!({ "cost": analysis.plan.cost, "rows": analysis.plan.rows });
        }
        let mut response = rpc::json(StatusCode::OK, Bytes::from(document.to_string()));
        let kept = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, kept);
        Ok(response)
    };
    finish(answer.await, &context)
}

/// `nobody`: somebody without a token asks, who is not told what is behind views.
fn document(decision: &Decision, asked: &Asked, nobody: bool) -> Result<Value, Problem> {
    let analysis = decision.found.analysis().map_err(query::to_caller)?;
    let columns: Vec<&str> = analysis
        .columns
        .iter()
        .map(|column| &*column.name)
        .collect();
    let reads: Vec<String> = analysis
        .read_set
        .iter()
        .filter(|relation| relation.open || !nobody)
        .map(rolegate_query::Relation::display)
        .collect();
    let touch = Touch::of(analysis, &asked.text, &asked.params);
    let rows: Vec<Value> = touch
        .pinned()
        .map(|(column, value)| json!({ "column": column, "value": value }))
        .collect();
    let is_open = |name: &str| reads.iter().any(|open| open == name);
    let told = |unkept: &Unkept| {
        if nobody {
            unkept.for_anonymous(is_open)
        } else {
            unkept.to_string()
        }
    };
    let unkept: Vec<String> = analysis.unkept.iter().map(told).collect();
    Ok(json!({
        "scope": decision.scope.as_str(),
        "runs_as": decision.session.caller.principal.role.name.as_str(),
        "why_private": decision.why.as_ref().map(ToString::to_string),
        "columns": columns,
        "reads": reads,
        "only_rows_with": rows,
        "can_be_kept": unkept.is_empty(),
        "why_not_kept": unkept,
    }))
}
