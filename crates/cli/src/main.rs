//! The `rolegate` command: one file for each command under `command/`, nothing else.

mod command;
mod config;
mod development;
#[cfg(test)]
mod golden;
mod logging;
mod process;
mod story;

use std::process::ExitCode;

use clap::Parser as _;

/// A call makes and drops some hundred small things; the system's allocator took about a tenth more
/// of the processor for each.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A wrong command line (`EX_USAGE`): 2 is an answer of some commands.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match command::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to do if the output is gone.
            let _ = error.print();
            // Help and version were asked for.
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match command::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            logging::failed(&error);
            ExitCode::FAILURE
        }
    }
}
