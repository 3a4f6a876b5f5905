//! Wrong command lines and their exit codes, run like a person runs them.

use std::process::{Command, Output};

fn rolegate(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rolegate"));
    command.args(arguments).env_clear();
    // A directory without a configuration file.
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    command.envs(variables.iter().copied());
    command.output().expect("the program starts")
}

/// Code and standard error.
fn fails(arguments: &[&str]) -> (Option<i32>, String) {
    let output = rolegate(arguments, &[]);
    assert!(output.stdout.is_empty(), "{arguments:?} printed something");
    let text = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), text)
}

#[test]
fn a_wrong_command_line_has_a_code_of_its_own_and_a_way_on() {
    for (arguments, help) in [
        (&["serv"][..], "'serve'"),
        (&["roles", "admits", "x"], "'admit'"),
        (&["dev", "--examples", "expenses"], "'--example'"),
        (&["dev", "--example", "shop"], "possible values: expenses"),
        (&["dev", "--gateway", "8080"], "invalid socket address"),
        (&["dev", "--postgres", "docker"], "or a URL postgresql://"),
        (&["demo", "--postgres", "docker"], "expected auto, system"),
        (&["migrate"], "--database <URL>"),
        (&["explain", "--as", "alice"], "--function <NAME>"),
        (
            &["audit", "--format", "xml"],
            "possible values: text, json, sarif",
        ),
        (&["token", "revoke", "7"], "invalid value '7'"),
        (&[], "Start here:"),
        (&["roles"], "Commands:"),
    ] {
        let (code, text) = fails(arguments);
        assert_eq!(code, Some(64), "{arguments:?}: {text}");
        assert!(text.contains(help), "{arguments:?}: {text}");
    }
}

