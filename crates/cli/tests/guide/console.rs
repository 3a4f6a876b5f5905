//! What a `console` block says: commands, and what they print.
//!
//! A line that starts with `$ ` is a command; it goes on after a backslash, and on lines that start
//! with `> `. What follows up to the next command is its output. `…` stands for any text within a
//! line, a line `…` for any number of lines. Empty lines don't count.

/// A command and its expected output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) command: String,
    pub(crate) output: Vec<String>,
}

pub(crate) fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut continued = false;
    for line in text.lines() {
        let more = line.strip_prefix("> ").or((line == ">").then_some(""));
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) if !continued => {
                steps.push(Step {
                    command: command.to_owned(),
                    output: Vec::new(),
                });
                continued = command.ends_with('\\');
            }
            (_, Some(step)) if continued || (step.output.is_empty() && more.is_some()) => {
                step.command.push('\n');
                step.command.push_str(more.unwrap_or(line));
                continued = line.ends_with('\\');
            }
            (_, Some(step)) if !line.trim().is_empty() => step.output.push(line.to_owned()),
            (_, Some(_)) => {}
            (_, None) => assert!(line.trim().is_empty(), "no command before {line:?}"),
        }
    }
    steps
}

/// Whether `actual` is what `expected` says.
pub(crate) fn fits(expected: &[String], actual: &[&str]) -> bool {
    match (expected.split_first(), actual.split_first()) {
        (None, None) => true,
        (Some((pattern, rest)), _) if pattern.trim() == "…" => {
            (0..=actual.len()).any(|skipped| fits(rest, &actual[skipped..]))
        }
        (Some((pattern, expected)), Some((line, actual))) => {
            line_fits(pattern.trim_end(), line.trim_end()) && fits(expected, actual)
        }
        _ => false,
    }
}

fn line_fits(pattern: &str, line: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('…') else {
        return pattern == line;
    };
    let Some(line) = line.strip_prefix(start) else {
        return false;
    };
    line.char_indices()
        .map(|(at, _)| at)
        .chain([line.len()])
        .any(|at| line_fits(rest, &line[at..]))
}

#[test]
fn blocks_are_taken_apart() {
    let text = "$ a \\\n    b\none\ntwo\n\n$ cat <<X\n> $ no command\n> X\n";
    let step = |command: &str, output: &[&str]| Step {
        command: command.to_owned(),
        output: output.iter().map(|line| (*line).to_owned()).collect(),
    };
    assert_eq!(
        steps(text),
        [
            step("a \\\n    b", &["one", "two"]),
            step("cat <<X\n$ no command\nX", &[]),
        ]
    );
}

#[test]
fn an_ellipsis_stands_for_what_changes() {
    let says = |expected: &[&str], actual: &[&str]| {
        let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        fits(&expected, actual)
    };
    assert!(says(&["a…b…"], &["a1b2b3"]));
    assert!(says(&["…", "z"], &["x", "y", "z"]));
    assert!(says(&["a", "…"], &["a"]));
    for (expected, actual) in [("a…b", "a1"), ("ab", "abc"), ("…b", "a"), ("a", "")] {
        assert!(!says(&[expected], &[actual]), "{expected} {actual}");
    }
    assert!(!says(&["a"], &["a", "b"]));
    assert!(!says(&["a", "b"], &["a"]));
}
