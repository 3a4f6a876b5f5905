//! Dashboards and alerts name metrics that there are, and the book explains each alert.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::book::Page;

/// Rules, and the page that explains them.
const ALERTS: [(&str, &str); 2] = [
    (
        "deploy/prometheus/jobs.rules.yaml",
        "docs/guide/operating-jobs.md",
    ),
    (
        "deploy/prometheus/change-stream.rules.yaml",
        "docs/runbooks/change-stream.md",
    ),
];
const DASHBOARD: &str = "deploy/grafana/jobs.json";

/// Metrics that the reference describes; another test compares it with the sources.
fn described() -> BTreeSet<String> {
    Page::read("docs/reference/metrics.md")
        .prose()
        .lines()
        .filter_map(|line| line.strip_prefix("### `"))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect()
}

/// Names of metrics in a text; a histogram's parts are the histogram.
fn named(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    text.split(word)
        .filter(|word| word.starts_with("rolegate_"))
        .map(|word| {
            let parts = ["_bucket", "_sum", "_count"];
            let whole = parts.iter().find_map(|part| word.strip_suffix(part));
            whole.unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn every_metric_of_an_alert_or_a_dashboard_is_there() {
    let described = described();
    for path in ALERTS.into_iter().map(|(path, _)| path).chain([DASHBOARD]) {
        let named = named(&Page::read(path).text);
        assert!(named.len() >= 6, "{path} names only {named:?}");
        let unknown: Vec<_> = named.difference(&described).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
    }
}

#[test]
fn the_dashboard_is_one() {
    let text = Page::read(DASHBOARD).text;
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "an id is there twice");
    for panel in panels {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let query = target["expr"].as_str().expect("a query");
            for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
                let count = |c| query.matches(c).count();
                assert_eq!(count(open), count(close), "{query}");
            }
        }
    }
}

#[test]
fn every_alert_is_explained() {
    for (rules, page) in ALERTS {
        let alerts: BTreeSet<String> = Page::read(rules)
            .text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- alert: "))
            .map(str::to_owned)
            .collect();
        let explained: BTreeSet<String> = Page::read(page)
            .prose()
            .lines()
            .filter_map(|line| line.strip_prefix("### `Rolegate"))
            .filter_map(|line| line.split('`').next())
            .map(|name| format!("Rolegate{name}"))
            .collect();
        assert!(alerts.len() >= 5, "only {alerts:?}");
        assert_eq!(alerts, explained);
    }
}
