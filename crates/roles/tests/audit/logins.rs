//! What the audit says about who may log in, and about slots, on the cluster as it is.

use rolegate_pg::cluster::Admissions;
use rolegate_roles::audit::{self, Severity};
use tokio_postgres::NoTls;

use crate::installation::versions;
use crate::{Example, found};

/// The real way in, so that the finding is one: by the socket, as a role nobody admitted.
#[tokio::test]
async fn who_may_admit_gets_in_by_the_line_for_the_group() {
    for version in versions() {
        let example = Example::new(version).await;
        let boss = example.fill("boss_UNIQUE");
        example
            .run("create role boss_UNIQUE login; grant rolegate_grantor to boss_UNIQUE")
            .await;
        let of = |report: &audit::Report| {
            let findings = report.findings.iter();
            let mut severities = findings
                .filter(|f| f.id == "grantor_gets_in")
                .map(|f| f.severity);
            let severity = severities.next();
            assert_eq!(severities.next(), None);
            // Requests cannot become this role: the gateway refuses who reaches the grantor.
            assert!(
                found(report).iter().all(|(id, _)| id == "grantor_gets_in"),
                "{report:?}"
            );
            severity
        };
        let listed = Admissions::of_cluster(&example.db.cluster_directory).unwrap();
        let logs_in = async || {
            let url = listed.endpoint().url(&boss, &example.fill("DATABASE"));
            tokio_postgres::connect(&url, NoTls).await.map(drop).is_ok()
        };
        assert!(!logs_in().await);
        let report = audit::run(&example.superuser, &example.options())
            .await
            .unwrap();
        assert_eq!(of(&report), None, "{}", report.render_text());

        let groups = listed
            .admit_members_of(&example.db.names.role("admitted"))
            .await
            .unwrap();
        assert_eq!(logs_in().await, groups);
        let report = audit::run(&example.superuser, &example.options())
            .await
            .unwrap();
        assert_eq!(
            of(&report),
            groups.then_some(Severity::Error),
            "{}",
            report.render_text()
        );
        if groups {
            let finding = &report.findings[0];
            assert_eq!(finding.object, boss);
            let chain = finding.chain.join(" -> ");
            for part in ["member of", "pg_hba.conf line", "pg_ident.conf line"] {
                assert!(chain.contains(part), "{chain}");
            }
        }
        // Who may not read the lines cannot know.
        let report = example.audit(&example.options()).await;
        assert_eq!(of(&report), groups.then_some(Severity::Warning));

        // A person who was admitted and may admit is one whom requests name.
        example.run("grant rolegate_admitted to boss_UNIQUE").await;
        let report = example.audit(&example.options()).await;
        assert!(found(&report).contains(&("role_reaches_forbidden".to_owned(), boss.clone())));
        example.run("drop role boss_UNIQUE").await;
        example.db.remove().await;
    }
}

#[tokio::test]
async fn a_slot_of_ours_without_a_limit_is_found_in_its_own_database() {
    for version in versions() {
        let example = Example::new(version).await;
        let superuser = &example.superuser;
        let (ours, other) = (
            example.db.names.role(&example.db.unique),
            example.fill("slot_UNIQUE"),
        );
        let limit: String = superuser
            .query_one("show max_slot_wal_keep_size", &[])
            .await
            .unwrap()
            .get(0);
        for (slot, is_ours) in [(&other, false), (&ours, true)] {
            superuser
                .execute(
                    "select pg_create_logical_replication_slot($1, 'pgoutput')",
                    &[slot],
                )
                .await
                .unwrap();
            let report = example.audit(&example.options()).await;
            let mut findings = report.findings.iter();
            let hit = findings.find(|finding| finding.id == "slot_limits");
            assert_eq!(hit.is_some(), is_ours && limit == "-1", "{slot}: {limit}");
            assert!(hit.is_none_or(|finding| {
                finding.message.contains(&ours) && !finding.message.contains(&other)
            }));
        }
        for slot in [&other, &ours] {
            superuser
                .execute("select pg_drop_replication_slot($1)", &[slot])
                .await
                .unwrap();
        }
        example.db.remove().await;
    }
}
