//! The explanation for people.

use std::fmt::Write as _;

use super::Explanation;

pub(super) fn render(explanation: &Explanation) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}: {} {}",
        explanation.verdict.as_str(),
        explanation.role,
        explanation.target
    );
    for step in &explanation.steps {
        let _ = writeln!(text, "  {:<8} {}", step.verdict.as_str(), step.text);
        if !step.via.is_empty() {
            let _ = writeln!(text, "           via {}", step.via.join(" -> "));
        }
    }
    text
}
