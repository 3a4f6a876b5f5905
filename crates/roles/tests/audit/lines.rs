//! Lines of `pg_hba.conf` and `pg_ident.conf`. Those of a cluster are the same for all tests, so
//! the queries run on planted ones as well.

use std::collections::BTreeSet;

use rolegate_roles::audit::{self, AuditOptions, Gateway, Issuer, PasswordCheck};
use tokio_postgres::Client;

use crate::installation::versions;
use crate::{Example, found};

const HBA: &str = include_str!("../../src/audit/checks/hba.sql");
const PASSWORD_CHECK: &str = include_str!("../../src/audit/checks/password_check.sql");
const GRANTORS: &str = include_str!("../../src/audit/checks/grantors.sql");

const LOOP4: &str = "127.0.0.1/255.255.255.255";
const LOOP6: &str = "::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";

/// Makes the tables that stand for the two views.
async fn tables(superuser: &Client) {
    superuser
        .batch_execute(
            "create temporary table rules (line_number int generated always as identity, type text, \
                 database text[], user_name text[], address text, netmask text, auth_method text, \
                 options text[], error text); \
             create temporary table mappings (line_number int generated always as identity, \
                 map_name text, sys_name text, pg_username text, error text)",
        )
        .await
        .unwrap();
}

/// Puts lines as they are in the file into the table: type, database, role, address with its mask,
/// method, option. The map is emptied.
async fn plant(example: &Example, lines: &str) {
    let superuser = &example.superuser;
    superuser
        .batch_execute("truncate rules, mappings restart identity")
        .await
        .unwrap();
    let lines = example.named(lines).replace("LOOP4", LOOP4);
    for line in lines.replace("LOOP6", LOOP6).split(';') {
        let mut words = line.split_whitespace();
        let mut word = || words.next().map(str::to_owned);
        let (kind, database, user) = (word(), word(), word());
        let network = kind.as_deref().is_some_and(|kind| kind != "local");
        let address = network.then(&mut word).flatten();
        let (address, mask) = match address.as_deref().and_then(|text| text.split_once('/')) {
            Some((address, mask)) => (Some(address.to_owned()), Some(mask.to_owned())),
            None => (address, None),
        };
        let (method, option) = (word(), word());
        let sql = "insert into rules (type, database, user_name, address, netmask, auth_method, \
            options) values ($1, array[$2], array[$3], $4, $5, $6, \
                case when $7::text is null then null else array[$7] end)";
        superuser
            .execute(
                sql,
                &[&kind, &database, &user, &address, &mask, &method, &option],
            )
            .await
            .unwrap();
    }
}

/// The columns of a case.
fn parts(case: &str) -> [&str; 3] {
    let parts: Vec<&str> = case.split('|').map(str::trim).collect();
    parts.try_into().unwrap()
}

fn on_tables(sql: &str) -> String {
    assert!(sql.contains("from pg_catalog.pg_hba_file_rules h"));
    sql.replace("pg_catalog.pg_hba_file_rules", "pg_temp.rules")
        .replace("pg_catalog.pg_ident_file_mappings", "pg_temp.mappings")
}

#[tokio::test]
async fn weak_lines_of_the_access_rules_are_found() {
    for version in versions() {
        let example = Example::new(version).await;
        let superuser = &example.superuser;
        tables(superuser).await;
        plant(
            &example,
            "local all all peer map=rolegate; host all all LOOP6 scram-sha-256; \
             hostssl all all LOOP6 cert; local all all trust; host all all LOOP6 md5; \
             host all all LOOP6 password; host all all LOOP6 ident",
        )
        .await;
        superuser
            .batch_execute("insert into rules (error) values ('invalid')")
            .await
            .unwrap();
        let rows = superuser.query(&on_tables(HBA), &[]).await.unwrap();
        let objects: BTreeSet<String> = rows.iter().map(|row| row.get("object")).collect();
        let expected: BTreeSet<String> = (4..=8)
            .map(|line| format!("pg_hba.conf line {line}"))
            .collect();
        assert_eq!(objects, expected);
        assert!(
            rows.iter()
                .all(|row| row.get::<_, &str>("id") == "login_without_scram")
        );

        // A superuser reads the real ones.
        let options = AuditOptions {
            gateway: Some(Gateway::default()),
            ..example.options()
        };
        let report = audit::run(superuser, &options).await.unwrap();
        assert_eq!(report.unreadable, Vec::<String>::new());
        example.db.remove().await;
    }
}

