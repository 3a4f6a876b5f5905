//! The command line as people see it.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};

use super::Arguments;

#[test]
fn the_command_line_is_well_formed() {
    Arguments::command().debug_assert();
}

/// Every command with its long help, in the order of the help.
fn pages() -> Vec<(String, String)> {
    let mut pages = Vec::new();
    let mut root = Arguments::command().term_width(100);
    root.build();
    collect(&mut root, "rolegate", &mut pages);
    pages
}

fn collect(command: &mut Command, path: &str, pages: &mut Vec<(String, String)>) {
    let help = command.render_long_help().to_string();
    pages.push((path.to_owned(), help));
    let names: Vec<String> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .filter(|name| name != "help")
        .collect();
    for name in names {
        if let Some(sub) = command.find_subcommand_mut(&name) {
            collect(sub, &format!("{path} {name}"), pages);
        }
    }
}

#[test]
fn the_committed_reference_has_every_page_as_it_is() {
    let mut reference = include_str!("reference.md").to_owned();
    for (path, help) in pages() {
        // Writing to a String cannot fail.
        let _ = write!(reference, "\n## `{path}`\n\n```text\n");
        for line in help.lines() {
            let _ = writeln!(reference, "{}", line.trim_end());
        }
        reference.push_str("```\n");
    }
    crate::golden::check("docs/reference/cli.md", &reference);
}

#[test]
fn every_command_shows_how_it_is_used() {
    for (path, help) in pages() {
        let has_commands = help.contains("\nCommands:\n");
        let trivial = ["rolegate config schema", "rolegate config reference"];
        if has_commands || trivial.contains(&&*path) {
            continue;
        }
        let examples = help
            .split_once("\nExamples:\n")
            .map(|(_, examples)| examples);
        let examples = examples.unwrap_or_else(|| panic!("{path} has no examples"));
        let last = path.rsplit(' ').next().unwrap_or_default();
        assert!(
            examples.contains(last),
            "{path}: its examples show something else"
        );
    }
}

/// Examples are lines that the parser takes.
#[test]
fn every_example_is_a_command_line() {
    let mut examples = 0;
    for (path, help) in pages() {
        let Some((_, text)) = help.split_once("\nExamples:\n") else {
            continue;
        };
        let text = text.replace(" \\\n", " ");
        for line in text.lines().take_while(|line| line.starts_with("  ")) {
            let line = line.split("   (").next().unwrap_or_default();
            let line = line.split(" > ").next().unwrap_or_default();
            for part in line.split("&&") {
                let words = words(part.trim());
                let words = words.iter().skip_while(|word| {
                    word.chars().next().is_some_and(char::is_uppercase) && word.contains('=')
                });
                let parsed = <Arguments as clap::Parser>::try_parse_from(words);
                assert!(
                    parsed.is_ok(),
                    "{path}: {part}: {}",
                    parsed
                        .err()
                        .map_or(String::new(), |error| error.to_string())
                );
                examples += 1;
            }
        }
    }
    assert!(examples > 20, "{examples}");
}

/// Splits like a shell, as far as the examples need it.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
