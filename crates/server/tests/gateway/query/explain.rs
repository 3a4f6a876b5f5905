//! What an explanation says, and to whom.

use rolegate_testkit::for_each_version;
use serde_json::{Value, json};

use super::Setting;
use crate::harness::{Options, outcome};

const MORE: &str = "
    create table api.parts (id int primary key, open text, hidden text);
    grant select (id, open) on api.parts to public;
    create view api.timed as select id, now() as at from api.open;
    grant select on api.timed to public;
    create function api.lower(int) returns text language sql stable as 'select null::text';
    revoke execute on function api.lower(int) from public;
    create aggregate api.most(int) (sfunc = int4larger, stype = int);
";

impl Setting {
    async fn explain(&self, token: Option<&str>, body: &Value) -> Value {
        let url = format!("http://{}/query/explain", self.gateway.address);
        let request = self.gateway.client.post(url);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let request = request.header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await;
        let answer = answer.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("text");
        assert_eq!(status, 200, "{body}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    async fn why(&self, sql: &str) -> Value {
        self.explain(Some(&self.token), &json!({"sql": sql})).await
    }

    async fn why_for_nobody(&self, sql: &str) -> Value {
        self.explain(None, &json!({"sql": sql})).await
    }
}

#[tokio::test]
async fn it_names_the_relation_that_decided_and_the_grants() {
    for_each_version(async |db| {
        let setting = Setting::lay_more(db, Options::default(), MORE).await;
        let member = &setting.member;
        let grants = format!(
            "grant select on api.parts to \"{member}\"; grant usage on schema back to \"{member}\""
        );
        let owner = db.superuser().await;
        owner.batch_execute(&grants).await.expect("granted");
        let everybody = json!(["PUBLIC"]);
        let own = json!([member]);
        let none = json!([]);
        for (sql, relation, decided, granted, columns) in [
            ("select secret from closed", "api.closed", "SELECT", &own, &none),
            (
                "select id from back.granted",
                "back.granted",
                "USAGE on schema back",
                &everybody,
                &none,
            ),
            (
                "select id, hidden from parts",
                "api.parts",
                "SELECT on all of its columns",
                &own,
                &everybody,
            ),
        ] {
            let why = setting.why(sql).await;
            assert_eq!(why["scope"], "private", "{why}");
            let expected = json!({"relation": relation, "anonymous_lacks": decided});
            assert_eq!(why["decided_by"], expected, "{sql}");
            let expected = json!([{
                "relation": relation, "granted_to": granted, "columns_granted_to": columns, "policies": null,
            }]);
            assert_eq!(why["access"], expected, "{sql}");
            assert_eq!(why["cache_key"], Value::Null, "{sql}");
        }
        let secured = setting.why("select id from open join docs using (id)").await;
        let expected = json!({"relation": "api.docs", "policies": ["by_org"]});
        assert_eq!(secured["decided_by"], expected);
        assert_eq!(secured["access"][0]["policies"], json!(["by_org"]));
        assert_eq!(secured["access"][0]["granted_to"], everybody);
        assert_eq!(secured["access"][1]["policies"], Value::Null);
        let public = setting.why("select id from open").await;
        assert_eq!(public["decided_by"], Value::Null);
        assert_eq!(public["access"][0]["granted_to"], everybody);
    })
    .await;
}

#[tokio::test]
async fn it_says_of_each_function_what_it_means_for_keeping() {
    for_each_version(async |db| {
        let setting = Setting::lay_more(db, Options::default(), MORE).await;
        let sql = "select lower(name) as a, to_char(at, 'YYYY') as b, now() as c, api.plain(id) as d, random() as e
            from open group by id";
        let why = setting.why(sql).await;
        let kept = |name: &str| {
            let functions = why["functions"].as_array().expect("a list").iter();
            let of_name = functions.filter(|function| function["name"] == name);
            let kept = of_name.map(|function| function["can_be_kept"].as_bool());
            kept.map(|kept| kept.expect("yes or no")).collect::<Vec<_>>()
        };
        for (name, expected) in [
            ("pg_catalog.lower", &[true][..]),
            ("api.lower", &[false]),
            ("pg_catalog.to_char", &[true]),
            ("pg_catalog.now", &[false]),
            ("api.plain", &[true]),
            ("pg_catalog.random", &[false]),
            ("pg_catalog.upper", &[]),
        ] {
            let found = kept(name);
            // Overloads of PostgreSQL's may be of two kinds.
            assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{name}: {why}");
        }
        let most = setting.why("select most(id) as a from open").await;
        let said = most["functions"][0]["why"].as_str().expect("text");
        assert!(said.contains("aggregate"), "{most}");
    })
    .await;
}

#[tokio::test]
async fn nobody_hears_of_what_he_may_not_see() {
    for_each_version(async |db| {
        let setting = Setting::lay_more(db, Options::default(), MORE).await;
        // What is behind a view.
        let sql = "select secret from through";
        let why = setting.why(sql).await;
        assert_eq!(why["access"][0]["relation"], "api.closed");
        assert_eq!(why["access"][0]["granted_to"], json!([]));
        let nobody = setting.why_for_nobody(sql).await;
        assert_eq!(
            nobody["access"].as_array().map(Vec::len),
            Some(1),
            "{nobody}"
        );
        assert_eq!(nobody["access"][0]["relation"], "api.through");
        assert!(!nobody.to_string().contains("closed"), "{nobody}");
        let sql = "select id from timed";
        let why = setting.why(sql).await;
        assert_eq!(why["functions"][0]["name"], "pg_catalog.now");
        assert_eq!(why["functions"][0]["in_view"], true);
        let nobody = setting.why_for_nobody(sql).await;
        assert_eq!(nobody["functions"], json!([]));
        // Functions that he can't call.
        let nobody = setting
            .why_for_nobody("select lower(name) as a from open")
            .await;
        assert!(!nobody.to_string().contains("api.lower"), "{nobody}");
        assert_eq!(nobody["functions"][0]["name"], "pg_catalog.lower");
        // Relations.
        for sql in [
            "select secret from closed",
            "select id from docs",
            "select id from absent",
        ] {
            let url = format!("http://{}/query/explain", setting.gateway.address);
            let request = setting.gateway.client.post(url);
            let request = request.header("content-type", "application/json");
            let (status, code, body) =
                crate::harness::outcome(request.body(json!({"sql": sql}).to_string())).await;
            assert_eq!((status, &*code), (401, "query_private"), "{sql}");
            assert!(
                !body.contains("closed") && !body.contains("docs") && !body.contains("absent"),
                "{body}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn the_key_is_the_one_in_the_address() {
    for_each_version(async |db| {
        let follow = Options {
            follow: true,
            ..Options::default()
        };
        let setting = Setting::lay_with(db, follow).await;
        let body = json!({"sql": "select name from open where id = $1", "params": [1]});
        let why = setting.explain(None, &body).await;
        let key = &why["cache_key"];
        assert_eq!(
            key["of"],
            json!({
                "database": "app",
                "format": "application/json",
                "sql": body["sql"],
                "params": ["1"],
            })
        );
        let whole = setting
            .ask(None, &body)
            .header("prefer", "return=representation");
        let answer = whole.send().await.expect("an answer");
        let place = answer.headers()["content-location"].to_str().expect("text");
        let hash = key["hash"].as_str().expect("a hash");
        assert!(place.starts_with(&format!("/q/{hash}/")), "{place} {hash}");
        let same = setting.explain(Some(&setting.token), &body).await;
        assert_eq!(&same["cache_key"], key);
        // What is not kept has none.
        let moving = json!({"sql": "select $1::date as a", "params": ["today"]});
        let moving = setting.explain(None, &moving).await;
        assert_eq!(moving["can_be_kept"], false, "{moving}");
        assert!(
            moving["why_not_kept"][0]
                .as_str()
                .is_some_and(|why| why.contains("$1")),
            "{moving}"
        );
        assert_eq!(moving["cache_key"], Value::Null);
    })
    .await;
}

/// What is asked of the catalog costs, also of a text that is known.
#[tokio::test]
async fn explanations_count_for_the_budget() {
    for_each_version(async |db| {
        let budget =
            "select rolegate.set_budget('rolegate_anonymous', 10, null, null, null, null);";
        let setting = Setting::lay_more(db, Options::default(), budget).await;
        let sql = "select id from open";
        // Looked at, planned, and explained.
        setting.why_for_nobody(sql).await;
        let url = format!("http://{}/query/explain", setting.gateway.address);
        let ask = |token: Option<&str>| {
            let post = setting.gateway.client.post(&url).json(&json!({"sql": sql}));
            match token {
                Some(token) => post.bearer_auth(token),
                None => post,
            }
        };
        let all = (0..100).map(|_| outcome(ask(None)));
        let all = futures_util::future::join_all(all).await;
        let refused = all
            .iter()
            .filter(|(status, code, _)| (*status, &**code) == (429, "budget_exceeded"));
        assert!(refused.count() > 0, "nobody was refused");
        // Others have budgets of their own.
        let (status, _, body) = outcome(ask(Some(&setting.token))).await;
        assert_eq!(status, 200, "{body}");
    })
    .await;
}
