//! Which clusters this test run has: what `with-clusters` tells the tests, through one variable.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rolegate_pg::cluster::{Admissions, Error, SocketEndpoint};
use serde::{Deserialize, Serialize};

/// The variable that holds the [`Clusters`] as JSON.
pub const VARIABLE: &str = "ROLEGATE_TEST_CLUSTERS";

/// A major version of PostgreSQL that everything is tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// The oldest one supported.
    #[serde(rename = "15")]
    Pg15,
    /// The newest one.
    #[serde(rename = "18")]
    Pg18,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Self; 2] = [Self::Pg15, Self::Pg18];

    /// 15 or 18.
    pub fn major(self) -> u32 {
        match self {
            Self::Pg15 => 15,
            Self::Pg18 => 18,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}", self.major())
    }
}

/// A running cluster that tests may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCluster {
    /// Its directory.
    pub directory: PathBuf,
    /// Where its socket is.
    pub socket_dir: PathBuf,
    /// Its port.
    pub port: u16,
    /// The operating system user whom the peer map lets in.
    pub os_user: String,
    /// The migrated database that tests clone.
    pub template: String,
}

impl TestCluster {
    /// The cluster's socket.
    pub fn endpoint(&self) -> SocketEndpoint {
        SocketEndpoint::new(self.socket_dir.clone(), self.port)
    }

    /// The major version that it really is: another one may stand in for the oldest.
    pub fn major(&self) -> u32 {
        let file = self.directory.join("data/PG_VERSION");
        let text = std::fs::read_to_string(&file).expect("the server has written its version");
        text.trim().parse().expect("a number")
    }

    /// Who may log in through it.
    pub fn admissions(&self) -> Result<Admissions, Error> {
        Admissions::of_cluster(&self.directory)
    }
}

/// The clusters of this test run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clusters(pub BTreeMap<Version, TestCluster>);

impl Clusters {
    /// What the environment says. Fails the test, with the command to use, if it says nothing.
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no command line of their own, and only tests use this crate"
    )]
    pub fn from_environment() -> Self {
        let package = std::env::var("CARGO_PKG_NAME");
        Self::read(
            std::env::var(VARIABLE).ok().as_deref(),
            package.as_deref().unwrap_or("PACKAGE"),
        )
    }

    /// The version that stands in for 15 in this run.
    pub fn instead_of_15() -> Option<u32> {
        let clusters = Self::from_environment();
        let major = clusters.0.get(&Version::Pg15)?.major();
        (major != Version::Pg15.major()).then_some(major)
    }

    fn read(variable: Option<&str>, package: &str) -> Self {
        let Some(text) = variable else {
            panic!(
                "this test needs PostgreSQL ({VARIABLE} is not set); run `make test`, or \
                 `cargo run -p rolegate-testkit --bin with-clusters -- cargo nextest run -p {package}`"
            );
        };
        serde_json::from_str(text)
            .unwrap_or_else(|error| panic!("{VARIABLE} is not what `with-clusters` sets: {error}"))
    }

    /// The cluster of `version`. Fails the test if this run has none.
    pub fn get(&self, version: Version) -> &TestCluster {
        self.0.get(&version).unwrap_or_else(|| {
            panic!("this run has no {version}; run `with-clusters` without `--only`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "--bin with-clusters -- cargo nextest run -p some-crate`")]
    fn without_the_variable_a_test_fails_with_the_command_to_run() {
        Clusters::read(None, "some-crate");
    }

    #[test]
    fn the_variable_is_keyed_by_major_version() {
        let cluster = TestCluster {
            directory: "/c".into(),
            socket_dir: "/c/run".into(),
            port: 5433,
            os_user: "me".to_owned(),
            template: "t".to_owned(),
        };
        let clusters = Clusters([(Version::Pg15, cluster)].into());
        let text = serde_json::to_string(&clusters).expect("plain data");
        assert!(text.starts_with("{\"15\":{"), "{text}");
        assert_eq!(
            serde_json::from_str::<Clusters>(&text).expect("the same data"),
            clusters
        );
    }
}
