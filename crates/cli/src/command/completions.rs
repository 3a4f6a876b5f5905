//! `rolegate completions`.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Prints a completion script.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(command: &Completions) -> ExitCode {
    let mut definition = super::Arguments::command();
    clap_complete::generate(
        command.shell,
        &mut definition,
        "rolegate",
        &mut std::io::stdout(),
    );
    ExitCode::SUCCESS
}
