//! Kept answers in compressed forms: made once, given to everybody who takes them.

use reqwest::{Client, Response, StatusCode};
use rolegate_testkit::for_each_version;
use serde_json::json;

use super::Setting;
use crate::harness::Options;

const MORE: &str = "
    create table api.long (id int primary key, words text not null);
    insert into api.long select g, repeat('words ', 20) || g from generate_series(1, 200) g;
    grant select on api.long to public;
";

async fn get(url: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::builder().no_proxy().no_gzip().no_brotli().no_zstd();
    let mut request = client.build().expect("a client").get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer")
}

fn header<'r>(answer: &'r Response, name: &str) -> &'r str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn each_client_gets_the_form_it_takes() {
    for_each_version(async |db| {
        let options = Options {
            follow: true,
            ..Options::default()
        };
        let setting = Setting::lay_more(db, options, MORE).await;
        let base = format!("http://{}", setting.gateway.address);
        let asked = Client::new()
            .post(format!("{base}/query"))
            .header("prefer", "return=representation")
            .json(&json!({"sql": "select * from long order by id"}))
            .send()
            .await
            .expect("an answer");
        assert_eq!(asked.status(), StatusCode::OK);
        let url = format!("{base}{}", header(&asked, "content-location"));
        let plain = asked.bytes().await.expect("a body");
        assert!(plain.len() > 20_000);

        for (accepted, coding) in [
            ("gzip", "gzip"),
            ("br", "br"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip;q=1, br;q=0.5", "gzip"),
        ] {
            let mut bodies = Vec::new();
            for _ in 0..2 {
                let answer = get(&url, &[("accept-encoding", accepted)]).await;
                assert_eq!(answer.status(), StatusCode::OK);
                assert_eq!(header(&answer, "content-encoding"), coding, "{accepted}");
                assert!(header(&answer, "etag").starts_with("W/"), "other bytes");
                let vary = answer.headers().get_all("vary").iter();
                let vary: Vec<_> = vary.map(|value| value.to_str().expect("text")).collect();
                assert_eq!(
                    vary.join(", ").matches("accept-encoding").count(),
                    1,
                    "{vary:?}"
                );
                let length: usize = header(&answer, "content-length").parse().expect("a length");
                let body = answer.bytes().await.expect("a body");
                assert_eq!(body.len(), length);
                bodies.push(body);
            }
            assert!(bodies[0].len() < plain.len() / 5, "{accepted}");
            assert_eq!(bodies[0], bodies[1], "{accepted}");
        }
        for accepted in ["identity", "gzip;q=0", "deflate"] {
            let answer = get(&url, &[("accept-encoding", accepted)]).await;
            assert_eq!(header(&answer, "content-encoding"), "", "{accepted}");
            assert!(header(&answer, "etag").starts_with('"'));
            let mut vary = answer.headers().get_all("vary").iter();
            assert!(vary.any(|value| value == "accept-encoding"), "{accepted}");
            assert_eq!(answer.bytes().await.expect("a body"), plain, "{accepted}");
        }
        let answer = get(&url, &[("accept-encoding", "gzip")]).await;
        let tag = header(&answer, "etag").to_owned();
        let unchanged = [("accept-encoding", "gzip"), ("if-none-match", tag.as_str())];
        let answer = get(&url, &unchanged).await;
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
    })
    .await;
}
