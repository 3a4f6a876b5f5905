//! The story of the expenses example: one step, one function, one line.

mod client;
mod steps;

use anyhow::Context as _;

use crate::development::Installation;
use crate::logging::say;

use client::Http;

/// Plays all steps in order; how many there were. The first one that does not hold is an error.
pub(crate) async fn play(installation: &Installation) -> anyhow::Result<usize> {
    let http = Http::new(&installation.record)?;
    let mut played = 0;
    macro_rules! step {
        ($line:literal, $step:expr) => {
            let proof: String = $step.await.with_context(|| $line.to_owned())?;
            played += 1;
            say(format_args!("ok {played:2}  {}: {proof}", $line));
        };
    }
    step!(
        "alice logs in with her database password",
        steps::login(&http)
    );
    step!(
        "a wrong password and a crafted one are refused alike",
        steps::wrong_password(&http)
    );
    step!("alice submits a claim", steps::submit(&http));
    step!("numbers come back as they were sent", steps::numbers(&http));
    step!(
        "a repeated submission is done once",
        steps::idempotent(&http)
    );
    step!(
        "alice sees her claims and nobody else's",
        steps::own_rows(&http)
    );
    step!(
        "alice may not decide, and is told so",
        steps::may_not_decide(&http)
    );
    step!("manager bob approves, once", steps::approve(&http));
    step!(
        "an atomic batch is done whole or not at all",
        steps::atomic(&http)
    );
    step!("a dry run changes nothing", steps::dry_run(&http));
    step!(
        "without a token there are totals and nothing else",
        steps::anonymous(&http)
    );
    step!(
        "auditor dave is offered only what he may call",
        steps::discovery(&http)
    );
    step!(
        "a revoked right is gone within a second",
        steps::revocation(&http, installation)
    );
    step!(
        "every login of ours can do what it must and no more",
        steps::verify(installation)
    );
    step!("the audit is clean", steps::audit(installation));
    Ok(played)
}
