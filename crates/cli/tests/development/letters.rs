//! Dead letters, tags and batches by the commands, with the worker and the maintenance that `rolegate dev` runs.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::Client;

use crate::installation::Installation;
use crate::program::{Finished, finishes};

struct Stage {
    installation: Installation,
    superuser: Client,
}

impl Stage {
    async fn command(&self, arguments: &[&str]) -> Finished {
        let target = ["--data-dir", self.installation.data_dir()];
        finishes(&[arguments, &target].concat()).await
    }

    async fn done(&self, arguments: &[&str]) -> String {
        let finished = self.command(arguments).await;
        assert!(finished.success, "{arguments:?}: {}", finished.text);
        finished.text
    }

    /// The objects that a command prints.
    async fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.done(&[arguments, &["--json"]].concat()).await;
        let lines = text.lines().filter(|line| line.starts_with('{'));
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    /// Waits until a command prints so many objects.
    async fn prints(&self, arguments: &[&str], number: usize) -> Vec<Value> {
        for _ in 0..200 {
            let objects = self.objects(arguments).await;
            if objects.len() == number {
                return objects;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{arguments:?} never prints {number}");
    }

    /// Jobs of kinds that a superuser may not run: each is a dead letter.
    async fn letter(&self, kind: &str, tags: &[&str]) -> String {
        let mut arguments = vec!["job", "enqueue", kind];
        arguments.extend(tags.iter().flat_map(|tag| ["--tag", tag]));
        self.done(&arguments).await.trim().to_owned()
    }
}

fn column<'a>(objects: &'a [Value], name: &str) -> Vec<&'a Value> {
    objects.iter().map(|object| &object[name]).collect()
}

#[tokio::test]
async fn dead_letters_and_batches_are_chosen_by_their_tags() {
    let installation = Installation::start("system:15", &[]).await;
    let superuser = installation.superuser().await;
    let stage = Stage {
        installation,
        superuser,
    };
    let red = stage.letter("api.one", &["red"]).await;
    let both = stage.letter("api.two", &["red", "blue"]).await;
    let blue = stage.letter("api.two", &["blue"]).await;
    let id = |text: &str| Value::from(text.parse::<i64>().expect("an id"));
    let letters = stage.prints(&["dlq", "list"], 3).await;
    assert_eq!(column(&letters, "id"), [&id(&blue), &id(&both), &id(&red)]);
    for letter in &letters {
        assert_eq!(letter["reason"], "not_permitted", "{letter}");
        assert_eq!(letter["error"]["code"], "role_forbidden", "{letter}");
    }
    let of = async |more: &[&str]| {
        let letters = stage.objects(&[&["dlq", "list"], more].concat()).await;
        column(&letters, "id")
            .into_iter()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&["--tag", "red"]).await, [id(&both), id(&red)]);
    assert_eq!(
        of(&["--tag", "red", "--kind", "api.two"]).await,
        [id(&both)]
    );
    assert_eq!(of(&["--tag", "green"]).await, [0; 0].map(Value::from));
    // Put back, they fail again: an error more each, and no others.
    let retried = stage.done(&["dlq", "retry", "--tag", "red"]).await;
    assert_eq!(retried, "2\n");
    stage.prints(&["dlq", "list"], 3).await;
    for (job, errors) in [(&red, 2), (&both, 2), (&blue, 1)] {
        let shown = stage.objects(&["job", "show", job]).await;
        let said = shown[0]["errors"].as_array().expect("errors");
        assert_eq!(said.len(), errors, "{job}: {shown:?}");
        assert_eq!(shown[0]["dead_letter"], true);
    }
    let purged = stage
        .done(&["dlq", "purge", "--tag", "red", "--before", "2020-01-01"])
        .await;
    assert_eq!(purged, "0\n");
    assert_eq!(stage.done(&["dlq", "purge", "--tag", "red"]).await, "2\n");
    assert_eq!(of(&[]).await, [id(&blue)]);
    assert!(!stage.command(&["dlq", "retry"]).await.success);

    // What is followed, and what a batch is for.
    stage.done(&["queue", "create", "still"]).await;
    for tag in ["red", "blue", "red"] {
        let enqueue = ["job", "enqueue", "k", "--queue", "still", "--tag", tag];
        stage.done(&enqueue).await;
    }
    let tail = ["job", "tail", "--tag", "red", "--seconds", "1"];
    let followed = stage.objects(&tail).await;
    assert_eq!(column(&followed, "state"), ["available"; 2], "{followed:?}");
    let preview = [
        "batch", "preview", "cancel", "--queue", "still", "--tag", "red",
    ];
    assert_eq!(stage.done(&preview).await, "2\n");
    let submit = [
        "batch", "submit", "cancel", "--queue", "still", "--tag", "red",
    ];
    stage.done(&submit).await;
    let cancelled = ["job", "list", "--state", "cancelled", "--tag", "red"];
    stage.prints(&cancelled, 2).await;
    let left = ["job", "list", "--queue", "still", "--state", "available"];
    assert_eq!(stage.objects(&left).await.len(), 1);

    // One that is under way is stopped where it is.
    let many =
        "select count(rolegate.enqueue('many', queue => 'still')) from generate_series(1, 20000)";
    stage.superuser.query_one(many, &[]).await.expect(many);
    let batch = stage
        .done(&["batch", "submit", "cancel", "--kind", "many"])
        .await;
    assert_eq!(
        stage.done(&["batch", "stop", batch.trim()]).await,
        "stopped\n"
    );
    let again = stage.command(&["batch", "stop", batch.trim()]).await;
    assert!(!again.success, "{}", again.text);
    let batches = stage.objects(&["batch", "list"]).await;
    assert_eq!(batches[0]["state"], "cancelled", "{batches:?}");
    assert!(batches[0]["changed"].as_i64().expect("a number") < 20_000);
    let workers = stage.objects(&["queue", "workers"]).await;
    assert_eq!(workers.len(), 1, "{workers:?}");
    drop(stage.superuser);
    assert!(stage.installation.stop().await);
}
