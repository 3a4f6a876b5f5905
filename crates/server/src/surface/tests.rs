use std::future::poll_fn;

use http::{Request as HttpRequest, StatusCode};
use http_body_util::BodyExt as _;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::catch_panic::CatchPanicLayer;

use super::*;

/// What a route answers, by the path of the request.
fn answer(request: &Request) -> Response {
    let path = request.uri().path().to_owned();
    assert_ne!(path, "/panic", "secret");
    let mut response = Response::new(match path.as_str() {
        "/small" => Body::from("{}"),
        "/none" => Body::empty(),
        _ => Body::from("0123456789".repeat(100)),
    });
    let headers = response.headers_mut();
    let kind = match path.as_str() {
        "/events" => "text/event-stream",
        "/lines" => "application/x-ndjson",
        "/image" => "image/png",
        _ => "application/json",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let (name, value) = match path.as_str() {
        "/packed" => (header::CONTENT_ENCODING, "gzip"),
        "/range" => (header::CONTENT_RANGE, "bytes 0-9/10"),
        "/varies" => (header::VARY, "authorization, accept, Accept-Encoding"),
        "/varies-otherwise" => (header::VARY, "authorization"),
        "/exposes" => (header::ACCESS_CONTROL_EXPOSE_HEADERS, "x-own"),
        "/allows" => (header::ACCESS_CONTROL_ALLOW_ORIGIN, "https://own.example"),
        _ => (header::ETAG, "\"1\""),
    };
    headers.insert(name, HeaderValue::from_static(value));
    response
}

const PATHS: [&str; 13] = [
    "/small",
    "/none",
    "/large",
    "/events",
    "/lines",
    "/image",
    "/packed",
    "/range",
    "/varies",
    "/varies-otherwise",
    "/exposes",
    "/allows",
    "/panic",
];

type Route = BoxCloneSyncService<Request, Response, Infallible>;

/// The layers as they are made by their crate, each around the next, but for the tag of what was compressed.
fn layers(origins: &[String]) -> Route {
    let stack = ServiceBuilder::new()
        .map_response(|mut response: Response| {
            secure(response.headers_mut());
            response
        })
        .layer(cors(origins))
        .map_response(|response: http::Response<_>| weakened(response.map(Body::new)))
        .layer(CompressionLayer::new().compress_when(compressible()))
        .layer(CatchPanicLayer::custom(panicked))
        .service(service_fn(|request: Request| async move {
            Ok(answer(&request))
        }));
    BoxCloneSyncService::new(stack)
}

fn ours(origins: &[String]) -> Route {
    let layer = Surface::new("test", VisibleHeaders::new(&[]), origins);
    BoxCloneSyncService::new(layer.layer(service_fn(|request: Request| async move {
        Ok::<_, Infallible>(answer(&request))
    })))
}

fn request(method: &Method, path: &str, headers: &[(HeaderName, &str)]) -> Request {
    let mut request = HttpRequest::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.body(Body::empty()).expect("a request")
}

/// Status, headers and bytes; the request's id, which is new each time, only as being there.
async fn seen(mut route: Route, request: Request) -> (StatusCode, Vec<(String, String)>, Vec<u8>) {
    poll_fn(|context| route.poll_ready(context))
        .await
        .expect("ready");
    let response = route.call(request).await.expect("infallible");
    let mut headers: Vec<(String, String)> = response
        .headers()
        .iter()
        .map(|(name, value)| {
            let text = value.to_str().expect("ASCII");
            (name.to_string(), text.to_owned())
        })
        .filter(|(name, _)| *name != request::REQUEST_ID.as_str())
        .collect();
    headers.sort();
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body");
    (status, headers, body.to_bytes().to_vec())
}

/// What the layers add that means nothing to who sent no origin.
fn leave_out(origins: &[String], path: &str, headers: &mut Vec<(String, String)>) {
    let allowed = header::ACCESS_CONTROL_ALLOW_ORIGIN.as_str();
    let exposed = header::ACCESS_CONTROL_EXPOSE_HEADERS.as_str();
    if !origins.iter().any(|origin| origin == "*") {
        assert!(path == "/allows" || headers.iter().all(|(name, _)| name != allowed));
        headers.retain(|(name, _)| name != exposed);
        if path == "/exposes" {
            headers.push((exposed.to_owned(), "x-own".to_owned()));
            headers.sort();
        }
    }
    if origins.is_empty() {
        headers.retain(|header| *header != ("vary".to_owned(), "origin".to_owned()));
    }
}

#[tokio::test]
async fn answers_are_those_of_the_layers_it_stands_for() {
    const ENCODINGS: [Option<&str>; 7] = [
        None,
        Some("gzip, br"),
        Some("gzip, br, zstd"),
        Some("identity"),
        Some("gzip;q=0"),
        Some("identity;q=0"),
        Some(""),
    ];
    let mut compared = 0;
    let lists: [&[&str]; 3] = [&[], &["https://a.example"], &["*"]];
    for list in lists {
        let origins: Vec<String> = list.iter().map(ToString::to_string).collect();
        for path in PATHS {
            for method in [Method::GET, Method::POST, Method::OPTIONS] {
                for encoding in ENCODINGS {
                    for origin in [None, Some("https://a.example"), Some("https://b.example")] {
                        let headers: Vec<_> = [
                            encoding.map(|value| (header::ACCEPT_ENCODING, value)),
                            origin.map(|value| (header::ORIGIN, value)),
                        ]
                        .into_iter()
                        .flatten()
                        .collect();
                        let what = format!("{list:?} {method} {path} {headers:?}");
                        let mut expected =
                            seen(layers(&origins), request(&method, path, &headers)).await;
                        let found = seen(ours(&origins), request(&method, path, &headers)).await;
                        if origin.is_none() && method != Method::OPTIONS {
                            leave_out(&origins, path, &mut expected.1);
                        }
                        assert_eq!(found, expected, "{what}");
                        compared += 1;
                    }
                }
            }
        }
    }
    assert_eq!(compared, 3 * PATHS.len() * 3 * ENCODINGS.len() * 3);
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request() {
    for path in PATHS {
        for origin in [None, Some((header::ORIGIN, "https://a.example"))] {
            let mut headers = vec![(request::REQUEST_ID, "abc-1")];
            headers.extend(origin);
            let response = ours(&[])
                .oneshot(request(&Method::POST, path, &headers))
                .await
                .expect("infallible");
            assert_eq!(response.headers()[request::REQUEST_ID], "abc-1");
        }
    }
}

#[tokio::test]
async fn a_panic_is_a_problem_that_says_nothing_of_it() {
    let (status, headers, body) = seen(ours(&[]), request(&Method::GET, "/panic", &[])).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let kind = ("content-type".into(), "application/problem+json".into());
    assert!(headers.contains(&kind), "{headers:?}");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["code"], "internal");
    assert!(!body.to_string().contains("secret"));
    assert_eq!(body.get("request_id"), None);
}

/// The same route on two surfaces is counted twice, not together.
#[test]
fn requests_are_counted_for_their_surface() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            for (name, requests) in [("gateway", 1), ("console", 2)] {
                let layer = Surface::new(name, VisibleHeaders::new(&[]), &[]);
                let route = layer.layer(service_fn(|request: Request| async move {
                    Ok::<_, Infallible>(answer(&request))
                }));
                for _ in 0..requests {
                    let request = request(&Method::GET, "/small", &[]);
                    route.clone().oneshot(request).await.expect("infallible");
                }
            }
        });
    });
    let shown = recorder.handle().render();
    for (name, requests) in [("gateway", 1), ("console", 2)] {
        for line in [
            format!(
                "rolegate_http_requests_total{{surface=\"{name}\",route=\"none\",\
                 method=\"GET\",status=\"200\"}} {requests}"
            ),
            format!(
                "rolegate_http_request_duration_seconds_count{{surface=\"{name}\",\
                 route=\"none\"}} {requests}"
            ),
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
    }
}
