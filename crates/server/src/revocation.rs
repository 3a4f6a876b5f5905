//! What happens when rights change: connections of a role whose facts are different now are
//! closed, what runs on them is cancelled, and cached credentials are forgotten.
//!
//! Grants on functions and tables are not among the facts: the database checks them at every
//! statement anyway.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rolegate_model::RoleName;
use rolegate_pg::catalog::{Catalog, CatalogError, RoleFacts};
use rolegate_pg::pools::Pools;

use crate::config::DatabaseConfig;

/// Facts under which each role is being served.
#[derive(Debug, Default)]
pub struct Served(Mutex<HashMap<RoleName, Arc<RoleFacts>>>);

/// Roles remembered; more are forgotten at random, which only costs them their pool at the next
/// change.
const MOST: usize = 10_000;

impl Served {
    /// Notes that the role is served under these facts.
    pub fn note(&self, facts: &Arc<RoleFacts>) {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = served.get(&facts.identity.name) {
            if Arc::ptr_eq(known, facts) || **known == **facts {
                return;
            }
        } else if served.len() >= MOST
            && let Some(any) = served.keys().next().cloned()
        {
            served.remove(&any);
        }
        served.insert(facts.identity.name.clone(), Arc::clone(facts));
    }

    fn all(&self) -> Vec<(RoleName, Arc<RoleFacts>)> {
        let served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        served
            .iter()
            .map(|(name, facts)| (name.clone(), Arc::clone(facts)))
            .collect()
    }

    fn forget(&self, name: &RoleName) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

/// Closes the connections of every served role whose facts are not what they were.
pub async fn roles_changed(
    catalog: &Catalog,
    pools: &Pools,
    served: &Served,
    config: &DatabaseConfig,
) {
    if let Err(error) = close_changed(catalog, pools, served, config).await {
        // What can't be checked is not served any longer.
        tracing::warn!(%error, "roles_unknown_pools_closed");
        pools.close_logins(|_| false);
    }
}

async fn close_changed(
    catalog: &Catalog,
    pools: &Pools,
    served: &Served,
    config: &DatabaseConfig,
) -> Result<(), CatalogError> {
    for (name, before) in served.all() {
        let now = catalog.role(&name).await?;
        if now.as_deref() == Some(&*before) {
            continue;
        }
        tracing::info!(role = %name, "role_changed");
        metrics::counter!("rolegate_roles_revoked_total").increment(1);
        pools.close_login(&config.login_of(&name).user);
        served.forget(&name);
    }
    Ok(())
}
