//! Minting, finding, listing and revoking API tokens, and who may not.

use aws_lc_rs::digest;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::installation::{Installation, hex, sqlstate};

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

async fn mint(client: &Client, role: &str) -> Result<(Uuid, String), tokio_postgres::Error> {
    client
        .query_one(
            "select token_id, token from rolegate.mint_api_token($1)",
            &[&role],
        )
        .await
        .map(|row| (row.get(0), row.get(1)))
}

async fn epoch(db: &Installation) -> i64 {
    db.login("gateway")
        .await
        .query_one("select rolegate.epoch()", &[])
        .await
        .unwrap()
        .get(0)
}

crate::on_each_version! {
    async fn a_minted_token_is_found_until_it_is_revoked(db) {
        let alice = db.admitted_role("alice").await;
        let operator = db.operator(&alice).await;
        let gateway = db.login("gateway").await;
        let before = epoch(db).await;
        let (id, token) = mint(&operator, &alice).await.unwrap();
        assert!(epoch(db).await > before);

        assert_eq!(token.len(), 3 + 64 + 8);
        assert!(token.starts_with("rg_"));
        assert!(token[3..].chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')), "{token}");
        let checksum = hex(&sha256(&token.as_bytes()[..67])[..4]);
        assert_eq!(&token[67..], checksum);

        let find = "select token_id, role_name, role_oid, scopes, expires_at - created_at = interval '90 days', revoked \
                    from rolegate.find_api_token($1)";
        let hash = sha256(token.as_bytes());
        let row = gateway.query_one(find, &[&hash]).await.unwrap();
        assert_eq!(row.get::<_, Uuid>(0), id);
        assert_eq!(row.get::<_, &str>(1), alice);
        let oid: u32 = gateway
            .query_one("select oid from pg_roles where rolname = $1::text", &[&alice]).await.unwrap().get(0);
        assert_eq!(row.get::<_, u32>(2), oid);
        assert_eq!(row.get::<_, Option<&str>>(3), None);
        assert!(row.get::<_, bool>(4));
        assert!(!row.get::<_, bool>(5));
        assert!(gateway.query_opt(find, &[&sha256(b"another")]).await.unwrap().is_none());

        let revoke = "select rolegate.revoke_api_token($1)";
        let before = epoch(db).await;
        assert!(operator.query_one(revoke, &[&id]).await.unwrap().get::<_, bool>(0));
        assert!(!operator.query_one(revoke, &[&id]).await.unwrap().get::<_, bool>(0));
        assert!(!operator.query_one(revoke, &[&Uuid::new_v4()]).await.unwrap().get::<_, bool>(0));
        assert!(epoch(db).await > before);
        assert!(gateway.query_one(find, &[&hash]).await.unwrap().get::<_, bool>(5));
    }

    async fn no_text_of_a_token_is_kept(db) {
        let alice = db.admitted_role("alice").await;
        let (_, token) = mint(&db.operator(&alice).await, &alice).await.unwrap();
        // The whole row as text, as a superuser sees it.
        let row: String = db.superuser().await
            .query_one("select t::text from rolegate.api_token t", &[]).await.unwrap().get(0);
        assert!(!row.contains(&token[3..67]));
    }

    async fn a_token_is_for_a_role_the_operator_is_a_member_of(db) {
        let alice = db.admitted_role("alice").await;
        let bob = db.admitted_role("bob").await;
        let stranger = db.application_role("stranger").await;
        let operator = db.operator(&alice).await;
        db.run(&format!("grant {stranger} to person_{}", db.unique)).await;
        assert_eq!(sqlstate(mint(&operator, &bob).await), "42501");
        let import = "select rolegate.import_api_token($1, $2, '', null)";
        assert_eq!(sqlstate(operator.execute(import, &[&vec![1_u8; 32], &bob]).await), "42501");

        let error = mint(&operator, &stranger).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "55000");
        assert!(error.hint().unwrap().contains("admit"), "{error:?}");

        for name in ["none", "public", "NONE", "no_such_role", "", "pg_monitor"] {
            let code = sqlstate(mint(&operator, name).await);
            assert!(matches!(&*code, "42704" | "42501"), "{name}: {code}");
        }
    }

    async fn a_role_that_is_too_powerful_gets_no_token(db) {
        let alice = db.admitted_role("alice").await;
        let operator = db.operator(&alice).await;
        mint(&operator, &alice).await.unwrap();
        for (plant, remove) in [
            ("grant postgres to ALICE", "revoke postgres from ALICE"),
            ("grant pg_read_all_data to ALICE", "revoke pg_read_all_data from ALICE"),
            ("alter role ALICE bypassrls", "alter role ALICE nobypassrls"),
            ("alter role ALICE createrole", "alter role ALICE nocreaterole"),
            ("alter role ALICE replication", "alter role ALICE noreplication"),
            ("alter role ALICE superuser", "alter role ALICE nosuperuser"),
            ("grant rolegate_gateway to ALICE", "revoke rolegate_gateway from ALICE"),
        ] {
            db.run(&plant.replace("ALICE", &alice)).await;
            let error = mint(&operator, &alice).await.unwrap_err();
            let error = error.as_db_error().unwrap();
            assert_eq!(error.code().code(), "42501", "{plant}");
            assert!(error.detail().unwrap().starts_with(&alice), "{error:?}");
            db.run(&remove.replace("ALICE", &alice)).await;
        }
        mint(&operator, &alice).await.unwrap();
    }

    async fn only_operators_mint_and_revoke(db) {
        let alice = db.admitted_role("alice").await;
        let (id, _) = mint(&db.operator(&alice).await, &alice).await.unwrap();
        let viewer = db.application_role("viewer").await;
        db.run(&format!("grant rolegate_viewer, {alice} to {viewer}")).await;
        let viewer = db.connect(&viewer).await.unwrap();
        let listed = viewer.query("select * from rolegate.list_api_tokens()", &[]).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert!(listed[0].columns().iter().all(|c| !c.name().contains("hash")));

        let mut clients = vec![("viewer", viewer), ("alice", db.connect(&alice).await.unwrap())];
        for login in ["authenticator", "anonymous", "gateway", "worker", "receiver", "console", "runtime"] {
            clients.push((login, db.login(login).await));
        }
        for (who, client) in &clients {
            assert_eq!(sqlstate(mint(client, &alice).await), "42501", "{who}");
            let revoked = client.execute("select rolegate.revoke_api_token($1)", &[&id]).await;
            assert_eq!(sqlstate(revoked), "42501", "{who}");
            if !matches!(*who, "gateway" | "runtime") {
                let found = client.execute("select rolegate.find_api_token('')", &[]).await;
                assert_eq!(sqlstate(found), "42501", "{who}");
            }
        }
    }

    async fn lifetimes_are_stated(db) {
        let alice = db.admitted_role("alice").await;
        let operator = db.operator(&alice).await;
        for refused in ["expires_in => '-1 day'", "expires_in => '0'", "expires_in => null"] {
            let sql = format!("select rolegate.mint_api_token('{alice}', {refused})");
            assert_eq!(sqlstate(operator.execute(&sql, &[]).await), "22023", "{refused}");
        }
        let sql = format!(
            "select expires_at is null from rolegate.mint_api_token('{alice}', never_expires => true, \
             scopes => '{{\"surfaces\": [\"calls\"]}}')");
        assert!(operator.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0));
        let sql = format!("select rolegate.mint_api_token('{alice}', scopes => '[]')");
        assert_eq!(sqlstate(operator.execute(&sql, &[]).await), "23514");
    }

    async fn use_is_noted_at_most_once_a_minute_and_changes_no_epoch(db) {
        let alice = db.admitted_role("alice").await;
        let (id, _) = mint(&db.operator(&alice).await, &alice).await.unwrap();
        let gateway = db.login("gateway").await;
        let before = epoch(db).await;
        let touch = async || {
            gateway.execute("select rolegate.touch_api_tokens($1)", &[&vec![id]]).await.unwrap();
        };
        let last_used = async || -> Option<String> {
            db.superuser().await
                .query_one("select last_used_at::text from rolegate.api_token", &[]).await.unwrap().get(0)
        };
        assert_eq!(last_used().await, None);
        touch().await;
        let first = last_used().await;
        assert!(first.is_some());
        touch().await;
        assert_eq!(last_used().await, first);
        db.run("update rolegate.api_token set last_used_at = last_used_at - interval '61 seconds'").await;
        touch().await;
        assert_ne!(last_used().await, first);
        assert_eq!(epoch(db).await, before);
    }

    async fn tokens_of_a_role_that_was_made_again_are_bound_again_on_request(db) {
        let (alice, bob) = (db.admitted_role("alice").await, db.admitted_role("bob").await);
        let operator = db.operator(&alice).await;
        mint(&operator, &alice).await.unwrap();
        let (revoked, _) = mint(&operator, &alice).await.unwrap();
        operator.execute("select rolegate.revoke_api_token($1)", &[&revoked]).await.unwrap();
        let of_bob = format!(
            "insert into rolegate.api_token (token_hash, role_name, role_oid, created_by) \
             select sha256('b'), rolname, oid, 'x' from pg_roles where rolname = '{bob}'");
        db.run(&of_bob).await;
        let rebind = async |only: Option<Vec<String>>, dry_run: bool| -> Vec<(String, bool, bool)> {
            let sql = "select role_name, old_oid <> coalesce(new_oid, old_oid), refused is not null \
                from rolegate.rebind_roles($1, $2)";
            operator.query(sql, &[&only, &dry_run]).await.unwrap().iter()
                .map(|row| (row.get(0), row.get(1), row.get(2))).collect()
        };
        assert_eq!(rebind(None, false).await, [], "everything is as it was");
        // What a restore in another cluster looks like: the same names, other OIDs.
        db.run("update rolegate.api_token set role_oid = (role_oid::int8 + 1000000)::oid").await;
        let before = epoch(db).await;
        let (hers, his) = ((alice.clone(), true, false), (bob.clone(), false, true));
        assert_eq!(rebind(None, true).await, [hers.clone(), his.clone()]);
        assert_eq!(epoch(db).await, before, "a dry run changes nothing");
        assert_eq!(rebind(Some(vec![bob.clone()]), false).await, std::slice::from_ref(&his), "he is not the operator's");
        assert_eq!(rebind(Some(vec![alice.clone()]), false).await, [hers]);
        assert!(epoch(db).await > before, "gateways look again");
        assert_eq!(rebind(None, false).await, [his]);
        let wrong: i64 = db.superuser().await.query_one(
            "select count(*) from rolegate.api_token t join pg_roles r on r.rolname = t.role_name \
             where (r.oid = t.role_oid) <> (t.role_name = $1 and t.revoked_at is null)", &[&alice],
        ).await.unwrap().get(0);
        assert_eq!(wrong, 0, "a revoked token and bob's stay as they were");
        let gateway = db.login("gateway").await;
        let refused = gateway.query("select rolegate.rebind_roles()", &[]).await;
        assert_eq!(sqlstate(refused), "42501");
    }

    /// Every page, with each filter, is what the whole list has there; and it reads no more than that.
    async fn pages_are_the_list_in_pieces_and_cost_what_is_on_them(db) {
        let (alice, bob) = (db.admitted_role("alice").await, db.admitted_role("bob").await);
        // Many at one moment, as tokens that are made in one transaction have it.
        db.run(&format!(
            "insert into rolegate.api_token \
                 (token_hash, role_name, role_oid, created_by, created_at, revoked_at) \
             select sha256(convert_to(n::text, 'UTF8')), r.rolname, r.oid, 'x', \
                 '2026-01-01'::timestamptz + n / 5 * interval '1 minute', \
                 case when n % 3 = 0 then now() end \
             from generate_series(1, 2000) n \
             join pg_roles r on r.rolname = case when n % 50 = 0 then '{alice}' else '{bob}' end; \
             analyze rolegate.api_token"
        )).await;
        let viewer = db.operator(&alice).await;
        let (alices, nobodys) = (Some(alice.as_str()), Some("nobody"));
        for (role, revoked, size, expected) in [
            (None, None, 300, 2000),
            (None, Some(true), 97, 666),
            (alices, None, 7, 40),
            (alices, Some(false), 1, 27),
            (nobodys, None, 10, 0),
        ] {
            let mut pages: Vec<Uuid> = Vec::new();
            loop {
                let page = viewer.query(
                    "select token_id from rolegate.page_api_tokens($1, $2, $3, $4)",
                    &[&role, &revoked, &pages.last(), &size],
                ).await.unwrap();
                assert!(page.len() <= usize::try_from(size).unwrap());
                if page.is_empty() {
                    break;
                }
                pages.extend(page.iter().map(|row| row.get::<_, Uuid>(0)));
            }
            let list = viewer.query(
                "select token_id from rolegate.list_api_tokens() \
                 where ($1::text is null or role_name = $1) \
                    and ($2::bool is null or $2 = (revoked_at is not null)) \
                 order by created_at desc, token_id",
                &[&role, &revoked],
            ).await.unwrap();
            let list: Vec<Uuid> = list.iter().map(|row| row.get(0)).collect();
            assert_eq!(pages, list, "{role:?} {revoked:?}");
            assert_eq!(list.len(), expected, "{role:?} {revoked:?}");
        }
        let unknown = Uuid::new_v4();
        let after = "select * from rolegate.page_api_tokens(after_token => $1)";
        assert_eq!(sqlstate(viewer.query(after, &[&unknown]).await), "P0002");

        // A page in the middle reads its own rows and few others, of all or of one role.
        let admin = db.superuser().await;
        for role in [None, alices] {
            // By another session: what it reads must not be counted here.
            let middle: Uuid = viewer.query_one(
                "select token_id from rolegate.list_api_tokens() \
                 where $1::text is null or role_name = $1 offset 20 limit 1",
                &[&role],
            ).await.unwrap().get(0);
            admin.batch_execute("begin").await.unwrap();
            let page = admin.query(
                "select from rolegate.page_api_tokens($1, null, $2, 5)", &[&role, &middle],
            ).await.unwrap();
            let row = admin.query_one(
                "select seq_tup_read, idx_tup_fetch from pg_stat_xact_user_tables \
                 where relid = 'rolegate.api_token'::regclass",
                &[],
            ).await.unwrap();
            admin.batch_execute("rollback").await.unwrap();
            let (scanned, fetched): (i64, i64) = (row.get(0), row.get(1));
            assert!(page.len() == 5 && scanned == 0 && fetched < 30, "{scanned} {fetched}");
        }
    }

    async fn an_imported_token_is_found_by_its_hash(db) {
        let alice = db.admitted_role("alice").await;
        let operator = db.operator(&alice).await;
        let hash = sha256(b"a token of another product");
        let import = "select rolegate.import_api_token($1, $2, 'old', now() + interval '1 day')";
        let id: Uuid = operator.query_one(import, &[&hash, &alice]).await.unwrap().get(0);
        let found: Uuid = db.login("gateway").await
            .query_one("select token_id from rolegate.find_api_token($1)", &[&hash]).await.unwrap().get(0);
        assert_eq!(id, found);
        assert_eq!(sqlstate(operator.execute(import, &[&hash, &alice]).await), "23505");
        assert_eq!(sqlstate(operator.execute(import, &[&vec![1_u8; 31], &alice]).await), "23514");
    }
}
