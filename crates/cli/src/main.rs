//! The `rolegate` command: one file for each command under `command/`, nothing else.

mod command;
mod config;
mod development;
mod logging;
mod process;
mod story;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let arguments = command::Arguments::parse();
    match command::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            logging::failed(&error);
            ExitCode::FAILURE
        }
    }
}
