//! The steps: each proves one thing and says what it saw.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rolegate_roles::audit::{self, AuditOptions};
use rolegate_roles::names::Names;
use rolegate_roles::verify as logins;
use serde_json::{Value, json};

use super::client::{Http, send};
use crate::development::{Installation, SCHEMA};

type Proof = anyhow::Result<String>;

const ALICE: Option<&str> = Some("alice");
const BOB: Option<&str> = Some("bob");
const DAVE: Option<&str> = Some("dave");

pub(super) async fn login(http: &Http) -> Proof {
    let body = json!({"login": "alice", "password": http.password("alice")?});
    let answer = send(http.post(None, "/login", &body)?).await?.expect(200)?;
    ensure!(answer["token_type"] == "Bearer", "{answer}");
    Ok(format!("a signed token for {} s", answer["expires_in"]))
}

pub(super) async fn wrong_password(http: &Http) -> Proof {
    for password in ["wrong", "x host=127.0.0.1 port=5499"] {
        let body = json!({"login": "bob", "password": password});
        let answer = send(http.post(None, "/login", &body)?).await?.expect(401)?;
        ensure!(answer["code"] == "login_failed", "{answer}");
    }
    Ok("401 login_failed twice".to_owned())
}

pub(super) async fn submit(http: &Http) -> Proof {
    let params = json!({"amount": 742.5, "purpose": "conference"});
    let answer = http
        .call(ALICE, "submit_claim", &params)
        .await?
        .expect(200)?;
    Ok(format!("claim {}", id_of(&answer)?))
}