/// Where the check leads, with TLS or not; lines in their order; numbers of those that are found.
const PASSWORD_LINES: &str = "
127.0.0.1 plain  | host all all LOOP4 scram-sha-256 |
127.0.0.1 plain  | local all all peer; local all all trust |
127.0.0.1 plain  | host all all LOOP4 trust | 1
127.0.0.1 plain  | host all all LOOP4 md5; host all all LOOP6 scram-sha-256 | 1
::1 plain        | host all all LOOP4 md5; host all all LOOP6 scram-sha-256 |
localhost plain  | host all all LOOP4 md5; host all all LOOP6 ident | 1 2
127.0.0.1 plain  | hostssl all all LOOP4 cert |
127.0.0.1 tls    | hostssl all all LOOP4 cert | 1
127.0.0.1 tls    | hostnossl all all LOOP4 password |
127.0.0.1 plain  | hostnossl all all LOOP4 password | 1
127.0.0.1 tls    | hostgssenc all all all gss |
127.0.0.1 plain  | host all rolegate_gateway LOOP4 trust |
127.0.0.1 plain  | host all +rolegate_admitted LOOP4 ldap | 1
127.0.0.1 plain  | host replication all LOOP4 trust |
127.0.0.1 plain  | host theirs all LOOP4 trust |
127.0.0.1 plain  | host DATABASE all LOOP4 trust | 1
127.0.0.1 plain  | host /^roles_ all LOOP4 trust | 1
127.0.0.1 plain  | host all all 10.0.0.0/255.0.0.0 trust |
127.0.0.1 plain  | host all all 127.0.0.0/255.0.0.0 trust | 1
127.0.0.1 plain  | host all all 0.0.0.0/0.0.0.0 trust | 1
::1 plain        | host all all 0.0.0.0/0.0.0.0 trust |
127.0.0.1 plain  | host all all samehost trust | 1
127.0.0.1 plain  | host all all db.example trust |
db.example tls   | host all all LOOP4 trust; host all all LOOP6 trust |
db.example tls   | host all all localhost trust; host all all samehost trust |
db.example tls   | host all all 10.0.0.0/255.0.0.0 md5; host all all all cert | 1 2
db.example tls   | host all all 10.0.0.0/255.0.0.0 scram-sha-256; host all all all cert | 2
10.1.1.1 tls     | host all all 0.0.0.0/0.0.0.0 scram-sha-256; host all all ::/:: trust | 2
127.0.0.1 plain  | host all all LOOP4 scram-sha-256; host all all all trust |
127.0.0.1 plain  | host all all LOOP4 reject; host all all all trust |
localhost plain  | host all all LOOP4 scram-sha-256; host all all all trust | 2
db.example tls   | host all all all scram-sha-256; host all all all trust |
127.0.0.1 plain  | host all ann LOOP4 scram-sha-256; host all all LOOP4 trust | 2
127.0.0.1 plain  | host theirs all LOOP4 scram-sha-256; host all all LOOP4 trust | 2
127.0.0.1 plain  | host DATABASE all LOOP4 scram-sha-256; host all all LOOP4 trust |
127.0.0.1 plain  | hostssl all all LOOP4 scram-sha-256; host all all LOOP4 trust | 2
";

#[tokio::test]
async fn lines_that_the_password_check_meets_ask_for_scram() {
    for version in versions() {
        let example = Example::new(version).await;
        let superuser = &example.superuser;
        tables(superuser).await;
        let sql = example.named(&on_tables(PASSWORD_CHECK));
        for case in PASSWORD_LINES.lines().skip(1) {
            let [target, lines, expected] = parts(case);
            plant(&example, lines).await;
            let (host, tls) = target.split_once(' ').unwrap();
            let loopback: Vec<&str> = match host {
                "localhost" => vec!["127.0.0.1", "::1"],
                "127.0.0.1" | "::1" => vec![host],
                _ => Vec::new(),
            };
            let rows = superuser
                .query(&sql, &[&loopback, &(tls.trim() == "tls")])
                .await
                .unwrap();
            let objects: BTreeSet<String> = rows.iter().map(|row| row.get("object")).collect();
            let expected: BTreeSet<String> = expected
                .split_whitespace()
                .map(|line| format!("pg_hba.conf line {line}"))
                .collect();
            assert_eq!(objects, expected, "{version}: {case}");
        }
        example.db.remove().await;
    }
}

