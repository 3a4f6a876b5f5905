//! Application roles of a test. Roles belong to the cluster, so their names carry the test's own.

use std::sync::PoisonError;

use rolegate_model::role::MAX_IDENTIFIER_BYTES;
use rolegate_pg::quote;
use rolegate_roles::admit::{AdmitMode, admit};
use rolegate_roles::names::Names;

use super::TestDatabase;

/// How a test's role is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admitted {
    /// Not at all: it exists.
    No,
    /// Requests log in as it: admitted, and listed in the cluster's peer map.
    Login,
    /// `rolegate_authenticator` switches to it.
    Assume,
}

impl TestDatabase {
    /// Makes an ordinary role that may log in and is admitted for it. Returns its name, which
    /// starts with `base` and is like no other test's.
    pub async fn create_role(&self, base: &str) -> String {
        self.create_role_with(base, "login", Admitted::Login).await
    }

    /// Makes a role with `attributes` (SQL, as after `create role NAME`).
    pub async fn create_role_with(
        &self,
        base: &str,
        attributes: &str,
        admitted: Admitted,
    ) -> String {
        let suffix = self.name.trim_start_matches("test_");
        let room = MAX_IDENTIFIER_BYTES - suffix.len() - 1;
        assert!(
            base.len() <= room,
            "the role name {base} has more than {room} bytes"
        );
        let name = format!("{base}_{suffix}");
        let mut client = self.superuser().await;
        let create = ["create role ", &quote::ident(&name), " ", attributes].concat();
        if let Err(error) = client.batch_execute(&create).await {
            panic!("{create}: {error:?}");
        }
        self.roles
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(name.clone());
        let mode = match admitted {
            Admitted::No => return name,
            Admitted::Login => AdmitMode::Login {
                os_user: &self.cluster.os_user,
                map: "rolegate",
            },
            Admitted::Assume => AdmitMode::Assume,
        };
        if let Err(error) = admit(&mut client, &Names::default(), &name, mode).await {
            panic!("admitting {name}: {error:?}");
        }
        if admitted == Admitted::Login {
            self.list_in_peer_map(&[&name]).await;
        }
        name
    }

    /// Lets this process log in as `roles` through the socket, admitted or not.
    pub async fn list_in_peer_map(&self, roles: &[&str]) {
        let listed = match self.cluster.admissions() {
            Ok(admissions) => admissions.admit(roles).await,
            Err(error) => Err(error),
        };
        if let Err(error) = listed {
            panic!("listing {roles:?} in the peer map: {error:?}");
        }
    }
}
