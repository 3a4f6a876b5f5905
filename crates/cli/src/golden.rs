//! Files that are made by the program and committed, so that a change of them is seen.

use std::path::Path;

/// Fails unless the file of the repository is `content`; writes it if `UPDATE` is set.
pub(crate) fn check(file: &str, content: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(file);
    #[expect(
        clippy::disallowed_methods,
        reason = "how a person asks a test to write"
    )]
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(&path, content).expect("the repository can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    if committed != content {
        let line = content
            .lines()
            .zip(committed.lines())
            .position(|(new, old)| new != old)
            .unwrap_or_else(|| content.lines().count().min(committed.lines().count()));
        panic!(
            "{file} is not what the program says, from line {}; if the change is meant, run \
             `UPDATE=1 cargo nextest run -p rolegate-cli --bins` and commit it\nnow: {:?}\nthere: {:?}",
            line + 1,
            content.lines().nth(line),
            committed.lines().nth(line)
        );
    }
}
