//! Logs on standard error; what a command prints for its user goes to standard output.

use std::io::Write as _;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)
        .map_err(|error| anyhow::anyhow!("log.level {:?}: {error}", log.level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        LogFormat::Text => builder.compact().init(),
    }
    Ok(())
}

/// Prints why a command failed, with the whole chain of causes.
pub(crate) fn failed(error: &anyhow::Error) {
    let mut text = format!("rolegate: {error}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    note(text);
}

/// Prints a line for the user beside the output.
pub(crate) fn note(text: impl std::fmt::Display) {
    // Nothing is left to do if standard error is gone.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Prints a line for the user.
pub(crate) fn say(text: impl std::fmt::Display) {
    // A closed pipe (`rolegate ... | head`) is the reader's decision.
    let _ = writeln!(std::io::stdout(), "{text}");
}
