//! Events are read in an order in which none can be missed.

use tokio_postgres::Client;

use crate::installation::{Installation, sqlstate};

async fn emitter(db: &Installation) -> Client {
    let author = db.application_role("author").await;
    db.run(&format!(
        "create schema app authorization {author}; set role {author};
         create function app.may_watch() returns boolean language sql as 'select true'; reset role;
         grant execute on function rolegate.emit(text, jsonb) to {author};
         grant connect on database roles_{} to {author}",
        db.unique
    ))
    .await;
    db.run("select rolegate.channel('orders', 'app.may_watch')")
        .await;
    db.run("select rolegate.channel('other', 'app.may_watch')")
        .await;
    db.connect(&author).await.unwrap()
}

async fn emit(client: &impl tokio_postgres::GenericClient, n: i32) {
    client
        .execute(
            "select rolegate.emit('orders', pg_catalog.to_jsonb($1::int4))",
            &[&n],
        )
        .await
        .unwrap();
}

/// Payloads after the cursor, and the cursor of the last one.
async fn read(gateway: &Client, after: Option<&str>) -> (Vec<String>, Option<String>) {
    let rows = gateway
        .query(
            "select cursor, payload from rolegate.read_events('{orders}', $1, 100)",
            &[&after],
        )
        .await
        .unwrap();
    let last = rows
        .last()
        .map(|row| row.get(0))
        .or(after.map(str::to_owned));
    (rows.iter().map(|row| row.get(1)).collect(), last)
}

