//! `rolegate audit` and the gateway's configuration.

use crate::installation::Installation;
use crate::program::{Finished, finishes_with};

const UNREAD: &str = "not looked at: the gateway's configuration";

async fn audit(private: &Installation, variables: &[(&str, &str)], more: &[&str]) -> Finished {
    let url = private.database_url();
    let arguments = [&["audit", "--database", &url], more].concat();
    finishes_with(&arguments, variables).await
}

#[tokio::test]
async fn issuers_of_file_and_environment_are_judged() {
    let private = Installation::start("wheel", &[]).await;

    // Nothing is configured here; and a development server has no configuration.
    for said in [
        audit(&private, &[], &[]).await,
        finishes_with(
            &["audit", "--data-dir", private.data_dir()],
            &[("JWT_SECRET", "0123456789abcdef0123456789abcdef")],
        )
        .await,
    ] {
        assert!(said.text.contains(UNREAD), "{}", said.text);
        assert!(!said.text.contains("[audience_any]"), "{}", said.text);
    }

    let secret = [("JWT_SECRET", "0123456789abcdef0123456789abcdef")];
    let said = audit(&private, &secret, &[]).await;
    assert!(!said.success);
    for part in [
        "warning [audience_any] issuer environment",
        "environment JWT_SECRET",
    ] {
        assert!(said.text.contains(part), "{part} is not in {}", said.text);
    }
    assert!(!said.text.contains(UNREAD), "{}", said.text);
    assert!(!said.text.contains("0123456789"), "{}", said.text);

    let file = format!("{}/named.toml", private.data_dir());
    let issuer = |name: &str, audiences: &str| {
        format!(
            "[[issuers]]\nname = \"{name}\"\nissuer = \"https://{name}.example\"\n\
             audiences = {audiences}\nkeys = {{ jwks_url = \"https://{name}.example/keys\" }}\n"
        )
    };
    let text = [issuer("named", "[\"app\"]"), issuer("open", "\"any\"")].concat();
    std::fs::write(&file, text).expect("our directory");
    let said = audit(&private, &secret, &["--config", &file]).await;
    for part in ["[audience_any] issuer open", &file] {
        assert!(said.text.contains(part), "{part} is not in {}", said.text);
    }
    for part in ["issuer named", "issuer environment", UNREAD] {
        assert!(!said.text.contains(part), "{part} is in {}", said.text);
    }
    assert!(private.stop().await);
}
