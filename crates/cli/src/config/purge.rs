//! What copies of answers are purged by at a CDN.

use anyhow::Context as _;
use rolegate_query::PurgeKeys;
use rolegate_server::config::PurgeHeader;

use super::read_seal_key;
use super::tree::Query;

/// The header of a database's answers.
pub(super) fn header(database: &str, section: &Query) -> anyhow::Result<Option<PurgeHeader>> {
    let Some(name) = &section.purge_key_header else {
        return Ok(None);
    };
    let header = PurgeHeader::new(name, keys(database, section)?);
    Ok(Some(header.context("query.purge_key_header")?))
}

/// The keys of a database.
pub(crate) fn keys(database: &str, section: &Query) -> anyhow::Result<PurgeKeys> {
    let file = section.purge_secret_file.as_ref().context(
        "query.purge_secret_file is missing: without a secret the keys could be guessed, and with them the names \
         of tables; make one with: openssl rand -hex 32",
    )?;
    let secret = read_seal_key(file).context("query.purge_secret_file")?;
    Ok(PurgeKeys::new(&secret, database))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_needs_a_secret_and_a_name_of_its_kind() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("purge.key");
        let section = |name: &str| Query {
            purge_key_header: Some(name.to_owned()),
            purge_secret_file: Some(file.clone()),
            ..Query::default()
        };
        assert!(header("app", &Query::default()).expect("off").is_none());
        let error = |section: &Query| format!("{:#}", header("app", section).expect_err("refused"));
        let missing = Query {
            purge_secret_file: None,
            ..section("Cache-Tag")
        };
        assert!(error(&missing).contains("query.purge_secret_file is missing"));
        std::fs::write(&file, "hunter2").expect("written");
        let wrong = error(&section("Cache-Tag"));
        assert!(
            wrong.contains("64 hex digits") && !wrong.contains("hunter2"),
            "{wrong}"
        );
        std::fs::write(&file, "07".repeat(32)).expect("written");
        assert!(
            header("app", &section("Cache-Tag"))
                .expect("valid")
                .is_some()
        );
        assert!(error(&section("ETag")).contains("query.purge_key_header"));
    }
}
