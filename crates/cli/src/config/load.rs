//! Reading the configuration: file, then environment, then flags.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};

use super::tree::Config;

/// A configuration and where its values come from.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) figment: Figment,
}

/// Where a configuration file is looked for when none is named.
const PLACES: [&str; 2] = ["rolegate.toml", "/etc/rolegate/rolegate.toml"];

/// Reads the configuration. A file that was named must exist; others are optional.
pub(crate) fn load(named: Option<&Path>) -> anyhow::Result<Loaded> {
    let file = match named {
        Some(path) if !path.is_file() => {
            anyhow::bail!("there is no configuration file {}", path.display());
        }
        Some(path) => Some(path.to_owned()),
        None => PLACES.iter().map(PathBuf::from).find(|path| path.is_file()),
    };
    // Defaults are part of the tree, so that every value has a source.
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    if let Some(file) = file {
        figment = figment.merge(Toml::file_exact(file));
    }
    figment = figment.merge(Env::prefixed("ROLEGATE_").split("__").ignore(&[
        // Variables of the command line and of tests that share the prefix.
        "config",
        "test_clusters",
        "data_dir",
    ]));
    let config = figment
        .extract()
        .map_err(|error| anyhow::anyhow!("configuration: {error}"))?;
    Ok(Loaded { config, figment })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("rolegate.toml");
        std::fs::write(&path, text)?;
        Ok(load(Some(&path))?.config)
    }

    #[test]
    fn an_empty_file_is_all_defaults() {
        let config = parse("").expect("valid");
        assert_eq!(config.gateway.bind.port(), 8080);
        assert!(config.databases.is_empty());
    }

    #[test]
    fn unknown_keys_are_refused_with_their_path() {
        let error = parse("[gateway]\nbindd = \"127.0.0.1:1\"")
            .expect_err("refused")
            .to_string();
        assert!(error.contains("bindd"), "{error}");
    }

    #[test]
    fn a_database_needs_no_more_than_a_url() {
        let config = parse("[databases.app]\nurl = \"postgresql://localhost/app\"").expect("valid");
        assert_eq!(config.databases["app"].schemas, ["api"]);
    }
}
