use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret;

use super::*;

#[derive(Debug, Default)]
struct Store {
    rows: Mutex<Vec<([u8; 32], ApiTokenRecord)>>,
    queries: AtomicUsize,
    fails: std::sync::atomic::AtomicBool,
    /// With it, an answer that was read already is held back until told.
    held_back: Option<tokio::sync::Notify>,
}

impl Store {
    fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    fn change(&self, change: impl Fn(&mut ApiTokenRecord)) {
        self.rows
            .lock()
            .expect("not poisoned")
            .iter_mut()
            .for_each(|(_, row)| change(row));
    }
}

impl ApiTokenStore for Store {
    fn find<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<ApiTokenRecord>, StoreError>> {
        async move {
            self.queries.fetch_add(1, Ordering::SeqCst);
            if self.fails.load(Ordering::SeqCst) {
                return Err("the connection is closed".into());
            }
            let row = {
                let rows = self.rows.lock().expect("not poisoned");
                rows.iter()
                    .find(|(known, _)| known == hash)
                    .map(|(_, row)| row.clone())
            };
            if let Some(told) = &self.held_back {
                told.notified().await;
            }
            Ok(row)
        }
        .boxed()
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
}

fn setup(options: ApiTokenOptions) -> (Arc<Store>, ApiTokens, String) {
    setup_with(Store::default(), options)
}

fn setup_with(store: Store, options: ApiTokenOptions) -> (Arc<Store>, ApiTokens, String) {
    let (text, token) = ApiToken::generate().expect("random numbers");
    let store = Arc::new(store);
    let row = ApiTokenRecord {
        token_id: Uuid::from_u128(7),
        role_name: "alice".into(),
        role_oid: 4711,
        scopes: Some(r#"{"functions":["api.read_*"]}"#.into()),
        created_at: at(-100),
        expires_at: Some(at(100)),
        revoked: false,
    };
    store
        .rows
        .lock()
        .expect("not poisoned")
        .push((*token.hash(), row));
    let tokens = ApiTokens::new(Arc::clone(&store) as _, options);
    (store, tokens, text.expose_secret().to_owned())
}

async fn code(tokens: &ApiTokens, bearer: &str, now: Timestamp) -> Option<ErrorCode> {
    tokens
        .verify(bearer, now)
        .await
        .err()
        .map(|error| error.code())
}

#[tokio::test]
async fn a_token_is_looked_up_once_and_says_what_its_row_says() {
    let (store, tokens, text) = setup(ApiTokenOptions::default());
    let verified = tokens.verify(&text, at(0)).await.expect("known");
    assert_eq!(verified.role.as_str(), "alice");
    assert_eq!(verified.origin, Origin::Stored { role_oid: 4711 });
    assert_eq!(verified.token_id.as_ref(), Uuid::from_u128(7).to_string());
    assert!(
        verified
            .scopes
            .as_ref()
            .expect("scoped")
            .allows_function("api.read_x")
    );
    assert!(!verified.claims.contains(&text));
    tokens.verify(&text, at(59)).await.expect("remembered");
    assert_eq!(store.queries(), 1);
    assert_eq!(tokens.take_used(), [Uuid::from_u128(7)]);
    assert_eq!(tokens.take_used(), [] as [Uuid; 0]);
}

#[tokio::test]
async fn what_cannot_be_ours_costs_no_query() {
    let (store, tokens, text) = setup(ApiTokenOptions::default());
    let (digits, imported) = ("0".repeat(64), "a".repeat(64));
    for bearer in [
        "rg_",
        "rg_abc",
        &format!("rg_{digits}00000000"),
        &text[..70],
        &imported,
    ] {
        assert_eq!(
            code(&tokens, bearer, at(0)).await,
            Some(ErrorCode::TokenInvalid),
            "{bearer}"
        );
    }
    assert_eq!(store.queries(), 0);
}

#[tokio::test]
async fn an_unknown_token_costs_one_query_until_something_changes() {
    let (store, tokens, _) = setup(ApiTokenOptions::default());
    let (other, _) = ApiToken::generate().expect("random numbers");
    for _ in 0..3 {
        let refused = code(&tokens, other.expose_secret(), at(0)).await;
        assert_eq!(refused, Some(ErrorCode::TokenInvalid));
    }
    assert_eq!(store.queries(), 1);
    tokens.forget_all();
    code(&tokens, other.expose_secret(), at(0)).await;
    assert_eq!(store.queries(), 2);
    assert_eq!(tokens.take_used(), [] as [Uuid; 0]);
}

#[tokio::test]
async fn revocation_counts_from_forgetting_on_and_after_a_minute_at_the_latest() {
    let (store, tokens, text) = setup(ApiTokenOptions::default());
    assert_eq!(code(&tokens, &text, at(0)).await, None);
    store.change(|row| row.revoked = true);
    tokens.forget_all();
    assert_eq!(
        code(&tokens, &text, at(1)).await,
        Some(ErrorCode::TokenRevoked)
    );

    let (store, tokens, text) = setup(ApiTokenOptions::default());
    assert_eq!(code(&tokens, &text, at(0)).await, None);
    store.change(|row| row.revoked = true);
    assert_eq!(
        code(&tokens, &text, at(60)).await,
        Some(ErrorCode::TokenRevoked)
    );
}

#[tokio::test]
async fn an_answer_from_before_the_revocation_is_not_remembered() {
    let slow = Store {
        held_back: Some(tokio::sync::Notify::new()),
        ..Store::default()
    };
    let (store, tokens, text) = setup_with(slow, ApiTokenOptions::default());
    let told = store.held_back.as_ref().expect("held back");
    let mut first = Box::pin(tokens.verify(&text, at(0)));
    assert!(
        futures_util::poll!(first.as_mut()).is_pending(),
        "the row was read"
    );
    store.change(|row| row.revoked = true);
    tokens.forget_all();
    told.notify_one();
    first.await.expect("it was asked before");
    told.notify_one();
    assert_eq!(
        code(&tokens, &text, at(0)).await,
        Some(ErrorCode::TokenRevoked)
    );
}

#[tokio::test]
async fn expiry_is_checked_at_each_use() {
    let (store, tokens, text) = setup(ApiTokenOptions::default());
    assert_eq!(code(&tokens, &text, at(99)).await, None);
    assert_eq!(
        code(&tokens, &text, at(100)).await,
        Some(ErrorCode::TokenExpired)
    );
    assert_eq!(store.queries(), 1, "the second answer came from memory");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_refused() {
    for (scopes, role, expected) in [
        ("{\"function\":[]}", "alice", ErrorCode::TokenInvalid),
        ("[]", "alice", ErrorCode::TokenInvalid),
        ("{}", "none", ErrorCode::RoleReserved),
        ("{}", "pg_monitor", ErrorCode::RoleReserved),
    ] {
        let (store, tokens, text) = setup(ApiTokenOptions::default());
        store.change(|row| {
            row.scopes = Some(scopes.into());
            row.role_name = role.into();
        });
        assert_eq!(
            code(&tokens, &text, at(0)).await,
            Some(expected),
            "{scopes} {role}"
        );
    }
}

#[tokio::test]
async fn a_failing_database_is_neither_yes_nor_no() {
    let (store, tokens, text) = setup(ApiTokenOptions::default());
    store.fails.store(true, Ordering::SeqCst);
    assert_eq!(
        code(&tokens, &text, at(0)).await,
        Some(ErrorCode::DatabaseUnavailable)
    );
    store.fails.store(false, Ordering::SeqCst);
    assert_eq!(
        code(&tokens, &text, at(0)).await,
        None,
        "the failure is not remembered"
    );
}

#[tokio::test]
async fn imported_tokens_only_where_they_are_switched_on() {
    let imported = "ab".repeat(32);
    let hash = *ApiToken::parse_imported(&imported)
        .expect("the peer's shape")
        .hash();
    for switched_on in [false, true] {
        let (store, tokens, _) = setup(ApiTokenOptions {
            imported: switched_on,
            ..ApiTokenOptions::default()
        });
        store.rows.lock().expect("not poisoned")[0].0 = hash;
        assert_eq!(tokens.is_meant(&imported), switched_on);
        assert_eq!(code(&tokens, &imported, at(0)).await.is_none(), switched_on);
    }
}
