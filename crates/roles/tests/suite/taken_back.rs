//! What is granted and taken back between two looks at the catalog.

use std::time::Duration;

use rolegate_model::RoleName;
use tokio_util::sync::CancellationToken;

use crate::installation::{Installation, versions};

#[tokio::test]
async fn a_grant_that_no_look_has_seen_is_not_remembered() {
    for version in versions() {
        let db = Installation::new(version).await;
        let catalog = db.catalog().await;
        let stop = CancellationToken::new();
        let watching = tokio::spawn({
            let (catalog, stop) = (catalog.clone(), stop.clone());
            async move { catalog.watch(stop).await }
        });
        let superuser = db.superuser().await;
        let admitted = db.names.role("admitted");
        // Between two looks, most times.
        for late in ["late", "later", "latest"] {
            let role = db.application_role(late).await;
            let name = RoleName::new(&role).unwrap();
            let grant = format!("grant {admitted} to {role}");
            let revoke = format!("revoke {admitted} from {role}");
            tokio::time::sleep(Duration::from_millis(300)).await;
            superuser.batch_execute(&grant).await.unwrap();
            let facts = catalog.role(&name).await.unwrap().unwrap();
            superuser.batch_execute(&revoke).await.unwrap();
            assert!(facts.admitted, "it was, when we asked");
            let facts = catalog.role(&name).await.unwrap().unwrap();
            assert!(!facts.admitted, "it was taken back");
        }
        stop.cancel();
        watching.await.unwrap();
        db.remove().await;
    }
}
