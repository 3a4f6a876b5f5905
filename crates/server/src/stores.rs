//! API tokens and signing keys as they are kept in the database.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rolegate_auth::api_token::{ApiTokenRecord, ApiTokenStore};
use rolegate_auth::signing::{SigningKeyStore, StoreError, StoredKey};
pub(crate) use rolegate_pg::EngineSql;
use rolegate_pg::own::OwnPool;

#[derive(Debug)]
pub(crate) struct StoredTokens {
    pub(crate) pool: OwnPool,
    pub(crate) sql: Arc<EngineSql>,
}

impl ApiTokenStore for StoredTokens {
    fn find<'a>(
        &'a self,
        hash: &'a [u8; 32],
    ) -> BoxFuture<'a, Result<Option<ApiTokenRecord>, StoreError>> {
        async move {
            let client = self.pool.get().await?;
            let sql = self.sql.of(
                "select t.token_id, t.role_name, t.role_oid, t.scopes, t.created_at, \
                 t.expires_at, t.revoked from rolegate.find_api_token($1) t",
            );
            let statement = client.prepare_cached(&sql).await?;
            let row = client.query_opt(&statement, &[&hash.as_slice()]).await?;
            row.map(|row| {
                Ok(ApiTokenRecord {
                    token_id: row.try_get(0)?,
                    role_name: row.try_get(1)?,
                    role_oid: row.try_get(2)?,
                    scopes: row.try_get(3)?,
                    created_at: row.try_get(4)?,
                    expires_at: row.try_get(5)?,
                    revoked: row.try_get(6)?,
                })
            })
            .transpose()
        }
        .boxed()
    }
}

#[derive(Debug)]
pub(crate) struct StoredKeys {
    pub(crate) pool: OwnPool,
    pub(crate) sql: Arc<EngineSql>,
}

impl SigningKeyStore for StoredKeys {
    fn load(&self) -> BoxFuture<'_, Result<Vec<StoredKey>, StoreError>> {
        async move {
            let client = self.pool.get().await?;
            let sql = self.sql.of(
                "select k.kid, k.algorithm, k.public_jwk, k.sealed_private, k.created_at, \
                 k.signs_from, k.signs_until from rolegate.signing_keys() k",
            );
            let rows = client.query(&sql, &[]).await?;
            rows.iter()
                .map(|row| {
                    Ok(StoredKey {
                        kid: row.try_get(0)?,
                        algorithm: row.try_get(1)?,
                        public_jwk: row.try_get(2)?,
                        sealed_private: row.try_get(3)?,
                        created_at: row.try_get(4)?,
                        signs_from: row.try_get(5)?,
                        signs_until: row.try_get(6)?,
                    })
                })
                .collect()
        }
        .boxed()
    }

    fn store<'a>(
        &'a self,
        key: &'a StoredKey,
        only_if_wanted: bool,
    ) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            let client = self.pool.get().await?;
            let sql = self
                .sql
                .of("select rolegate.store_signing_key($1, $2, $3::text::jsonb, $4::bytea, $5)");
            let row = client
                .query_one(
                    &sql,
                    &[
                        &key.kid,
                        &key.algorithm,
                        &key.public_jwk,
                        &key.sealed_private,
                        &only_if_wanted,
                    ],
                )
                .await?;
            Ok(row.try_get(0)?)
        }
        .boxed()
    }
}
