//! `rolegate demo`.

use std::process::ExitCode;

use clap::Args;

/// Plays the story.
#[derive(Debug, Args)]
pub(crate) struct Demo {}

pub(crate) async fn run(_command: Demo) -> anyhow::Result<ExitCode> { Ok(ExitCode::SUCCESS) }
