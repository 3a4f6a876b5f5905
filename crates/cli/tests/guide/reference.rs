//! The reference has every route, metric, log event, bound and error code, and no others.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use rolegate_model::ErrorCode;
use rolegate_server::problem::Problem;
use rolegate_server::router::{ADMIN_ENDPOINTS, GATEWAY_ROUTES};
use serde_json::Value;

use crate::book::{Page, root};
use crate::server::program;

#[test]
fn every_route_is_described() {
    let page = Page::read("docs/reference/http.md");
    let own = [("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics")];
    let expected: BTreeSet<String> = GATEWAY_ROUTES
        .iter()
        .copied()
        .chain(own)
        .map(|(method, path)| format!("{method} {path}"))
        .collect();
    let described: BTreeSet<String> = page
        .prose()
        .lines()
        .filter_map(|line| line.strip_prefix("### `"))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect();
    assert_same("docs/reference/http.md", &described, &expected);
}

#[test]
fn every_route_of_the_admin_api_is_in_a_table() {
    let page = Page::read("docs/reference/http.md");
    let expected: BTreeSet<String> = ADMIN_ENDPOINTS
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
        .collect();
    let described: BTreeSet<String> = page
        .prose()
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .filter(|cell| cell.contains(" /v1/"))
        .map(str::to_owned)
        .collect();
    assert_same("docs/reference/http.md", &described, &expected);
}

#[test]
fn every_metric_is_described() {
    let page = Page::read("docs/reference/metrics.md");
    let used: BTreeSet<String> = sources()
        .iter()
        .flat_map(|source| literals(source))
        .filter(|text| is_metric(text))
        .map(str::to_owned)
        .collect();
    let described: BTreeSet<String> = page
        .prose()
        .lines()
        .filter_map(|line| line.strip_prefix("### `"))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect();
    assert!(used.len() >= 10, "the sources have only {used:?}");
    assert_same("docs/reference/metrics.md", &described, &used);
}

#[test]
fn every_log_event_is_described() {
    let page = Page::read("docs/reference/logs.md");
    let logged: BTreeSet<String> = sources()
        .iter()
        .flat_map(|source| log_events(source))
        .collect();
    let described: BTreeSet<String> = page
        .prose()
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect();
    assert!(logged.len() >= 20, "the sources have only {logged:?}");
    assert_same("docs/reference/logs.md", &described, &logged);
}

#[test]
fn every_configured_bound_is_described() {
    let page = Page::read("docs/reference/limits.md");
    let output = Command::new(program())
        .args(["config", "schema"])
        .output()
        .expect("the program");
    let schema: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let keys = |definition: &str| -> Vec<String> {
        schema["$defs"][definition]["properties"]
            .as_object()
            .unwrap_or_else(|| panic!("no {definition} in the schema"))
            .keys()
            .cloned()
            .collect()
    };
    let bounds = |key: &String| {
        key.starts_with("max_") || key.ends_with("_seconds") || key == "batch_concurrency"
    };
    let gateway = keys("Gateway").into_iter().filter(bounds);
    let expected = gateway
        .map(|key| format!("gateway.{key}"))
        .chain(keys("Pool").into_iter().map(|key| format!("pool.{key}")))
        .chain(
            keys("Budget")
                .into_iter()
                .map(|key| format!("budget.{key}")),
        )
        .chain(keys("Live"));
    let missing: Vec<_> = expected
        .filter(|key| !page.text.contains(&format!("`{key}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_error_code_is_listed_with_its_status() {
    let page = Page::read("docs/errors/README.md");
    for code in ErrorCode::ALL {
        let status = Problem::new(*code).status.as_u16();
        let row = format!("| [`{code}`]({code}.md) | {status} |");
        assert!(page.text.contains(&row), "no row {row}");
    }
}

fn assert_same(page: &str, described: &BTreeSet<String>, real: &BTreeSet<String>) {
    let missing: Vec<_> = real.difference(described).collect();
    let gone: Vec<_> = described.difference(real).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "{page} lacks {missing:?}, and describes what is not there: {gone:?}"
    );
}

/// Text of the sources that log and count, without their tests.
fn sources() -> Vec<String> {
    let mut sources = Vec::new();
    for name in [
        "auth",
        "pg",
        "jobs",
        "outbound",
        "replication",
        "server",
        "cli",
    ] {
        read(&root().join("crates").join(name).join("src"), &mut sources);
    }
    sources
}

fn read(directory: &Path, sources: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            sources.push(match text.find("#[cfg(test)]\nmod tests {") {
                Some(end) => text[..end].to_owned(),
                None => text,
            });
        }
    }
}

/// What is between quotation marks. Good enough for names, which have none inside.
fn literals(source: &str) -> impl Iterator<Item = &str> {
    source.split('"')
}

fn is_metric(text: &str) -> bool {
    // Names of roles and crates begin like that too.
    const ENDS: [&str; 18] = [
        "_bytes",
        "_status",
        "_depth",
        "_paused",
        "_total",
        "_seconds",
        "_streams",
        "_connections",
        "_idle",
        "_waiting",
        "_leader",
        "_segments",
        "_queries",
        "_transactions",
        "_subscribers",
        "_commits",
        "_down",
        "_refused",
    ];
    text.strip_prefix("rolegate_").is_some_and(|rest| {
        rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            && ENDS.iter().any(|end| text.ends_with(end))
    })
}

/// Names of the events of `tracing` macros: the field `event`, else the message if it is one word.
fn log_events(source: &str) -> Vec<String> {
    let mut events = Vec::new();
    for level in ["trace", "debug", "info", "warn", "error"] {
        let start = format!("tracing::{level}!(");
        for (at, _) in source.match_indices(&start) {
            let call = arguments(&source[at + start.len()..]);
            let named = call
                .split_once("event = \"")
                .and_then(|(_, rest)| rest.split('"').next());
            let last = call.split('"').skip(1).step_by(2).last();
            let name = named.or(last).unwrap_or_default();
            // `name: what it means`
            let name = name.split(':').next().unwrap_or_default();
            if !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') {
                events.push(name.to_owned());
            }
        }
    }
    events
}

/// The text up to the parenthesis that closes what was opened before it.
fn arguments(text: &str) -> &str {
    let (mut open, mut quoted) = (1, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => open += 1,
            b')' if !quoted => open -= 1,
            _ => {}
        }
        if open == 0 {
            return &text[..at];
        }
    }
    panic!("a macro without an end: {}", &text[..text.len().min(80)]);
}
