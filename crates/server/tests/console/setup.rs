//! A console beside a gateway, and the people who use it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use rolegate_pg::quote;
use rolegate_server::config::{GatewayConfig, Mode};
use rolegate_server::console::{self, ConsoleConfig};
use rolegate_server::router::{self, App};
use rolegate_server::serve::ListenLimits;
use rolegate_testkit::{Admitted, TestDatabase};
use serde_json::Value;

use crate::harness::{Gateway, NAME, Options, api, code, outcome};

/// A console that is being served, and the gateway of the same database.
#[derive(Debug)]
pub(crate) struct Console {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
}

impl Console {
    pub(crate) async fn start(db: &TestDatabase) -> Self {
        Self::start_with(db, Options::default()).await
    }

    pub(crate) async fn start_with(db: &TestDatabase, options: Options) -> Self {
        let config = GatewayConfig {
            dry_run: options.gateway.dry_run,
            max_streams: options.gateway.max_streams,
            allowed_origins: options.gateway.allowed_origins.clone(),
            ..GatewayConfig::default()
        };
        let gateway = Gateway::start_with(db, options).await;
        let listen = ConsoleConfig {
            bind: SocketAddr::from(([127, 0, 0, 1], 0)),
            allow_public_bind: false,
        };
        let listener = console::bind(listen).await.expect("a free port");
        let address = listener.address();
        let stop = gateway.stop.clone();
        let app = App::new(vec![Arc::clone(&gateway.database)], config, stop.clone());
        tokio::spawn(listener.serve(router::console(app), ListenLimits::default(), stop));
        Self { gateway, address }
    }

    /// A request to the console; `{database}` in the path is the test's.
    pub(crate) fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
    ) -> RequestBuilder {
        let path = path.replace("{database}", NAME);
        let url = format!("http://{}{path}", self.address);
        let request = self.gateway.client.request(method, url);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) fn mint(&self, token: Option<&str>, body: &Value) -> RequestBuilder {
        self.request(Method::POST, "/v1/{database}/tokens", token)
            .header("content-type", "application/json")
            .body(body.to_string())
    }

    pub(crate) fn list(&self, token: Option<&str>, query: &str) -> RequestBuilder {
        let path = format!("/v1/{{database}}/tokens{query}");
        self.request(Method::GET, &path, token)
    }

    pub(crate) fn revoke(&self, token: Option<&str>, id: &str) -> RequestBuilder {
        let path = format!("/v1/{{database}}/tokens/{id}");
        self.request(Method::DELETE, &path, token)
    }

    /// A request with a JSON body, or none; its status, code, headers and JSON.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Answer {
        let method = method.parse().expect("a method");
        let path = format!("/v1/{{database}}/{path}");
        let mut request = self.request(method, &path, Some(token));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.text().await.expect("a body");
        Answer {
            status,
            code: code(&body),
            body: serde_json::from_str(&body).unwrap_or_default(),
            headers,
        }
    }

    /// Mints, and expects to.
    pub(crate) async fn minted(&self, token: &str, body: &Value) -> Value {
        json_of(self.mint(Some(token), body), 201).await
    }

    /// A page of tokens, and expects one.
    pub(crate) async fn page(&self, token: &str, query: &str) -> Value {
        json_of(self.list(Some(token), query), 200).await
    }

    /// Waits until the gateway answers a call with this token as expected: at most a second.
    pub(crate) async fn gateway_says(&self, token: &str, expected: (u16, &str)) {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let (status, code, body) = outcome(self.gateway.post("/who", Some(token), "")).await;
            if (status, code.as_str()) == expected {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "a call is {status} {body} after a second, not {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// An answer of the console.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) body: Value,
    pub(crate) headers: HeaderMap,
}

impl Answer {
    /// The body, if the status is this one.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The problem's code and path, which has a hint.
    pub(crate) fn refused(&self) -> (u16, &str, Option<&str>) {
        (self.status, &self.code, self.body["path"].as_str())
    }
}

/// The JSON body of an answer with this status.
pub(crate) async fn json_of(request: RequestBuilder, status: u16) -> Value {
    let (got, _, body) = outcome(request).await;
    assert_eq!(got, status, "{body}");
    serde_json::from_str(&body).expect("JSON")
}

/// Roles of a test.
#[derive(Debug)]
pub(crate) struct People {
    /// What tokens are for.
    pub(crate) target: String,
    /// An operator, member of the target.
    pub(crate) operator: String,
    /// An operator who is not.
    pub(crate) stranger: String,
    /// May look.
    pub(crate) viewer: String,
    /// Member of the target, and nothing of ours.
    pub(crate) ordinary: String,
    /// Enqueues jobs.
    pub(crate) producer: String,
    /// Enqueues others.
    pub(crate) colleague: String,
}

impl People {
    /// Makes them, with `api.who()` for the target.
    pub(crate) async fn make(db: &TestDatabase, mode: Mode) -> Self {
        let (attributes, admitted, prefix) = match mode {
            Mode::Login => ("login", Admitted::Login, "l"),
            Mode::Assume => ("nologin", Admitted::Assume, "a"),
        };
        let role = async |base: &str, member_of: &str| {
            let in_role = if member_of.is_empty() {
                ""
            } else {
                " in role "
            };
            let attributes = [attributes, in_role, member_of].concat();
            let base = format!("{prefix}_{base}");
            db.create_role_with(&base, &attributes, admitted).await
        };
        let target = role("target", "").await;
        let quoted = quote::ident(&target);
        let people = Self {
            operator: role("operator", &format!("rolegate_operator, {quoted}")).await,
            stranger: role("stranger", "rolegate_operator").await,
            viewer: role("viewer", &format!("rolegate_viewer, {quoted}")).await,
            ordinary: role("ordinary", &quoted).await,
            producer: role("producer", "rolegate_producer").await,
            colleague: role("colleague", "rolegate_producer").await,
            target,
        };
        let definitions = format!(
            "create or replace function api.who() returns text language sql stable \
             as 'select current_user::text'; \
             revoke execute on function api.who() from public; \
             grant execute on function api.who() to {quoted};"
        );
        api(db, &[&people.target], &definitions).await;
        people
    }
}
