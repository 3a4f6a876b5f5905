//! The report for people.

use std::fmt::Write as _;

use super::report::Report;

pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for finding in &report.findings {
        let _ = writeln!(
            text,
            "{} [{}] {}",
            finding.severity, finding.id, finding.object
        );
        let _ = writeln!(text, "  {}", finding.message);
        if !finding.chain.is_empty() {
            let _ = writeln!(text, "  because: {}", finding.chain.join(" -> "));
        }
        for line in finding.fix.lines() {
            let _ = writeln!(text, "  fix: {line}");
        }
        text.push('\n');
    }
    for what in &report.unreadable {
        let _ = writeln!(text, "not looked at: {what}");
    }
    let _ = writeln!(
        text,
        "{}: {} finding{}, {} accepted",
        report.database,
        report.findings.len(),
        if report.findings.len() == 1 { "" } else { "s" },
        report.allowed.len()
    );
    text
}
