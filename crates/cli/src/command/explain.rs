//! `rolegate explain`.

use std::process::ExitCode;

use clap::Args;

/// Plays the story.
#[derive(Debug, Args)]
pub(crate) struct Explain {}

pub(crate) async fn run(_command: Explain) -> anyhow::Result<ExitCode> { Ok(ExitCode::SUCCESS) }