async fn horizon(gateway: &Client) -> (String, String) {
    let row = gateway
        .query_one("select oldest, newest from rolegate.event_horizon()", &[])
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

crate::on_each_version! {
    async fn a_lower_id_that_commits_later_is_not_skipped(db) {
        let mut slow = emitter(db).await;
        let quick = db.connect(&format!("author_{}", db.unique)).await.unwrap();
        let gateway = db.login("gateway").await;
        emit(&quick, 0).await;
        let (seen, cursor) = read(&gateway, None).await;
        assert_eq!(seen, ["0"]);

        let transaction = slow.transaction().await.unwrap();
        emit(&transaction, 1).await;
        emit(&quick, 2).await;
        let (seen, cursor_between) = read(&gateway, cursor.as_deref()).await;
        assert_eq!(seen, Vec::<String>::new(), "2 has committed, but 1 sorts before it");
        assert_eq!(horizon(&gateway).await.1, cursor.unwrap());
        transaction.commit().await.unwrap();
        let (seen, cursor) = read(&gateway, cursor_between.as_deref()).await;
        assert_eq!(seen, ["1", "2"]);
        assert_eq!(horizon(&gateway).await.1, cursor.unwrap());
    }

    async fn a_rolled_back_event_is_never_read(db) {
        let mut client = emitter(db).await;
        let gateway = db.login("gateway").await;
        let transaction = client.transaction().await.unwrap();
        emit(&transaction, 1).await;
        transaction.rollback().await.unwrap();
        emit(&client, 2).await;
        assert_eq!(read(&gateway, None).await.0, ["2"]);
    }

    async fn only_emitters_are_waited_for(db) {
        let client = emitter(db).await;
        let mut bystander = db.superuser().await;
        let gateway = db.login("gateway").await;
        let transaction = bystander.transaction().await.unwrap();
        transaction.execute("select pg_current_xact_id()", &[]).await.unwrap();
        emit(&client, 1).await;
        assert_eq!(read(&gateway, None).await.0, ["1"]);
    }

    async fn an_emitter_counts_from_its_first_event_and_after_a_savepoint_too(db) {
        let mut slow = emitter(db).await;
        let quick = db.connect(&format!("author_{}", db.unique)).await.unwrap();
        let gateway = db.login("gateway").await;
        // The older transaction emits later: neither its age nor its first statement matters.
        let transaction = slow.transaction().await.unwrap();
        transaction.execute("select pg_current_xact_id()", &[]).await.unwrap();
        emit(&quick, 1).await;
        let (seen, cursor) = read(&gateway, None).await;
        assert_eq!(seen, ["1"]);
        transaction.batch_execute("savepoint s").await.unwrap();
        emit(&transaction, 2).await;
        transaction.batch_execute("rollback to s").await.unwrap();
        emit(&quick, 3).await;
        let (seen, cursor) = read(&gateway, cursor.as_deref()).await;
        assert_eq!(seen, ["3"]);
        emit(&transaction, 4).await;
        emit(&transaction, 5).await;
        emit(&quick, 6).await;
        assert_eq!(read(&gateway, cursor.as_deref()).await.0, Vec::<String>::new());
        transaction.commit().await.unwrap();
        assert_eq!(read(&gateway, cursor.as_deref()).await.0, ["4", "5", "6"]);
    }

    async fn an_old_snapshot_is_refused(db) {
        let mut gateway = db.login("gateway").await;
        let transaction = gateway.build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .start().await.unwrap();
        let read = transaction.query("select rolegate.read_events('{orders}', null, 1)", &[]).await;
        assert_eq!(sqlstate(read), "25001");
    }

    async fn pruning_moves_the_horizon(db) {
        let client = emitter(db).await;
        let gateway = db.login("gateway").await;
        assert_eq!(horizon(&gateway).await, ("0".to_owned(), "0".to_owned()));
        for n in 1..=4 {
            emit(&client, n).await;
        }
        let rows = gateway.query("select cursor from rolegate.read_events('{orders}', null, 9)", &[]).await.unwrap();
        let cursors: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let prune = async |keep: &str, rows: i32| -> i32 {
            gateway.query_one("select rolegate.event_prune($1::text::interval, $2)", &[&keep, &rows])
                .await.unwrap().get(0)
        };
        assert_eq!(prune("1 hour", 10).await, 0);
        assert_eq!(prune("-1 hour", 3).await, 3);
        assert_eq!(horizon(&gateway).await, (cursors[2].clone(), cursors[3].clone()));
        assert_eq!(read(&gateway, None).await.0, ["4"]);
        assert_eq!(prune("-1 hour", 10).await, 1);
        assert_eq!(horizon(&gateway).await, (cursors[3].clone(), cursors[3].clone()));
        assert_eq!(prune("-1 hour", 10).await, 0);
    }

    async fn only_the_channels_asked_for_are_read_and_only_declared_ones_written(db) {
        let client = emitter(db).await;
        let gateway = db.login("gateway").await;
        emit(&client, 1).await;
        client.execute("select rolegate.emit('other', '{}')", &[]).await.unwrap();
        assert_eq!(read(&gateway, None).await.0, ["1"]);
        assert_eq!(sqlstate(client.execute("select rolegate.emit('absent', '{}')", &[]).await), "42704");
for cursor in ["", "x", "-1", "1.1", " 1", "9999999999999999999", "1; drop"] {
            let read = gateway
                .query("select rolegate.read_events('{orders}', $1, 1)", &[&cursor]).await;
            assert_eq!(sqlstate(read), "22023", "{cursor}");
        }
    }

    async fn nobody_emits_without_a_grant(db) {
        let _ = emitter(db).await;
        let alice = db.admitted_role("alice").await;
        let mut clients = vec![db.connect(&alice).await.unwrap()];
        for login in ["authenticator", "anonymous", "gateway", "worker", "runtime", "console"] {
            clients.push(db.login(login).await);
        }
        for client in clients {
            assert_eq!(sqlstate(client.execute("select rolegate.emit('orders', '{}')", &[]).await), "42501");
        }
    }

    async fn a_channel_needs_a_check_that_says_yes_or_no(db) {
        let alice = db.application_role("alice").await;
        let operator = db.operator(&alice).await;
        db.run(
            "create schema app; create schema \"Odd schema\";
             create function app.number() returns int language sql as 'select 1';
             create function app.of(x text) returns boolean language sql as 'select true';
             create function app.rows() returns setof boolean language sql as 'select true';
             create function \"Odd schema\".\"may watch\"() returns boolean language sql as 'select true'",
        ).await;
        db.run(&format!("grant usage on schema app to person_{}", db.unique)).await;
        for (check, expected) in [
            ("'app.number'", "22023"), ("'app.rows'", "22023"), ("'app.of(text)'", "22023"), ("'number'", "42883"),
            ("'app.absent'", "42883"), ("'app.a; drop'", "22023"),
            ("'app.of'", "42883"), ("'absent'", "42883"), ("'app.number()'::regprocedure", "22023"),
        ] {
            let sql = format!("select rolegate.channel('c', {check})");
            assert_eq!(sqlstate(operator.execute(&sql, &[]).await), expected, "{check}");
        }
        operator.execute("select rolegate.channel('c', '\"Odd schema\".\"may watch\"')", &[]).await.unwrap();
        let gateway = db.login("gateway").await;
        let row = gateway.query_one("select name, check_function from rolegate.channels()", &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(1), "\"Odd schema\".\"may watch\"");
        let drop = "select rolegate.drop_channel('c')";
        assert!(operator.query_one(drop, &[]).await.unwrap().get::<_, bool>(0));
        assert!(!operator.query_one(drop, &[]).await.unwrap().get::<_, bool>(0));
    }
}