/// The whole way: from the options to the report, with the cluster's own lines.
#[tokio::test]
async fn the_configuration_of_the_gateway_is_judged() {
    for version in versions() {
        let example = Example::new(version).await;
        let issuer = |name: &str, any_audience| Issuer {
            name: name.to_owned(),
            source: "environment JWT_SECRET".to_owned(),
            any_audience,
        };
        let options = |host: &str| AuditOptions {
            gateway: Some(Gateway {
                issuers: vec![issuer("open", true), issuer("named", false)],
                password_check: Some(PasswordCheck {
                    host: host.to_owned(),
                    tls: false,
                }),
            }),
            ..example.options()
        };
        for host in ["127.0.0.1", "localhost", "db.example"] {
            let report = audit::run(&example.superuser, &options(host))
                .await
                .unwrap();
            let expected = ("audience_any".to_owned(), "issuer open".to_owned());
            assert_eq!(
                found(&report),
                [expected].into(),
                "{}",
                report.render_text()
            );
            assert!(report.failing());
            assert!(report.render_text().contains("environment JWT_SECRET"));
            assert_eq!(
                report.to_sarif("1")["runs"][0]["results"][0]["ruleId"],
                "audience_any"
            );
        }
        example.db.remove().await;
    }
}

/// Map and name in `pg_ident.conf`; lines of `pg_hba.conf` in their order; who is found.
const GROUP_LINES: &str = "
rolegate +rolegate_admitted | local all all peer map=rolegate | boss chief
other +rolegate_admitted    | local all all peer map=rolegate |
rolegate +rolegate_grantor  | local all all peer map=rolegate |
rolegate alice              | local all all peer map=rolegate |
rolegate +rolegate_admitted | local all all peer |
rolegate +rolegate_admitted | host all all all cert map=rolegate |
rolegate +rolegate_admitted | local all +rolegate_grantor reject; local all all peer map=rolegate |
rolegate +rolegate_admitted | local all all peer map=rolegate; local all +rolegate_grantor reject | boss chief
rolegate +rolegate_admitted | host all +rolegate_grantor all reject; local all all peer map=rolegate | boss chief
rolegate +rolegate_admitted | local theirs +rolegate_grantor reject; local all all peer map=rolegate | boss chief
rolegate +rolegate_admitted | local DATABASE +rolegate_grantor reject; local all all peer map=rolegate |
rolegate +rolegate_admitted | local /^roles_ +rolegate_grantor reject; local all all peer map=rolegate |
rolegate +rolegate_admitted | local sameuser all reject; local all all peer map=rolegate | boss chief
rolegate +rolegate_admitted | local samerole all reject; local all all peer map=rolegate | boss chief
rolegate +rolegate_admitted | local all boss_UNIQUE reject; local all all peer map=rolegate | chief
rolegate +rolegate_admitted | local all +team_UNIQUE reject; local all all peer map=rolegate | boss
rolegate +rolegate_admitted | local all /^chief scram-sha-256; local all all peer map=rolegate | boss
rolegate +rolegate_admitted | local DATABASE all peer map=rolegate | boss chief
";

#[tokio::test]
async fn a_line_for_the_group_lets_in_who_may_admit_unless_one_before_it_refuses() {
    for version in versions() {
        let example = Example::new(version).await;
        let superuser = &example.superuser;
        tables(superuser).await;
        example
            .run(
                "create role boss_UNIQUE login; grant rolegate_grantor to boss_UNIQUE; \
                 create role team_UNIQUE; grant rolegate_grantor to team_UNIQUE; \
                 create role chief_UNIQUE login; grant team_UNIQUE to chief_UNIQUE",
            )
            .await;
        let groups: bool = superuser
            .query_one(
                "select current_setting('server_version_num')::int >= 160000",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        let sql = example.named(&on_tables(GRANTORS));
        for case in GROUP_LINES.lines().skip(1) {
            let [mapping, lines, expected] = parts(case);
            plant(&example, lines).await;
            let (map, name) = mapping.split_once(' ').unwrap();
            superuser
                .execute(
                    "insert into mappings (map_name, sys_name, pg_username) values ($1, 'gate', $2)",
                    &[&map, &example.named(name.trim())],
                )
                .await
                .unwrap();
            let rows = superuser.query(&sql, &[]).await.unwrap();
            let objects: BTreeSet<String> = rows.iter().map(|row| row.get("object")).collect();
            let expected: BTreeSet<String> = expected
                .split_whitespace()
                .filter(|_| groups)
                .map(|name| example.fill(&format!("{name}_UNIQUE")))
                .collect();
            assert_eq!(objects, expected, "{version}: {case}");
        }
        example
            .run("drop role boss_UNIQUE, chief_UNIQUE, team_UNIQUE")
            .await;
        example.db.remove().await;
    }
}
