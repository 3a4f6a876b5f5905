//! The operator of a development server mints tokens for its people, and is none of them.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::installation::Installation;

/// What the operator would have if he had alice's rights: her table, rows that a policy shows to
/// her, and her role itself.
const FUNCTIONS: &str = "
    create table public.hers (n int); alter table public.hers owner to alice;
    create table public.shown (n int); alter table public.shown enable row level security;
    grant select on public.shown to operator, alice;
    create policy to_alice on public.shown to alice using (true);
    insert into public.shown values (1);
    create function api.whoami() returns text language sql stable
        begin atomic select current_user::text; end;
    create function api.hers() returns bigint language sql stable
        begin atomic select count(*) from public.hers; end;
    create function api.shown() returns bigint language sql stable
        begin atomic select count(*) from public.shown; end;
    create function api.become(who text) returns text language plpgsql as $$ begin
        execute format('set role %I', who); return current_user; end $$;
    grant execute on function api.whoami(), api.hers(), api.shown(), api.become(text)
        to operator, alice;";

struct Client<'a> {
    record: &'a Value,
    http: reqwest::Client,
}

impl Client<'_> {
    fn token(&self, who: &str) -> &str {
        let token = self.record["users"][who]["token"].as_str();
        token.unwrap_or_else(|| panic!("no token of {who}"))
    }

    async fn post(&self, url: &str, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        let url = format!("{}{path}", self.record[url].as_str().expect("a URL"));
        let request = self.http.post(url).bearer_auth(token).json(body);
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        (status, answer.json().await.expect("JSON"))
    }

    async fn mint(&self, minter: &str, role: &str) -> (StatusCode, Value) {
        let body = json!({"role": role, "expires_in": 3600});
        self.post("console_url", "/v1/app/tokens", self.token(minter), &body)
            .await
    }

    async fn call(&self, token: &str, function: &str, body: &Value) -> (StatusCode, Value) {
        let path = format!("/api/app/{function}");
        // The function may be younger than the last look at the catalog.
        for _ in 0..40 {
            let answer = self.post("gateway_url", &path, token, body).await;
            if answer.0 != StatusCode::NOT_FOUND {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{function} does not appear");
    }
}

async fn the_operator_mints_for_people_and_is_none_of_them(postgres: &str, options: bool) {
    let installation = Installation::start(postgres, &["--example", "expenses"]).await;
    let superuser = installation.superuser().await;
    superuser.batch_execute(FUNCTIONS).await.expect(FUNCTIONS);
    let record = installation.record();
    let client = Client {
        record: &record,
        http: reqwest::Client::new(),
    };
    for role in ["alice", "bob", "carol", "dave"] {
        let (status, minted) = client.mint("operator", role).await;
        assert_eq!(status, StatusCode::CREATED, "{role}: {minted}");
        if role == "alice" {
            let token = minted["token"].as_str().expect("a token");
            let (status, who) = client.call(token, "whoami", &json!({})).await;
            assert_eq!((status, who), (StatusCode::OK, json!("alice")));
        }
    }
    for (minter, role) in [
        ("viewer", "alice"),
        ("alice", "alice"),
        ("operator", "viewer"),
        ("operator", "employee"),
        ("operator", "postgres"),
        ("operator", "rolegate_owner"),
    ] {
        let (status, refused) = client.mint(minter, role).await;
        assert!(status.is_client_error(), "{minter} for {role}: {refused}");
    }

    let (alice, operator) = (client.token("alice"), client.token("operator"));
    for (function, hers, his) in [("hers", Some(0), None), ("shown", Some(1), Some(0))] {
        for (token, expected) in [(alice, hers), (operator, his)] {
            let (status, answer) = client.call(token, function, &json!({})).await;
            match expected {
                Some(count) => assert_eq!((status, answer), (StatusCode::OK, json!(count))),
                None => assert_eq!(status, StatusCode::FORBIDDEN, "{function}: {answer}"),
            }
        }
    }
    let (status, answer) = client
        .call(operator, "become", &json!({"who": "alice"}))
        .await;
    // Without options of memberships he can switch, as he can mint a token; staying is refused.
    let code = if options {
        "permission_denied"
    } else {
        "identity_changed"
    };
    assert_eq!(answer["code"], code, "{status}: {answer}");
    let rows = superuser
        .query(
            "select m.roleid::regrole::text from pg_auth_members m where m.admin_option \
                and m.member in ('operator'::regrole, to_regrole('operator_mints_for'))",
            &[],
        )
        .await
        .expect("rows");
    assert!(rows.is_empty(), "the operator may hand memberships on");
    let between = superuser
        .query_one("select to_regrole('operator_mints_for') is null", &[])
        .await
        .expect("a row");
    assert_eq!(between.get::<_, bool>(0), options);
    drop(superuser);
    assert!(installation.stop().await);
}

#[tokio::test]
async fn the_operator_mints_for_people_and_is_none_of_them_on_15() {
    the_operator_mints_for_people_and_is_none_of_them("system:15", false).await;
}

#[tokio::test]
async fn the_operator_mints_for_people_and_is_none_of_them_on_18() {
    the_operator_mints_for_people_and_is_none_of_them("wheel", true).await;
}
