//! Temporary objects that an earlier call has left, or tried to leave.

use reqwest::StatusCode;
use rolegate_server::config::Mode;
use rolegate_testkit::{Admitted, for_each_version};
use serde_json::{Value, json};

use super::Kept;
use crate::harness::{Options, outcome};

/// Its author may make what callers may not; it does so in the caller's session.
const MORE: &str = "
    create function api.shadow() returns int language plpgsql security definer as $$ begin
        create temp table if not exists item (id int, note text);
        insert into pg_temp.item values (7, 'forged');
        create temp table if not exists closed (id int, secret text);
        insert into pg_temp.closed values (1, 'forged');
        create or replace temp view items as select 7 as id, 'forged'::text as note;
        create or replace function pg_temp.plain(a int) returns int language sql immutable as 'select -1';
        grant select on pg_temp.item, pg_temp.items, pg_temp.closed to public;
        perform set_config('search_path', 'pg_temp, api', false);
        return 1;
    end $$;
    grant execute on function api.shadow() to public;
";

#[tokio::test]
async fn nothing_temporary_stands_for_a_table() {
    for mode in [Mode::Login, Mode::Assume] {
        for_each_version(async |db| {
            // Whoever comes next is on the same connection.
            let options = Options {
                mode,
                connections_per_login: 1,
                ..Options::default()
            };
            let kept = Kept::lay_with(db, options).await;
            kept.run(MORE).await;
            let (attributes, admitted) = match mode {
                Mode::Login => ("login", Admitted::Login),
                Mode::Assume => ("nologin", Admitted::Assume),
            };
            let other = db.create_role_with("other", attributes, admitted).await;
            kept.run(&format!(
                "grant usage on schema api to \"{other}\"; select rolegate.declare_safe('api.shadow()')"
            ))
            .await;
            let gateway = &kept.setting.gateway;
            let other = gateway.token(&other).await;
            let token = kept.setting.token.as_str();
            let texts = [
                ("select note from item where id = 7", json!([{"note": "note 7"}])),
                ("select note from items where id = 7", json!([{"note": "note 7"}])),
                ("select plain(1) as a from open where id = 1", json!([{"a": 2}])),
            ];
            for round in 0..3 {
                for caller in [None, Some(token), Some(&other)] {
                    let called = async || outcome(gateway.post("/shadow", caller, "{}")).await;
                    let mut answer = called().await;
                    // The function is a new one.
                    while answer.1 == "not_found" || answer.1 == "function_not_found" {
                        answer = called().await;
                    }
                    assert_eq!(answer.0, 200, "{mode:?}: {answer:?}");
                    for (sql, rows) in &texts {
                        // Not from what is kept.
                        let sql = format!("{sql} -- {round} {}", caller.is_some());
                        assert_eq!(kept.rows_of(&sql).await, *rows, "{mode:?}: {sql}");
                    }
                    let body = json!({"sql": "select secret, plain(1) as a from closed"});
                    let asked = kept.post(&body).bearer_auth(token).send().await;
                    let answer = asked.expect("an answer");
                    let status = answer.status();
                    let text = answer.text().await.expect("text");
                    if mode == Mode::Assume && status == StatusCode::UNPROCESSABLE_ENTITY {
                        // Functions of users may not be named there.
                        let body = json!({"sql": "select secret from closed"});
                        let rows: Value = kept.setting.rows(&body).await;
                        assert_eq!(rows, json!([{"secret": "hidden treasure"}]));
                        continue;
                    }
                    assert_eq!(status, StatusCode::OK, "{text}");
                    let rows: Value = serde_json::from_str(&text).expect("JSON");
                    assert_eq!(rows, json!([{"secret": "hidden treasure", "a": 2}]), "{mode:?}");
                }
            }
            let row = db
                .superuser()
                .await
                .query_one("select count(*) from pg_class where relpersistence = 't'", &[])
                .await
                .expect("a row");
            assert_eq!(row.get::<_, i64>(0), 0, "nothing is left");
        })
        .await;
    }
}
