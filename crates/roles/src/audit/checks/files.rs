//! What the server's configuration files say, for logins that may read them.

use tokio_postgres::Client;

/// Which of the files can be read; by default only superusers may.
#[derive(Debug, Clone, Copy)]
pub(in crate::audit) struct Files {
    pub(super) hba: bool,
    pub(super) ident: bool,
    /// Since 16 a line of `pg_ident.conf` can let in the members of a group.
    groups: bool,
}

impl Files {
    pub(in crate::audit) async fn look(client: &Client) -> Result<Self, tokio_postgres::Error> {
        let row = client
            .query_one(
                "select pg_catalog.has_table_privilege( \
                        'pg_catalog.pg_hba_file_rules'::pg_catalog.regclass, 'SELECT') \
                    and pg_catalog.has_function_privilege( \
                        'pg_catalog.pg_hba_file_rules()'::pg_catalog.regprocedure, 'EXECUTE'), \
                    pg_catalog.has_table_privilege( \
                        'pg_catalog.pg_ident_file_mappings'::pg_catalog.regclass, 'SELECT') \
                    and pg_catalog.has_function_privilege( \
                        'pg_catalog.pg_ident_file_mappings()'::pg_catalog.regprocedure, 'EXECUTE'), \
                    pg_catalog.current_setting('server_version_num')::pg_catalog.int4 >= 160000",
                &[],
            )
            .await?;
        Ok(Self {
            hba: row.try_get(0)?,
            ident: row.try_get(1)?,
            groups: row.try_get(2)?,
        })
    }

    /// Whether the way through the group's line is followed.
    pub(super) fn both(self) -> bool {
        self.hba && self.ident
    }

    /// What cannot be looked at, with the findings that it would take.
    pub(in crate::audit) fn unreadable(self) -> Vec<String> {
        let mut unreadable = Vec::new();
        if !self.hba {
            unreadable.push(
                "pg_hba.conf (login_without_scram, password_check_without_scram): this login may \
                 not read its rules"
                    .to_owned(),
            );
        }
        if self.groups && !self.both() {
            unreadable.push(
                "pg_ident.conf and pg_hba.conf (grantor_gets_in): this login may not read both, \
                 so members of the grantor's role count as let in"
                    .to_owned(),
            );
        }
        unreadable
    }
}
