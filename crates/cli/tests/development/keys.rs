//! Signing keys change while the program runs: by `rolegate keys rotate`, by its `--now`, and by a
//! key that an operator brings.

use std::collections::BTreeSet;
use std::time::Duration;

use rolegate_auth::signing::{SealingKey, SigningKey};
use rolegate_model::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::installation::Installation;
use crate::program::finishes;

struct Stage {
    installation: Installation,
    record: Value,
    superuser: Client,
    http: reqwest::Client,
}

impl Stage {
    async fn start(postgres: &str) -> Self {
        let installation = Installation::start(postgres, &[]).await;
        let superuser = installation.superuser().await;
        superuser
            .batch_execute(
                "create function api.whoami() returns text language sql stable \
                 begin atomic select current_user::text; end; \
                 grant execute on function api.whoami() to alice",
            )
            .await
            .expect("a function");
        let stage = Self {
            record: installation.record(),
            http: reqwest::Client::new(),
            superuser,
            installation,
        };
        let token = stage.login().await;
        stage
            .soon("the function is there", async || {
                (stage.says(&token).await == 200).then_some(())
            })
            .await;
        stage
    }

    fn url(&self, path: &str) -> String {
        format!(
            "{}{path}",
            self.record["gateway_url"].as_str().expect("a URL")
        )
    }

    /// A token for alice's password.
    async fn login(&self) -> String {
        let password = &self.record["users"]["alice"]["password"];
        let request = self.http.post(self.url("/api/app/login"));
        let answer = request
            .json(&json!({"login": "alice", "password": password}))
            .send()
            .await
            .expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        let token = answer["token"].as_str();
        token.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The status of a call with this token.
    async fn says(&self, token: &str) -> u16 {
        let request = self.http.post(self.url("/api/app/whoami"));
        let answer = request.bearer_auth(token).json(&json!({})).send().await;
        answer.expect("an answer").status().as_u16()
    }

    /// Names of the published keys.
    async fn published(&self) -> BTreeSet<String> {
        let answer = self
            .http
            .get(self.url("/.well-known/jwks.json"))
            .send()
            .await;
        let set: Value = answer.expect("an answer").json().await.expect("JSON");
        let keys = set["keys"].as_array().expect("a list").iter();
        keys.map(|key| key["kid"].as_str().expect("a name").to_owned())
            .collect()
    }

    /// Waits until so many keys are published.
    async fn publishes(&self, count: usize) -> BTreeSet<String> {
        self.soon(&format!("{count} keys are published"), async || {
            let keys = self.published().await;
            (keys.len() == count).then_some(keys)
        })
        .await
    }

    /// Waits until logins give tokens of this key, and gives one. A login may be tried ten times a
    /// minute.
    async fn signs_with(&self, wanted: &str) -> String {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let token = self.login().await;
            if kid(&token) == wanted {
                return token;
            }
        }
        panic!("{wanted} does not sign");
    }

    async fn soon<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        for _ in 0..250 {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what}: not within seconds");
    }

    /// As if this much time had passed for the keys.
    async fn later(&self, interval: &str) {
        let sql = format!(
            "update rolegate.signing_key set created_at = created_at - interval '{interval}', \
             activated_at = activated_at - interval '{interval}', \
             retired_at = retired_at - interval '{interval}'"
        );
        self.superuser
            .batch_execute(&sql)
            .await
            .expect("the clock is moved");
    }

    async fn rotate(&self, more: &[&str]) -> String {
        let data_dir = self.installation.data_dir();
        let arguments = [&["keys", "rotate", "--data-dir", data_dir], more].concat();
        let finished = finishes(&arguments).await;
        assert!(finished.success, "{}", finished.text);
        finished.text
    }
}

/// The name of the key that signed a token.
fn kid(token: &str) -> String {
    let header = token.split('.').next().expect("a header");
    // base64url: six bits for each letter.
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in header.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            _ => 63,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count).to_le_bytes()[0]);
        }
    }
    let header: Value = serde_json::from_slice(&bytes).expect("JSON");
    header["kid"].as_str().expect("a name").to_owned()
}

fn only(keys: &BTreeSet<String>) -> String {
    let mut keys = keys.iter();
    let first = keys.next().expect("a key").clone();
    assert_eq!(keys.next(), None);
    first
}

/// From a new key's publication to the last day of the one before it.
async fn hands_over(stage: &Stage, old: &str, new: &str) {
    let both: BTreeSet<String> = [old, new].map(str::to_owned).into();
    let before = stage.login().await;
    assert_eq!(kid(&before), old, "nobody may know the new key yet");
    stage.later("9 minutes 30 seconds").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(kid(&stage.login().await), old, "too early");
    stage.later("1 minute").await;
    let after = stage.signs_with(new).await;
    assert_eq!(stage.published().await, both);
    for token in [&before, &after] {
        assert_eq!(stage.says(token).await, 200);
    }
    // The old key verifies for a day.
    stage.later("23 hours 50 minutes").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(stage.published().await, both);
    assert_eq!(stage.says(&before).await, 200);
    stage.later("10 minutes").await;
    assert_eq!(only(&stage.publishes(1).await), new);
    assert_eq!(stage.says(&before).await, 401);
    assert_eq!(stage.says(&after).await, 200);
}

