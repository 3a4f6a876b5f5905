//! What people are told about a queue or a kind, as the operator's own login.

use clap::Args;

use super::connect::Target;
use super::rows::value;
use crate::logging::say;

/// See `rolegate.describe_queue` and `rolegate.describe_kind`.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// Its name.
    name: String,
    /// The name to show.
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Who is asked when something is wrong with it.
    #[arg(long, value_name = "TEXT")]
    owner: Option<String>,
    /// Where to read more.
    #[arg(long, value_name = "URL")]
    docs_url: Option<String>,
    /// A word to find it by; these instead of those that were there.
    #[arg(long = "tag", value_name = "WORD")]
    tags: Vec<String>,
    /// Takes back all that operators said: what workers declare counts again.
    #[arg(
        long,
        conflicts_with_all = ["display_name", "description", "owner", "docs_url", "tags"]
    )]
    forget: bool,
    #[command(flatten)]
    target: Target,
}

impl Describe {
    /// `subject`: `queue` or `kind`.
    pub(super) async fn run(&self, subject: &str) -> anyhow::Result<()> {
        if self.forget {
            let sql = "select rolegate.forget_descriptor($1, $2)";
            let was_there: bool = value(&self.target, sql, &[&subject, &self.name]).await?;
            say(if was_there {
                "forgotten"
            } else {
                "nothing was said"
            });
            return Ok(());
        }
        let client = self.target.connect().await?;
        let sql = match subject {
            "queue" => "select rolegate.describe_queue($1, $2, $3, $4, $5, $6)",
            _ => "select rolegate.describe_kind($1, $2, $3, $4, $5, $6)",
        };
        let sql = self.target.names()?.render(sql).into_owned();
        // An empty word alone takes them back, like an empty text.
        let tags: Option<Vec<&str>> = (!self.tags.is_empty()).then(|| {
            let words = self.tags.iter().map(String::as_str);
            words.filter(|word| !word.is_empty()).collect()
        });
        client
            .execute(
                &sql,
                &[
                    &self.name,
                    &self.display_name,
                    &self.description,
                    &self.owner,
                    &self.docs_url,
                    &tags,
                ],
            )
            .await?;
        say("changed");
        Ok(())
    }
}
