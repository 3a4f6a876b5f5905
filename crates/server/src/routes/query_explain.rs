//! `POST /query/explain`: why a query is public or private, what it reads, whether it can be kept.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::query::{finish, format, from_body};
use super::rpc;
use crate::query;
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
        let document = query::explain(&session, &wanted, format(&headers)).await?;
        let mut response = rpc::json(StatusCode::OK, Bytes::from(document.to_string()));
        let kept = HeaderValue::from_static("no-store");
        response.headers_mut().insert(header::CACHE_CONTROL, kept);
        Ok(response)
    };
    finish(answer.await, &context)
}