async fn keys_change_while_it_runs(postgres: &str) {
    let stage = Stage::start(postgres).await;
    let first = only(&stage.published().await);
    let said = stage.rotate(&[]).await;
    assert!(said.contains("it signs ten minutes later"), "{said}");
    let both = stage.publishes(2).await;
    assert!(both.contains(&first));
    let second = only(&both.into_iter().filter(|key| *key != first).collect());
    hands_over(&stage, &first, &second).await;

    // One that somebody knows, with another waiting for its turn.
    stage.rotate(&[]).await;
    let known = stage.publishes(2).await;
    let stolen = stage.login().await;
    assert_eq!(stage.says(&stolen).await, 200);
    let said = stage.rotate(&["--now"]).await;
    assert!(said.contains("2 keys revoked"), "{said}");
    let next = stage
        .soon("a new key is published", async || {
            let keys = stage.published().await;
            (keys.len() == 1 && keys.is_disjoint(&known)).then_some(keys)
        })
        .await;
    let token = stage.login().await;
    assert_eq!(kid(&token), only(&next), "it signs at once");
    assert_eq!(stage.says(&token).await, 200);
    assert_eq!(stage.says(&stolen).await, 401);
    drop(stage.superuser);
    assert!(stage.installation.stop().await);
}

/// A key made elsewhere with the same sealing key, stored by the operator.
async fn a_key_that_is_brought_takes_over(postgres: &str) {
    let stage = Stage::start(postgres).await;
    let first = only(&stage.published().await);
    let seal = std::fs::read_to_string(format!("{}/seal.key", stage.installation.data_dir()));
    let brought = bring(&stage, seal.expect("seal.key").trim()).await;
    let both = stage.publishes(2).await;
    assert_eq!(both, [first.clone(), brought.clone()].into());
    hands_over(&stage, &first, &brought).await;
    drop(stage.superuser);
    assert!(stage.installation.stop().await);
}

/// One that our sealing key does not open is nobody's.
async fn a_key_of_another_seal_is_not_believed(postgres: &str) {
    let stage = Stage::start(postgres).await;
    let first = only(&stage.published().await);
    let before = stage.login().await;
    bring(&stage, &"5a".repeat(32)).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(only(&stage.published().await), first);
    assert_eq!(stage.says(&before).await, 200);
    stage.later("11 minutes").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(only(&stage.published().await), first);
    assert_eq!(stage.says(&before).await, 200);
    // The stored key stands in the way of one of ours until it is revoked.
    stage.rotate(&["--now"]).await;
    let next = stage
        .soon("a new key is published", async || {
            let keys = stage.published().await;
            (keys.len() == 1 && !keys.contains(&first)).then_some(keys)
        })
        .await;
    let after = stage.login().await;
    assert_eq!(kid(&after), only(&next));
    assert_eq!(stage.says(&after).await, 200);
    assert_eq!(stage.says(&before).await, 401);
    drop(stage.superuser);
    assert!(stage.installation.stop().await);
}

/// Stores a new key, sealed with 64 hex digits, as the operator; gives its name.
async fn bring(stage: &Stage, seal: &str) -> String {
    let seal: Vec<u8> = (0..32)
        .map(|i| u8::from_str_radix(&seal[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    let seal = SealingKey::from_bytes(&seal).expect("a sealing key");
    let (_, stored) = SigningKey::generate(&seal, SystemClock.now()).expect("a key");
    let url = stage.installation.database_url();
    let url = url.replace("//postgres@", "//operator@");
    let (operator, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .expect("the operator logs in");
    tokio::spawn(connection);
    operator
        .execute(
            "select rolegate.store_signing_key($1, $2, $3::text::jsonb, $4::bytea)",
            &[
                &stored.kid,
                &stored.algorithm,
                &stored.public_jwk,
                &stored.sealed_private,
            ],
        )
        .await
        .expect("stored");
    stored.kid
}

#[tokio::test]
async fn keys_change_while_it_runs_on_15() {
    keys_change_while_it_runs("system:15").await;
}

#[tokio::test]
async fn keys_change_while_it_runs_on_18() {
    keys_change_while_it_runs("wheel").await;
}

#[tokio::test]
async fn a_key_that_is_brought_takes_over_on_15() {
    a_key_that_is_brought_takes_over("system:15").await;
}

#[tokio::test]
async fn a_key_that_is_brought_takes_over_on_18() {
    a_key_that_is_brought_takes_over("wheel").await;
}

#[tokio::test]
async fn a_key_of_another_seal_is_not_believed_on_15() {
    a_key_of_another_seal_is_not_believed("system:15").await;
}

#[tokio::test]
async fn a_key_of_another_seal_is_not_believed_on_18() {
    a_key_of_another_seal_is_not_believed("wheel").await;
}
