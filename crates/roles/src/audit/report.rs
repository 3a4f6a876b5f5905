//! What came out of an audit.

use serde::Serialize;

use super::allow_list::{AllowEntry, AllowList};
use super::finding::{Finding, Severity};
use super::{sarif, text};

/// A finding that the allow-list accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Allowed {
    /// The finding.
    pub finding: Finding,
    /// Why it was accepted.
    pub reason: String,
}

/// What came out of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The database.
    pub database: String,
    /// What is not accepted, worst first.
    pub findings: Vec<Finding>,
    /// What is.
    pub allowed: Vec<Allowed>,
    /// What this login could not look at, in words.
    pub unreadable: Vec<String>,
}

impl Report {
    pub(super) fn new(
        database: String,
        found: Vec<Finding>,
        unreadable: Vec<String>,
        allow_list: &AllowList,
    ) -> Self {
        let accepts =
            |entry: &AllowEntry, f: &Finding| entry.id == f.id && entry.object == f.object;
        // Judged before the unused entries join, so that no entry can accept those.
        let unused = allow_list
            .entries
            .iter()
            .filter(|entry| !found.iter().any(|finding| accepts(entry, finding)))
            .map(unused_entry)
            .collect::<Vec<_>>();
        let (mut findings, mut allowed) = (Vec::new(), Vec::new());
        for finding in found {
            match allow_list
                .entries
                .iter()
                .find(|entry| accepts(entry, &finding))
            {
                Some(entry) => allowed.push(Allowed {
                    finding,
                    reason: entry.reason.clone(),
                }),
                None => findings.push(finding),
            }
        }
        findings.extend(unused);
        findings.sort_by(|a, b| {
            b.severity
                .cmp(&a.severity)
                .then_with(|| a.id.cmp(&b.id))
                .then_with(|| a.object.cmp(&b.object))
                .then_with(|| a.message.cmp(&b.message))
        });
        Self {
            database,
            findings,
            allowed,
            unreadable,
        }
    }

    /// Whether anything worse than a note is not accepted.
    pub fn failing(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.severity > Severity::Note)
    }

    /// The report for people.
    pub fn render_text(&self) -> String {
        text::render(self)
    }

    /// The report as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!(self)
    }

    /// The report as SARIF 2.1.0, for code scanning in CI. `program_version` is that of the
    /// program that made it.
    pub fn to_sarif(&self, program_version: &str) -> serde_json::Value {
        sarif::render(self, program_version)
    }
}

/// An entry that accepts nothing would silently accept the hole when it comes back.
fn unused_entry(entry: &AllowEntry) -> Finding {
    Finding {
        id: "unused_allow_entry".to_owned(),
        severity: Severity::Warning,
        object: entry.object.clone(),
        message: format!(
            "The allow-list accepts {} on {}, and there is no such finding.",
            entry.id, entry.object
        ),
        chain: Vec::new(),
        fix: "-- remove the entry from the allow-list".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &str, object: &str, severity: Severity) -> Finding {
        Finding {
            id: id.to_owned(),
            severity,
            object: object.to_owned(),
            message: "A sentence.".to_owned(),
            chain: vec!["PUBLIC".to_owned(), "EXECUTE on api.f()".to_owned()],
            fix: "revoke it".to_owned(),
        }
    }

    fn entry(id: &str, object: &str) -> AllowEntry {
        AllowEntry {
            id: id.to_owned(),
            object: object.to_owned(),
            reason: "open".to_owned(),
        }
    }

    fn report(found: Vec<Finding>, entries: Vec<AllowEntry>) -> Report {
        Report::new("app".to_owned(), found, Vec::new(), &AllowList { entries })
    }

    #[test]
    fn an_accepted_finding_is_counted_and_does_not_fail() {
        let report = report(
            vec![finding("public_table", "api.a", Severity::Error)],
            vec![entry("public_table", "api.a")],
        );
        assert!(!report.failing());
        assert_eq!(report.allowed[0].reason, "open");
    }

    #[test]
    fn an_entry_for_another_object_accepts_nothing_and_is_a_finding_itself() {
        let report = report(
            vec![finding("public_table", "api.a", Severity::Error)],
            vec![
                entry("public_table", "api.b"),
                entry("unused_allow_entry", "api.b"),
            ],
        );
        assert!(report.failing());
        let ids: Vec<_> = report
            .findings
            .iter()
            .map(|f| (&*f.id, &*f.object))
            .collect();
        assert_eq!(
            ids,
            [
                ("public_table", "api.a"),
                ("unused_allow_entry", "api.b"),
                ("unused_allow_entry", "api.b")
            ]
        );
    }

    #[test]
    fn a_note_does_not_fail() {
        assert!(!report(vec![finding("x", "y", Severity::Note)], Vec::new()).failing());
    }

    #[test]
    fn sarif_names_each_rule_once_and_each_object() {
        let report = report(
            vec![
                finding("public_table", "api.a", Severity::Error),
                finding("public_table", "api.b", Severity::Warning),
            ],
            vec![entry("public_table", "api.b")],
        );
        let sarif = report.to_sarif("1.2.3");
        assert_eq!(sarif["version"], "2.1.0");
        let run = &sarif["runs"][0];
        assert_eq!(
            run["tool"]["driver"]["rules"].as_array().map(Vec::len),
            Some(1)
        );
        assert_eq!(run["results"][0]["ruleIndex"], 0);
        assert_eq!(run["results"][0]["level"], "error");
        let location = &run["results"][0]["locations"][0]["logicalLocations"][0];
        assert_eq!(location["fullyQualifiedName"], "api.a");
        assert_eq!(
            run["results"][1]["suppressions"][0]["justification"],
            "open"
        );
    }

    #[test]
    fn the_text_says_who_why_and_what_to_do() {
        let text = report(vec![finding("x", "api.f()", Severity::Error)], Vec::new()).render_text();
        for part in [
            "error",
            "api.f()",
            "PUBLIC -> EXECUTE on api.f()",
            "revoke it",
            "1 finding",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
