//! What is around the routes.

use reqwest::Method;
use rolegate_server::config::GatewayConfig;
use rolegate_server::router::ADMIN_ENDPOINTS;
use rolegate_testkit::for_each_version;
use serde_json::Value;

use crate::harness::Options;
use crate::setup::Console;

#[tokio::test]
async fn no_other_origin_reaches_the_console() {
    for_each_version(async |db| {
        let gateway = GatewayConfig {
            allowed_origins: vec!["*".to_owned()],
            ..GatewayConfig::default()
        };
        let options = Options {
            gateway,
            ..Options::default()
        };
        let console = Console::start_with(db, options).await;
        let ask = async |address| {
            let url = format!("http://{address}/api/app/who");
            let request = console.gateway.client.request(Method::OPTIONS, url);
            let request = request
                .header("origin", "https://elsewhere.example")
                .header("access-control-request-method", "POST")
                .header("access-control-request-headers", "authorization");
            let response = request.send().await.expect("an answer");
            response
                .headers()
                .contains_key("access-control-allow-origin")
        };
        assert!(ask(console.gateway.address).await, "the gateway allows it");
        assert!(!ask(console.address).await, "the console does");
    })
    .await;
}

#[tokio::test]
async fn paths_that_are_no_text_are_refused_like_everything_else() {
    for_each_version(async |db| {
        let console = Console::start(db).await;
        let mut asked = 0;
        for endpoint in ADMIN_ENDPOINTS {
            for part in ["database", "token_id", "id", "queue", "name"] {
                let braced = format!("{{{part}}}");
                if !endpoint.path.contains(&braced) {
                    continue;
                }
                asked += 1;
                let path = endpoint.path.replace(&braced, "%ff");
                let path = ["token_id", "id", "queue", "name"]
                    .iter()
                    .fold(path, |path, other| {
                        path.replace(&format!("{{{other}}}"), "x")
                    });
                let method = endpoint.method.parse().expect("a method");
                let response = console.request(method, &path, None).send().await;
                let response = response.expect("an answer");
                let kind = response.headers()["content-type"].clone();
                assert_eq!(kind, "application/problem+json", "{path}");
                assert_eq!(response.status().as_u16(), 400, "{path}");
                let problem: Value =
                    serde_json::from_str(&response.text().await.expect("a body")).expect("JSON");
                assert_eq!(problem["path"], part, "{path}");
                assert!(problem["request_id"].is_string(), "{problem}");
            }
        }
        let parts = ADMIN_ENDPOINTS
            .iter()
            .map(|endpoint| endpoint.path.matches('{').count());
        assert_eq!(asked, parts.sum::<usize>());
    })
    .await;
}
