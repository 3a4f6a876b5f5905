//! The report as SARIF 2.1.0 (OASIS), which code scanning services read.

use serde_json::{Value, json};

use super::finding::Finding;
use super::report::Report;

pub(super) fn render(report: &Report, program_version: &str) -> Value {
    let mut rules: Vec<&str> = report
        .findings
        .iter()
        .chain(report.allowed.iter().map(|allowed| &allowed.finding))
        .map(|finding| &*finding.id)
        .collect();
    rules.sort_unstable();
    rules.dedup();
    let mut results: Vec<Value> = Vec::new();
    for finding in &report.findings {
        results.push(result(report, finding, &rules));
    }
    for allowed in &report.allowed {
        let mut value = result(report, &allowed.finding, &rules);
        value["suppressions"] = json!([{ "kind": "external", "justification": allowed.reason }]);
        results.push(value);
    }
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "rolegate audit",
                "version": program_version,
                "rules": rules.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>(),
            }},
            "results": results,
        }],
    })
}

fn result(report: &Report, finding: &Finding, rules: &[&str]) -> Value {
    let mut message = finding.message.clone();
    if !finding.chain.is_empty() {
        message.push_str(" Because: ");
        message.push_str(&finding.chain.join(" -> "));
        message.push('.');
    }
    json!({
        "ruleId": finding.id,
        "ruleIndex": rules.iter().position(|id| *id == finding.id),
        "level": finding.severity.as_str(),
        "message": { "text": message },
        "locations": [{ "logicalLocations": [{
            "fullyQualifiedName": finding.object,
            "kind": "database object",
        }]}],
        // The message may change with the program; this must not.
        "partialFingerprints": {
            "rolegate/v1": format!("{}|{}|{}", report.database, finding.id, finding.object),
        },
        "properties": { "chain": finding.chain, "fix": finding.fix },
    })
}
