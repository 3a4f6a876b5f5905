//! A result that is larger than the disk.

use std::io;

use rolegate_pg::Statement;
use rolegate_pg::session::{Request, SessionError};
use rolegate_pg::spool::{ReadError, spool};

use super::stage::{in_each_mode, request};

/// Set in a process whose files cannot grow beyond a few megabytes.
const LIMITED: &str = "ROLEGATE_TEST_LIMITED_FILES";

/// The call has an error with its cause, the reader no more than the beginning, and the next call
/// finds a connection.
#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the test starts itself with a variable"
)]
async fn a_result_that_does_not_fit_on_the_disk_is_an_error() {
    if std::env::var_os(LIMITED).is_none() {
        // Without the signal a write fails, as on a full disk.
        let script = "trap '' XFSZ; ulimit -f 4096; exec \"$@\"";
        let output = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .arg("--exact")
            .arg("session::full_disk::a_result_that_does_not_fit_on_the_disk_is_an_error")
            .env(LIMITED, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    in_each_mode(async |stage| {
        let (writer, mut reader) = spool();
        let sql = "select repeat('x', 100000) from generate_series(1, 1000)";
        let streamed = Request {
            stream: Some(writer),
            ..request(&stage.alice, [Statement::prepared(sql)])
        };
        let outcome = stage.run(&stage.alice, streamed).await;
        match &outcome {
            Err(SessionError::Lost {
                nothing_ran: false,
                source,
            }) => assert_eq!(source.kind(), io::ErrorKind::FileTooLarge),
            other => panic!("{other:?}"),
        }
        let mut bytes = 0;
        let end = loop {
            match reader.next().await {
                Ok(Some(chunk)) => bytes += chunk.len(),
                end => break end,
            }
        };
        assert!(matches!(end, Err(ReadError::BrokenOff)), "{end:?}");
        assert!(bytes > 1_000_000 && bytes < 10_000_000, "{bytes}");
        for who in [&stage.alice, &stage.bob] {
            assert_eq!(stage.ask(who, "select 'fine'").await.unwrap(), "fine");
        }
    })
    .await;
}
