//! Runs the examples of README and guide, and compares what they print.
//!
//! Marks of a fenced block, after its language:
//! - `console start`: how the server is started, and what it prints then;
//! - `console tested`: commands, run one after the other in a shell of the page, each with its
//!   output (`console.rs`) and exit code 0, or `status=N` of the block for all of its commands;
//! - `sql tested`: statements, run as the superuser, or `as=ROLE`, in the development database, or
//!   `db=NAME`;
//! - `toml tested`: a part of `rolegate.toml`, which `rolegate config check` has to like.
//!
//! Addresses of the default ports mean those of the server under test, 8090 and 9091 any free ones.
//! A shell starts in the directory of `.rolegate`. Pages run in the order of
//! `docs/SUMMARY.md`, README first, on one database: a page finds what those before it left.

use std::path::Path;

use tokio_postgres::NoTls;

use crate::book::{Block, Page};
use crate::console;
use crate::links::summary;
use crate::server::{Server, program};
use crate::shell::Shell;

/// A run without these has lost its way.
const FEWEST_COMMANDS: usize = 40;

#[test]
fn examples_print_what_the_book_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(directory.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let mut run = Run {
        directory: directory.path(),
        server: &server,
        runtime: &runtime,
        commands: 0,
        failures: Vec::new(),
    };
    run.page(&Page::read("README.md"));
    for path in summary() {
        run.page(&Page::read(&format!("docs/{path}")));
    }
    let Run {
        commands, failures, ..
    } = run;
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(
        commands >= FEWEST_COMMANDS,
        "only {commands} commands were run"
    );
}

struct Run<'a> {
    directory: &'a Path,
    server: &'a Server,
    runtime: &'a tokio::runtime::Runtime,
    commands: usize,
    failures: Vec<String>,
}

impl Run<'_> {
    fn page(&mut self, page: &Page) {
        let mut shell = None;
        for block in page.blocks() {
            if block.is("console", "start") {
                self.start(&block);
            } else if block.is("console", "tested") {
                let shell = shell.get_or_insert_with(|| Shell::new(self.directory, &program()));
                self.console(&block, shell);
            } else if block.is("sql", "tested") {
                self.sql(&block);
            } else if block.is("toml", "tested") {
                self.toml(&block);
            }
        }
    }

    /// The server was started as the block says, and said what it says.
    fn start(&mut self, block: &Block) {
        let steps = console::steps(&block.text);
        let [step] = &steps[..] else {
            self.failures.push(format!("{}: one command", block.place));
            return;
        };
        let command = step.command.trim_end_matches('&').trim_end();
        if !command.ends_with(" dev --example expenses") && !command.ends_with("make dev") {
            let text = format!("{}: not how the test starts it: {command}", block.place);
            self.failures.push(text);
        }
        let expected: Vec<String> = step
            .output
            .iter()
            .map(|line| self.server.with_addresses(line))
            .collect();
        let actual: Vec<&str> = self.server.greeting.iter().map(String::as_str).collect();
        self.compare(block, command, &expected, &actual);
    }

    fn console(&mut self, block: &Block, shell: &mut Shell) {
        let status = block
            .value("status")
            .map_or(0, |status| status.parse().expect("status=N"));
        for step in console::steps(&block.text) {
            self.commands += 1;
            let (actual, code) = shell.run(&self.server.with_addresses(&step.command));
            let expected: Vec<String> = step
                .output
                .iter()
                .map(|line| self.server.with_addresses(line))
                .collect();
            let actual: Vec<&str> = actual
                .iter()
                .map(String::as_str)
                .filter(|line| !line.is_empty())
                .collect();
            self.compare(block, &step.command, &expected, &actual);
            if code != status {
                let (place, command) = (&block.place, &step.command);
                self.failures
                    .push(format!("{place}: exit code {code}: {command}"));
            }
        }
    }

    fn compare(&mut self, block: &Block, command: &str, expected: &[String], actual: &[&str]) {
        if !console::fits(expected, actual) {
            self.failures.push(format!(
                "{}: {command}\n  expected\n{}\n  and it printed\n{}",
                block.place,
                expected.join("\n"),
                actual.join("\n")
            ));
        }
    }

    fn sql(&mut self, block: &Block) {
        let url = self.server.record["database_url"].as_str().expect("a URL");
        let outcome = self.runtime.block_on(async {
            let mut config: tokio_postgres::Config = url.parse()?;
            if let Some(database) = block.value("db") {
                config.dbname(database);
            }
            let (client, connection) = config.connect(NoTls).await?;
            let connection = tokio::spawn(connection);
            if let Some(role) = block.value("as") {
                let sql = format!("set session authorization \"{role}\"");
                client.batch_execute(&sql).await?;
            }
            let outcome = client.batch_execute(&block.text).await;
            drop(client);
            let _ = connection.await;
            outcome
        });
        if let Err(error) = outcome {
            let cause = error
                .as_db_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            self.failures.push(format!("{}: {cause}", block.place));
        }
    }

    fn toml(&mut self, block: &Block) {
        let mut text = block.text.clone();
        if !text.contains("[databases.") {
            text.push_str("\n[databases.app]\nurl = \"postgresql://%2Frun%2Fpostgresql/app\"\n");
        }
        let file = self.directory.join("rolegate-of-the-book.toml");
        std::fs::write(&file, text).expect("writable");
        let output = std::process::Command::new(program())
            .args(["config", "check", "--config"])
            .arg(&file)
            .output()
            .expect("the program");
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            self.failures.push(format!("{}: {text}", block.place));
        }
    }
}
