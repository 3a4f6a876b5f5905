//! Pages of other origins.

use reqwest::Method;

use crate::installation::Installation;
use crate::program::finishes;

const OURS: [&str; 2] = ["http://localhost:5173", "http://127.0.0.1:3000"];
const ORIGIN: &str = "access-control-allow-origin";

#[tokio::test]
async fn pages_of_the_named_origins_may_follow_live_queries_and_no_others() {
    let more = OURS.map(|origin| ["--allow-origin", origin]).concat();
    let installation = Installation::start("system:15", &more).await;
    let url = installation.record()["gateway_url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.expect("a client");
    let allowed = |response: &reqwest::Response, name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().expect("ASCII").to_lowercase())
    };
    for (origin, known) in [
        (OURS[0], true),
        (OURS[1], true),
        ("http://localhost:5174", false),
        ("https://localhost:5173", false),
    ] {
        let asks = client
            .request(Method::OPTIONS, format!("{url}/query?live=true"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "authorization,content-type,last-event-id",
            );
        let may = asks.send().await.expect("an answer");
        assert_eq!(
            allowed(&may, ORIGIN).as_deref(),
            known.then_some(origin),
            "{origin}"
        );
        let headers = allowed(&may, "access-control-allow-headers").unwrap_or_default();
        for header in ["authorization", "content-type", "last-event-id"] {
            assert!(!known || headers.contains(header), "{header}: {headers}");
        }
        let live = client
            .post(format!("{url}/query?live=true"))
            .header("origin", origin)
            .header("content-type", "application/json")
            .body(r#"{"sql": "select 1 as one"}"#);
        let mut live = live.send().await.expect("an answer");
        assert_eq!(live.status(), 200);
        assert_eq!(allowed(&live, ORIGIN).as_deref(), known.then_some(origin));
        let first = live.chunk().await.expect("a stream").expect("rows");
        assert!(String::from_utf8_lossy(&first).contains("event: snapshot"));
    }
    assert!(installation.stop().await);
}

#[tokio::test]
async fn what_no_page_has_as_its_origin_is_refused() {
    for origin in [
        "*",
        "localhost:5173",
        "http://localhost:5173/",
        "http://Localhost",
        "http://",
        "file://x",
    ] {
        let refused = finishes(&["dev", "--allow-origin", origin]).await;
        assert!(!refused.success, "{origin}");
        assert!(
            refused.text.contains("expected an origin"),
            "{}",
            refused.text
        );
    }
}
