//! One call on every version and in both modes.

use reqwest::StatusCode;
use rolegate_server::config::Mode;
use rolegate_testkit::{Admitted, for_each_version};

use crate::harness::{Gateway, Options, api};

#[tokio::test]
async fn a_call_runs_as_its_caller_in_both_modes() {
    for_each_version(async |db| {
        for (mode, base, attributes, admitted) in [
            (Mode::Login, "at_login", "login", Admitted::Login),
            (Mode::Assume, "assumed", "nologin", Admitted::Assume),
        ] {
            let role = db.create_role_with(base, attributes, admitted).await;
            api(
                db,
                &[&role],
                "create or replace function api.who() returns json language sql stable as \
                 $$select json_build_object('user', current_user, \
                 'claimed', rolegate.claim('sub'))$$",
            )
            .await;
            let options = Options {
                mode,
                ..Options::default()
            };
            let gateway = Gateway::start_with(db, options).await;
            let token = gateway.token(&role).await;
            let (status, body) = gateway.call(&token, "who", "").await;
            assert_eq!(status, StatusCode::OK, "{body}");
            let who: serde_json::Value = serde_json::from_str(&body).expect("json");
            assert_eq!(who["user"], role.as_str(), "{mode:?}");
            assert_eq!(who["claimed"], role.as_str(), "{mode:?}");
        }
    })
    .await;
}
