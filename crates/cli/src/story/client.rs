//! HTTP as the people of the story do it.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

use crate::development::Record;

/// A client of the development server.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    base: String,
    record: Record,
}

/// Status and body of an answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Http {
    pub(super) fn new(record: &Record) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()?;
        let base = format!("{}/api/{}", record.gateway_url, record.database);
        Ok(Self {
            client,
            base,
            record: record.clone(),
        })
    }

    /// A person's password.
    pub(super) fn password(&self, person: &str) -> anyhow::Result<&str> {
        Ok(&self
            .record
            .users
            .get(person)
            .context("a person of the example")?
            .password)
    }

    /// A request to `path` as `person`, or as nobody.
    pub(super) fn post(
        &self,
        person: Option<&str>,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<RequestBuilder> {
        let request = self.client.post(format!("{}{path}", self.base)).json(body);
        self.signed(person, request)
    }

    /// The same with GET.
    pub(super) fn get(&self, person: Option<&str>, path: &str) -> anyhow::Result<RequestBuilder> {
        self.signed(person, self.client.get(format!("{}{path}", self.base)))
    }

    fn signed(
        &self,
        person: Option<&str>,
        request: RequestBuilder,
    ) -> anyhow::Result<RequestBuilder> {
        Ok(match person {
            Some(person) => {
                let user = self
                    .record
                    .users
                    .get(person)
                    .context("a person of the example")?;
                request.bearer_auth(&user.token)
            }
            None => request,
        })
    }

    /// Calls a function.
    pub(super) async fn call(
        &self,
        person: Option<&str>,
        function: &str,
        params: &Value,
    ) -> anyhow::Result<Answer> {
        send(self.post(person, &format!("/{function}"), params)?).await
    }
}

/// Sends a request.
pub(super) async fn send(request: RequestBuilder) -> anyhow::Result<Answer> {
    let response = request.send().await?;
    let status = response.status();
    Ok(Answer {
        status,
        text: response.text().await?,
    })
}

impl Answer {
    /// The body as JSON, if the status is the expected one.
    pub(super) fn expect(&self, status: u16) -> anyhow::Result<Value> {
        anyhow::ensure!(
            self.status.as_u16() == status,
            "expected status {status}, got {}: {}",
            self.status,
            self.text
        );
        serde_json::from_str(&self.text).with_context(|| self.text.clone())
    }
}
