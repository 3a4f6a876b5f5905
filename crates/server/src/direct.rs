//! The second way to a database, which has to lead to the same one: what is watched there decides
//! about what runs here.

use rolegate_pg::own::{OwnPool, OwnPoolError};

use crate::config::DatabaseConfig;

/// Why a direct address does not do.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// No connection there, or no answer.
    #[error("it can't be asked which database it leads to")]
    Direct(#[source] OwnPoolError),
    /// No connection by `url`, or no answer.
    #[error("url can't be asked which database it leads to")]
    Url(#[source] OwnPoolError),
    /// They are different.
    #[error("it leads to another database than url: {what} {direct}, not {url}")]
    Another {
        /// What differs.
        what: &'static str,
        /// By the direct address.
        direct: String,
        /// By `url`.
        url: String,
    },
    /// The same by name, and not the same server: a standby, or what was made of a copy.
    #[error(
        "it leads to another server than url, a standby or a copy: the one was started at \
         {direct}, the other at {url}"
    )]
    Copy {
        /// By the direct address.
        direct: String,
        /// By `url`.
        url: String,
    },
}

/// Connections to the direct address, if there is one, after a look at what it leads to.
pub(crate) async fn open(
    config: &DatabaseConfig,
    url: &OwnPool,
) -> Result<Option<OwnPool>, DirectError> {
    let Some(endpoint) = &config.direct else {
        return Ok(None);
    };
    let direct = OwnPool::new(endpoint, &config.gateway, config.own_connections)
        .map_err(DirectError::Direct)?;
    let there = Identity::of(&direct).await.map_err(DirectError::Direct)?;
    let here = Identity::of(url).await.map_err(DirectError::Url)?;
    there.is(here)?;
    Ok(Some(direct))
}

/// Which database of which server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    system_identifier: String,
    database: String,
    server_start: String,
}

impl Identity {
    async fn of(pool: &OwnPool) -> Result<Self, OwnPoolError> {
        let client = pool.get().await?;
        let row = client
            .query_one(include_str!("sql/identity.sql"), &[])
            .await?;
        Ok(Self {
            system_identifier: row.try_get(0)?,
            database: row.try_get(1)?,
            server_start: row.try_get(2)?,
        })
    }

    fn is(self, url: Self) -> Result<(), DirectError> {
        let another = |what, direct, url| Err(DirectError::Another { what, direct, url });
        if self.system_identifier != url.system_identifier {
            return another(
                "system identifier",
                self.system_identifier,
                url.system_identifier,
            );
        }
        if self.database != url.database {
            return another("database", self.database, url.database);
        }
        if self.server_start != url.server_start {
            return Err(DirectError::Copy {
                direct: self.server_start,
                url: url.server_start,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_have_to_be_the_same() {
        let identity = |system_identifier: &str, database: &str, server_start: &str| Identity {
            system_identifier: system_identifier.to_owned(),
            database: database.to_owned(),
            server_start: server_start.to_owned(),
        };
        let url = || identity("1", "app", "2026-01-01");
        url().is(url()).expect("the same");
        for (direct, says) in [
            (
                identity("2", "app", "2026-01-01"),
                "system identifier 2, not 1",
            ),
            (
                identity("1", "other", "2026-01-01"),
                "database other, not app",
            ),
            (identity("1", "app", "2026-01-02"), "a standby or a copy"),
        ] {
            let error = direct.is(url()).expect_err("another").to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
