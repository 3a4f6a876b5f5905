//! Admitting roles, refusing the powerful ones, and the closure behind both.

use rolegate_model::RoleName;
use rolegate_roles::admit::{AdmitError, AdmitMode, Dismissal, IdentLine, admit, dismiss};
use rolegate_roles::closure;

use crate::installation::{Installation, sqlstate};

const LOGIN: AdmitMode<'_> = AdmitMode::Login {
    os_user: "gate",
    map: "rolegate",
};

async fn becomes(db: &Installation, role: &str) -> Result<(), tokio_postgres::Error> {
    db.login("authenticator")
        .await
        .batch_execute(&format!("set role {role}"))
        .await
}

crate::on_each_version! {
    async fn assume_mode_lets_the_authenticator_become_the_role_and_inherit_nothing(db) {
        let alice = db.application_role("alice").await;
        db.run(&format!("create table public.hers (); alter table public.hers owner to {alice}")).await;
        assert_eq!(sqlstate(becomes(db, &alice).await), "42501");
        for _ in 0..2 {
            let done = admit(&mut db.superuser().await, &db.names, &alice, AdmitMode::Assume).await.unwrap();
            assert_eq!(done.ident_line, None);
        }
        becomes(db, &alice).await.unwrap();
        let read = db.login("authenticator").await.batch_execute("select from public.hers").await;
        assert_eq!(sqlstate(read), "42501");
        dismiss(&mut db.superuser().await, &db.names, &alice).await.unwrap();
        assert_eq!(sqlstate(becomes(db, &alice).await), "42501");
        let admitted: bool = db.superuser().await
            .query_one(&*db.names.render(&format!("select pg_has_role('{alice}', 'rolegate_admitted', 'MEMBER')")), &[])
            .await.unwrap().get(0);
        assert!(!admitted);
    }

    async fn login_mode_names_the_ident_line_and_hides_activity(db) {
        let alice = db.application_role("alice").await;
        assert_eq!(sqlstate(db.connect(&alice).await.map(drop)), "42501");
        let done = admit(&mut db.superuser().await, &db.names, &alice, LOGIN).await.unwrap();
        let groups = db.superuser().await
            .query_one("select current_setting('server_version_num')::int4 >= 160000", &[])
            .await.unwrap().get(0);
        let expected = if groups {
            IdentLine::Once(format!("\"rolegate\" \"gate\" +\"{}\"", db.names.role("admitted")))
        } else {
            IdentLine::Role(format!("\"rolegate\" \"gate\" \"{alice}\""))
        };
        assert_eq!(done.ident_line.unwrap(), expected);
        assert!(!done.activity_visible);
        let client = db.connect(&alice).await.unwrap();
        let setting: String = client.query_one("show track_activities", &[]).await.unwrap().get(0);
        assert_eq!(setting, "off");
        assert_eq!(sqlstate(client.batch_execute("set track_activities = on").await), "42501");
        assert_eq!(sqlstate(becomes(db, &alice).await), "42501");
    }

    async fn what_may_not_be_a_target_is_refused_and_nothing_is_granted(db) {
        let alice = db.application_role("alice").await;
        let between = db.application_role("between").await;
        db.run(&format!("grant {between} to {alice}")).await;
        for (plant, remove) in [
            ("grant postgres to BETWEEN", "revoke postgres from BETWEEN"),
            ("grant pg_monitor to BETWEEN", "revoke pg_monitor from BETWEEN"),
            ("alter role BETWEEN bypassrls", "alter role BETWEEN nobypassrls"),
            ("alter role BETWEEN createrole", "alter role BETWEEN nocreaterole"),
            ("alter role BETWEEN replication", "alter role BETWEEN noreplication"),
            ("grant rolegate_owner to BETWEEN", "revoke rolegate_owner from BETWEEN"),
            ("grant rolegate_grantor to BETWEEN", "revoke rolegate_grantor from BETWEEN"),
            ("alter database roles_UNIQUE owner to BETWEEN", "alter database roles_UNIQUE owner to postgres"),
        ] {
            let fill = |sql: &str| sql.replace("BETWEEN", &between).replace("UNIQUE", &db.unique);
            db.run(&fill(plant)).await;
            let error = admit(&mut db.superuser().await, &db.names, &alice, AdmitMode::Assume).await.unwrap_err();
            let AdmitError::Forbidden { chain } = &error else { panic!("{plant}: {error}") };
            assert!(chain.starts_with(&format!("{alice} -> {between}")), "{chain}");
            assert_eq!(sqlstate(becomes(db, &alice).await), "42501");
            db.run(&fill(remove)).await;
        }
        admit(&mut db.superuser().await, &db.names, &alice, AdmitMode::Assume).await.unwrap();

        for name in ["none", "public", "pg_monitor", "\"none\"", ""] {
            let error = admit(&mut db.superuser().await, &db.names, name, LOGIN).await.unwrap_err();
            assert!(matches!(error, AdmitError::Name(_)), "{name}: {error}");
        }
        for (name, chain) in [("postgres", "superuser"), (&*db.names.role("gateway"), "engine role")] {
            let error = admit(&mut db.superuser().await, &db.names, name, LOGIN).await.unwrap_err();
            assert!(error.to_string().contains(chain), "{error}");
        }
        let error = admit(&mut db.superuser().await, &db.names, "absent", LOGIN).await.unwrap_err();
        assert!(matches!(error, AdmitError::Unknown(_)), "{error}");
        db.run(&format!("alter role {alice} nologin")).await;
        let error = admit(&mut db.superuser().await, &db.names, &alice, LOGIN).await.unwrap_err();
        assert!(matches!(error, AdmitError::NoLogin(_)), "{error}");
    }

    async fn people_who_operate_may_be_targets(db) {
        let person = db.application_role("person").await;
        db.run(&format!(
            "grant rolegate_operator, rolegate_viewer, rolegate_producer, rolegate_requester, rolegate_on_behalf to {person}"
        )).await;
        admit(&mut db.superuser().await, &db.names, &person, AdmitMode::Assume).await.unwrap();
    }

    async fn the_two_texts_of_the_closure_agree(db) {
        let alice = db.application_role("alice").await;
        db.run(&format!("grant pg_read_all_data to {alice}")).await;
        let gateway = db.login("gateway").await;
        for allowed in [vec![], vec!["pg_read_all_data".to_owned()]] {
            let ours = closure::forbidden_roles(&gateway, &db.names, None, &allowed).await.unwrap();
            let theirs: Vec<(u32, String, String)> = gateway
                .query("select * from rolegate.forbidden_roles(null, $1)", &[&allowed]).await.unwrap()
                .iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
            // Other tests make and change roles of the same cluster meanwhile.
            let mine = |name: &str| {
                name.contains(&db.unique) || name.starts_with("pg_") || name == "postgres"
            };
            let ours: Vec<_> = ours.into_iter().filter(|r| mine(&r.role_name))
                .map(|r| (r.role_oid, r.role_name, r.chain)).collect();
            let theirs: Vec<_> = theirs.into_iter().filter(|r| mine(&r.1)).collect();
            assert_eq!(ours, theirs);
            assert_eq!(ours.iter().any(|r| r.1 == alice), allowed.is_empty());
            assert!(ours.iter().any(|r| r.1 == db.names.role("gateway")));
        }
    }

    /// The gateway refuses exactly the targets that the SQL functions refuse.
    async fn the_catalog_says_what_the_function_says(db) {
        let catalog = db.catalog().await;
        let gateway = db.login("gateway").await;
        let both = async |name: &str| {
            let facts = catalog.role(&RoleName::new(name).unwrap()).await.unwrap().unwrap();
            let function = gateway
                .query_opt("select chain from rolegate.forbidden_roles($1)", &[&facts.identity.oid])
                .await.unwrap().map(|row| row.get::<_, String>(0));
            (facts.forbidden.as_deref().map(ToOwned::to_owned), function)
        };
        let (plain, member) = (db.application_role("plain").await, db.application_role("member").await);
        let (reader, guest) = (db.application_role("reader").await, db.application_role("guest").await);
        let anonymous = db.names.role("anonymous");
        db.run(&format!("grant postgres to {member}; grant {plain} to {member}; \
            grant pg_read_all_data to {reader}; grant {anonymous} to {guest}")).await;
        for (name, expected) in [
            (&plain, None),
            (&member, Some(format!("{member} -> postgres (superuser)"))),
            (&reader, Some(format!("{reader} -> pg_read_all_data (predefined role)"))),
            (&guest, Some(format!("{guest} -> {anonymous} (engine role)"))),
            (&db.names.role("gateway"), Some(format!("{} (engine role)", db.names.role("gateway")))),
        ] {
            assert_eq!(both(name).await, (expected.clone(), expected), "{name}");
        }
        // Requests without a token run as this one, which nobody else may.
        let by_itself = Some(format!("{anonymous} (engine role)"));
        assert_eq!(both(&anonymous).await, (None, by_itself.clone()));
        db.run(&format!("grant {member} to {anonymous}")).await;
        let catalog = db.catalog().await;
        let facts = catalog.role(&RoleName::new(&anonymous).unwrap()).await.unwrap().unwrap();
        let chain = format!("{anonymous} -> {member} -> postgres (superuser)");
        assert_eq!(facts.forbidden.as_deref(), Some(chain.as_str()));
        db.run(&format!("revoke {member} from {anonymous}; alter role {anonymous} bypassrls")).await;
        let catalog = db.catalog().await;
        let facts = catalog.role(&RoleName::new(&anonymous).unwrap()).await.unwrap().unwrap();
        let chain = format!("{anonymous} (bypasses row-level security)");
        assert_eq!(facts.forbidden.as_deref(), Some(chain.as_str()));
    }

    async fn what_means_something_else_in_the_ident_map_is_refused_and_nothing_is_granted(db) {
        let alice = db.application_role("alice").await;
        for (os_user, map) in [("/.*", "rolegate"), ("gate", "a\nb"), ("", "rolegate")] {
            let error = admit(&mut db.superuser().await, &db.names, &alice, AdmitMode::Login { os_user, map })
                .await.unwrap_err();
            assert!(matches!(error, AdmitError::Ident(_)), "{error}");
        }
        assert_eq!(sqlstate(db.connect(&alice).await.map(drop)), "42501");
    }

    async fn a_dismissal_names_the_lines_that_are_left(db) {
        let alice = db.application_role("alice").await;
        admit(&mut db.superuser().await, &db.names, &alice, LOGIN).await.unwrap();
        let clean = dismiss(&mut db.superuser().await, &db.names, &alice).await.unwrap();
        assert_eq!(clean, Dismissal { ident_lines: Some(vec![]), activity_hidden: false });
        assert_eq!(sqlstate(db.connect(&alice).await.map(drop)), "42501");

        let listed = rolegate_pg::cluster::Admissions::of_cluster(&db.cluster_directory).unwrap();
        listed.admit(&[&alice]).await.unwrap();
        let left = dismiss(&mut db.superuser().await, &db.names, &alice).await.unwrap();
        assert_eq!(left.ident_lines.map(|lines| lines.len()), Some(1));
        listed.dismiss(&[&alice]).await.unwrap();
        let clean = dismiss(&mut db.superuser().await, &db.names, &alice).await.unwrap();
        assert_eq!(clean, Dismissal { ident_lines: Some(vec![]), activity_hidden: false });

        let grantor = db.application_role("person").await;
        db.run(&format!(
            "grant rolegate_grantor to {grantor}; grant {alice} to {grantor} with admin option;
             grant connect on database roles_{} to {grantor}", db.unique)).await;
        let unread = dismiss(&mut db.connect(&grantor).await.unwrap(), &db.names, &alice).await.unwrap();
        assert_eq!(unread, Dismissal { ident_lines: None, activity_hidden: false });
    }

    async fn a_dismissal_puts_the_visibility_back(db) {
        let mut superuser = db.superuser().await;
        let settings = async |role: &str| -> Vec<String> {
            let sql = "select s.setconfig from pg_catalog.pg_db_role_setting s \
                where s.setrole = (select oid from pg_catalog.pg_roles where rolname = $1)";
            let row = db.superuser().await.query_opt(sql, &[&role]).await.unwrap();
            row.map_or_else(Vec::new, |row| row.get(0))
        };
        for (name, before) in [
            ("none", None), ("on", Some("on")), ("yes", Some("yes")), ("off", Some("off")), ("zero", Some("0")),
        ] {
            let role = db.application_role(name).await;
            let mut expected = vec!["work_mem=1MB".to_owned()];
            db.run(&format!("alter role {role} set work_mem = '1MB'")).await;
            if let Some(value) = before {
                db.run(&format!("alter role {role} set track_activities = '{value}'")).await;
                let means_on = matches!(value, "on" | "yes");
                expected.push(format!("track_activities={}", if means_on { "on" } else { value }));
            }
            for _ in 0..2 {
                let done = admit(&mut superuser, &db.names, &role, LOGIN).await.unwrap();
                assert!(!done.activity_visible, "{name}");
                let client = db.connect(&role).await.unwrap();
                let now: String = client.query_one("show track_activities", &[]).await.unwrap().get(0);
                assert_eq!(now, "off", "{name}");
                // What the role may change of itself does not lose what was there.
                client.batch_execute("alter role current_user reset all").await.unwrap();
                db.run(&format!("alter role {role} set work_mem = '1MB'")).await;
            }
            for _ in 0..2 {
                let done = dismiss(&mut superuser, &db.names, &role).await.unwrap();
                assert!(!done.activity_hidden, "{name}");
                let mut now = settings(&role).await;
                now.sort_by_key(|entry| entry.starts_with("track"));
                assert_eq!(now, expected, "{name}");
            }
        }
    }

    async fn what_only_a_superuser_can_put_back_is_said(db) {
        let (alice, grantor) = (db.application_role("alice").await, db.application_role("person").await);
        db.run(&format!(
            "grant rolegate_grantor to {grantor}; grant {alice} to {grantor} with admin option;
             grant connect on database roles_{} to {grantor}", db.unique)).await;
        admit(&mut db.superuser().await, &db.names, &alice, LOGIN).await.unwrap();
        // Since 16 a person takes back only what he gave.
        db.run(&format!("revoke rolegate_admitted from {alice}")).await;
        let mut person = db.connect(&grantor).await.unwrap();
        admit(&mut person, &db.names, &alice, AdmitMode::Assume).await.unwrap();
        let left = dismiss(&mut person, &db.names, &alice).await.unwrap();
        assert!(left.activity_hidden);

        // A member of a group that is admitted goes on calling.
        let group = db.application_role("group").await;
        db.run(&format!("grant {group} to {alice}; grant rolegate_admitted to {group}")).await;
        let done = dismiss(&mut db.superuser().await, &db.names, &alice).await.unwrap();
        assert!(!done.activity_hidden);
        let client = db.connect(&alice).await.unwrap();
        let now: String = client.query_one("show track_activities", &[]).await.unwrap().get(0);
        assert_eq!(now, "off");
        db.run(&format!("revoke {group} from {alice}")).await;
        let done = dismiss(&mut db.superuser().await, &db.names, &alice).await.unwrap();
        assert!(!done.activity_hidden);
        db.run(&format!("grant rolegate_admitted to {alice}")).await;
        let client = db.connect(&alice).await.unwrap();
        let now: String = client.query_one("show track_activities", &[]).await.unwrap().get(0);
        assert_eq!(now, "on");
    }

    async fn a_grant_by_somebody_else_is_revoked_too(db) {
        let alice = db.application_role("alice").await;
        let grantor = db.application_role("person").await;
        db.run(&format!(
            "grant rolegate_grantor to {grantor}; grant {alice} to {grantor} with admin option;
             grant connect on database roles_{} to {grantor}", db.unique)).await;
        // On 16 and later the grantor works with what it was given; before, membership options
        // do not exist and the same grants suffice.
        let mut client = db.connect(&grantor).await.unwrap();
        let done = admit(&mut client, &db.names, &alice, AdmitMode::Assume).await.unwrap();
        assert!(done.role_oid > 0);
        becomes(db, &alice).await.unwrap();
        dismiss(&mut db.superuser().await, &db.names, &alice).await.unwrap();
        assert_eq!(sqlstate(becomes(db, &alice).await), "42501");
    }
}