#[test]
fn what_was_asked_for_is_no_error() {
    for arguments in [
        &["--help"][..],
        &["help", "roles"],
        &["dev", "-h"],
        &["--version"],
        &["completions", "bash"],
        &["config", "schema"],
        &["config", "reference"],
        &["config", "check", "--help"],
    ] {
        let output = rolegate(arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(
            output.stderr.is_empty() && !output.stdout.is_empty(),
            "{arguments:?}"
        );
    }
}

#[test]
fn what_fails_says_why_in_one_line() {
    for (arguments, why) in [
        (&["--config", "absent.toml", "serve"][..], "absent.toml"),
        (
            &["roles", "admit", "x", "--data-dir", "absent"],
            "is `rolegate dev --data-dir absent` running?",
        ),
        (
            &[
                "roles",
                "admit",
                "x",
                "--database",
                "postgresql://me@127.0.0.1:1/app",
            ],
            "login mode needs --os-user",
        ),
        (
            &[
                "token",
                "list",
                "--database",
                "postgresql://me:hunter2@127.0.0.1:1/app",
            ],
            "connecting as \"me\"",
        ),
        (
            &[
                "dev",
                "--data-dir",
                "usage",
                "--postgres",
                "mysql://me:hunter2@db/app",
            ],
            "expected postgresql://",
        ),
    ] {
        let (code, text) = fails(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {text}");
        assert!(text.starts_with("rolegate: "), "{text}");
        assert!(text.contains(why), "{arguments:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn the_configuration_in_force_has_sources_and_no_secrets() {
    let output = rolegate(
        &["config", "check"],
        &[
            ("ROLEGATE_GATEWAY__BIND", "127.0.0.1:9000"),
            // Of other commands, not keys.
            ("ROLEGATE_DATABASE", "postgresql://me:hunter2@db/app"),
            ("DB_HOST", "127.0.0.1"),
            ("DB_NAME", "app"),
            ("DB_USER", "pgarachne"),
            ("HTTP_PORT", "9001"),
            ("JWT_SECRET", "hunter2-hunter2-hunter2-hunter2-"),
            ("UPSTREAM_PUBLICATION", "pub"),
            ("AWA_TRACE_CAPTURE", "off"),
            ("PGPAW_CACHE", "hunter2"),
        ],
    );
    let text = String::from_utf8(output.stdout).expect("text");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "gateway.bind \"127.0.0.1:9000\" (environment ROLEGATE_GATEWAY__BIND)",
        "gateway.max_batch 1000 (default)",
        "databases.app.url \"postgresql://127.0.0.1:5432/app\" (environment DB_HOST, DB_NAME)",
        "issuers.0.keys.shared_secret (secret) (environment JWT_SECRET)",
        "HTTP_PORT (PgArachne): not read: gateway.bind is configured",
        "JWT_SECRET (PgArachne, PgPaw): read as issuers[].keys.shared_secret; use that, or ROLEGATE_ISSUERS",
        "UPSTREAM_PUBLICATION (PgPaw): not read: there is one publication, made by `rolegate replication sync`",
        "AWA_TRACE_CAPTURE (Awa): not yet: it belongs to worker",
        "PGPAW_CACHE (PgPaw): not read: no setting of this name is known",
    ] {
        assert!(
            lines.iter().any(|shown| shown == line),
            "{line} is not in\n{text}"
        );
    }
    assert!(
        text.contains(
            "DB_USER (PgArachne, OpenG2P AWE): not read: every surface has its own login"
        ),
        "{text}"
    );
    assert!(
        !text.contains("hunter2") && !errors.contains("hunter2"),
        "{text}{errors}"
    );
}

#[test]
fn keys_to_purge_are_made_from_the_configuration_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let secret = path("purge.key");
    std::fs::write(&secret, "07".repeat(32)).expect("written");
    let database =
        |name: &str| format!("[databases.{name}]\nurl = \"postgresql://127.0.0.1/app\"\n");
    let keyed = format!("[databases.app.query]\npurge_secret_file = \"{secret}\"\n");
    std::fs::write(path("one.toml"), database("app") + &keyed).expect("written");
    let two = database("app") + &keyed + &database("other");
    std::fs::write(path("two.toml"), two).expect("written");
    let purge = |config: &str, arguments: &[&str]| {
        let config = path(config);
        let command = [&["--config", &config, "query", "purge-key"], arguments].concat();
        let output = rolegate(&command, &[]);
        let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        (output.status.code(), text)
    };
    let (code, one) = purge("one.toml", &["api.Rate"]);
    assert_eq!(code, Some(0), "{one}");
    let keys: Vec<&str> = one
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(keys.len(), 2, "{one}");
    assert!(keys.iter().all(|key| key.len() == 16), "{one}");
    // As SQL reads names; and in JSON.
    let (_, same) = purge("two.toml", &["\"api\".rate", "--database", "app", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&same).expect("JSON");
    assert_eq!(json["keys"], serde_json::json!(keys));
    let (_, all) = purge("one.toml", &[]);
    assert_eq!(all.lines().count(), 1, "{all}");
    for (config, arguments, why) in [
        ("one.toml", &["rate"][..], "needs its schema"),
        ("one.toml", &["api.a b"], "is not a name"),
        ("two.toml", &["api.rate"], "--database has to say"),
        (
            "two.toml",
            &["--database", "absent"],
            "no database of this name",
        ),
        (
            "two.toml",
            &["--database", "other"],
            "purge_secret_file is missing",
        ),
    ] {
        let (code, text) = purge(config, arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {text}");
        assert!(text.contains(why), "{arguments:?}: {text}");
    }
}

#[test]
fn a_configuration_that_cannot_be_served_is_printed_and_refused_without_its_secrets() {
    let output = rolegate(
        &["config", "check"],
        &[(
            "ROLEGATE_DATABASES__APP__URL",
            "postgresql://me:hunter2@db/app",
        )],
    );
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    assert!(text.contains("postgresql://(secret)@db/app"), "{text}");
    assert!(text.contains("password_files"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