pub(super) async fn numbers(http: &Http) -> Proof {
    // Sent as text, because a JSON library may not keep the digits.
    let request = http
        .post(ALICE, "/submit_claim", &Value::Null)?
        .body(r#"{"amount": 1.10, "purpose": "coffee"}"#);
    let answer = send(request).await?;
    answer.expect(200)?;
    ensure!(
        answer.text.contains("1.10"),
        "1.10 is not in {}",
        answer.text
    );
    Ok("1.10 is 1.10".to_owned())
}

pub(super) async fn idempotent(http: &Http) -> Proof {
    let params = json!({"amount": 20, "purpose": "taxi"});
    let mut ids = Vec::new();
    for _ in 0..2 {
        let request = http
            .post(ALICE, "/submit_claim", &params)?
            .header("idempotency-key", "taxi-1");
        ids.push(id_of(&send(request).await?.expect(200)?)?);
    }
    ensure!(ids[0] == ids[1], "two claims: {ids:?}");
    let other = json!({"amount": 21, "purpose": "taxi"});
    let request = http
        .post(ALICE, "/submit_claim", &other)?
        .header("idempotency-key", "taxi-1");
    send(request).await?.expect(409)?;
    Ok(format!("claim {} both times; another body: 409", ids[0]))
}

pub(super) async fn own_rows(http: &Http) -> Proof {
    let rows = http
        .call(ALICE, "my_claims", &json!({}))
        .await?
        .expect(200)?;
    let rows = rows.as_array().context("an array")?;
    ensure!(!rows.is_empty(), "no claims");
    ensure!(
        rows.iter().all(|row| row["claimant"] == "alice"),
        "{rows:?}"
    );
    Ok(format!("{} rows, all hers", rows.len()))
}

pub(super) async fn may_not_decide(http: &Http) -> Proof {
    let params = json!({"id": first_open(http).await?, "approve": true});
    let answer = http.call(ALICE, "decide_claim", &params).await?;
    // Without EXECUTE the function does not exist for her.
    let body = answer.expect(404)?;
    ensure!(body["code"] == "function_not_found", "{body}");
    Ok("404 function_not_found".to_owned())
}

pub(super) async fn approve(http: &Http) -> Proof {
    let params = json!({"id": first_open(http).await?, "approve": true});
    http.call(BOB, "decide_claim", &params).await?.expect(200)?;
    let again = http.call(BOB, "decide_claim", &params).await?.expect(409)?;
    ensure!(again["sqlstate"] == "PT409", "{again}");
    Ok("approved; the second time 409".to_owned())
}

pub(super) async fn atomic(http: &Http) -> Proof {
    let before = count(http).await?;
    let submit = |amount: i32, id: i32| {
        json!({"jsonrpc": "2.0", "id": id, "method": "submit_claim",
               "params": {"amount": amount, "purpose": "hotel"}})
    };
    let body = json!([submit(100, 1), submit(-1, 2)]);
    let request = http
        .post(ALICE, "", &body)?
        .header("rolegate-atomic", "true");
    let answer = send(request).await?.expect(200)?;
    ensure!(
        answer[0]["error"]["data"]["code"] == "batch_aborted",
        "{answer}"
    );
    ensure!(count(http).await? == before, "a part of the batch was done");
    Ok("one bad call, nothing done".to_owned())
}

pub(super) async fn dry_run(http: &Http) -> Proof {
    let before = count(http).await?;
    let params = json!({"amount": 5, "purpose": "tea"});
    let request = http
        .post(ALICE, "/submit_claim", &params)?
        .header("prefer", "tx=rollback");
    let answer = send(request).await?.expect(200)?;
    id_of(&answer)?;
    ensure!(count(http).await? == before, "the dry run left something");
    Ok("a result, and no row".to_owned())
}

pub(super) async fn anonymous(http: &Http) -> Proof {
    send(http.get(None, "/company_totals")?)
        .await?
        .expect(200)?;
    http.call(None, "my_claims", &json!({}))
        .await?
        .expect(404)?;
    Ok("totals: 200, claims: 404".to_owned())
}

pub(super) async fn discovery(http: &Http) -> Proof {
    let document = send(http.get(DAVE, "/openapi.json")?).await?.expect(200)?;
    let paths: Vec<&String> = document["paths"]
        .as_object()
        .context("paths")?
        .keys()
        .collect();
    ensure!(
        !paths.iter().any(|path| path.ends_with("decide_claim")),
        "{paths:?}"
    );
    ensure!(
        paths.iter().any(|path| path.ends_with("company_totals")),
        "{paths:?}"
    );
    Ok(format!("{} paths in his OpenAPI document", paths.len()))
}

pub(super) async fn revocation(http: &Http, installation: &Installation) -> Proof {
    let params = json!({"id": 0, "approve": true});
    let owner = installation.superuser().await?;
    owner.batch_execute("revoke manager from bob").await?;
    let revoked = Instant::now();
    loop {
        let answer = http.call(BOB, "decide_claim", &params).await?;
        if answer.status.as_u16() == 404 && answer.text.contains("function_not_found") {
            break;
        }
        ensure!(
            revoked.elapsed() < Duration::from_secs(1),
            "still allowed: {}",
            answer.text
        );
    }
    owner.batch_execute("grant manager to bob").await?;
    Ok("bob is no manager any more, and could not approve".to_owned())
}

pub(super) async fn verify(installation: &Installation) -> Proof {
    let report = logins::verify(&Names::default(), async |login: String| {
        installation.login(&login).await
    })
    .await?;
    if let Some(failure) = report.failures().next() {
        anyhow::bail!("{failure:?}");
    }
    Ok(format!("{} checks", report.checks.len()))
}

pub(super) async fn audit(installation: &Installation) -> Proof {
    let names = Names::default();
    let mut options = AuditOptions::new(names.clone(), vec![SCHEMA.to_owned()]);
    options.anonymous_role = Some(names.role("anonymous"));
    // Functions only: no surface here runs SQL text of callers.
    options.runs_caller_sql = false;
    options.allow_list = audit::AllowList::parse(include_str!(
        "../../../../examples/expenses/audit-allow.toml"
    ))?;
    let report = audit::run(&installation.superuser().await?, &options).await?;
    ensure!(!report.failing(), "{}", report.render_text());
    Ok(format!(
        "no findings, {} accepted with a reason",
        report.allowed.len()
    ))
}

/// The id of a claim, whatever else the function returns.
fn id_of(answer: &Value) -> anyhow::Result<i64> {
    answer
        .as_i64()
        .or_else(|| answer["id"].as_i64())
        .with_context(|| format!("no id in {answer}"))
}

/// Alice's oldest claim that nobody decided.
async fn first_open(http: &Http) -> anyhow::Result<i64> {
    let rows = http
        .call(ALICE, "my_claims", &json!({"status": "submitted"}))
        .await?
        .expect(200)?;
    let row = rows
        .as_array()
        .and_then(|rows| rows.last())
        .context("an open claim")?;
    id_of(row)
}

/// How many claims alice has.
async fn count(http: &Http) -> anyhow::Result<usize> {
    let rows = http
        .call(ALICE, "my_claims", &json!({}))
        .await?
        .expect(200)?;
    Ok(rows.as_array().context("an array")?.len())
}
