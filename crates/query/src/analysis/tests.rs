use super::*;

const PLAN: &[u8] = br#"[{"Plan": {"Node Type": "Result", "Total Cost": 1.0, "Plan Rows": 1}}]"#;

fn relation(name: &str) -> Relation {
    Relation {
        oid: 20_000,
        schema: "api".into(),
        name: name.into(),
        kind: 'r',
        row_security: false,
        system: false,
        published: true,
        view: None,
        comparable: Vec::new(),
        open: true,
    }
}

fn concluded(sql: &str, relations: Vec<Relation>) -> Result<Analysis, Refusal> {
    let text = Text::read(sql)?;
    let evidence = Evidence {
        text: &text,
        plan: PLAN,
        fields: &[Field {
            name: "a".into(),
            type_oid: 23,
        }],
        relations,
        view_functions: &[],
        operators: Vec::new(),
        view_operators: Vec::new(),
        catalogs: &["pg_catalog.pg_timezone_names".to_owned()],
    };
    Analysis::conclude(evidence, &[], Identity::Login)
}

#[test]
fn row_security_makes_a_query_private() {
    let mut secured = relation("secured");
    secured.row_security = true;
    let analysis = concluded("select a from x", vec![relation("open"), secured]).expect("runs");
    let why = match analysis.scope() {
        Verdict::Private(why) => why,
        Verdict::Public(_) => panic!("public"),
    };
    assert_eq!(why, WhyPrivate::RowSecurity("api.secured".into()));
    let analysis = concluded("select a from open", vec![relation("open")]).expect("runs");
    assert!(analysis.unkept.is_empty());
    assert!(matches!(analysis.scope(), Verdict::Public(_)));
}

#[test]
fn catalogs_are_refused_where_the_text_names_them() {
    let catalog = |name: &str| Relation {
        schema: "pg_catalog".into(),
        system: true,
        published: false,
        ..relation(name)
    };
    assert_eq!(
        concluded("select a from \"pg_class\"", vec![catalog("pg_class")]),
        Err(Refusal::Catalog("pg_catalog.pg_class".into()))
    );
    // Through a view of somebody who may.
    let analysis = concluded("select a from v", vec![catalog("pg_class")]).expect("runs");
    assert_eq!(
        analysis.unkept,
        [Unkept::Unpublished("pg_catalog.pg_class".into())]
    );
    let allowed = vec![catalog("pg_timezone_names")];
    assert!(concluded("select a from pg_timezone_names", allowed).is_ok());
}

#[test]
fn what_depends_on_more_than_tables_is_not_kept() {
    let mut unpublished = relation("t");
    unpublished.published = false;
    let mut view = relation("v");
    view.kind = 'v';
    view.view = Some(" SELECT a FROM t WHERE (d < CURRENT_DATE);".into());
    for (sql, relations, count) in [
        ("select current_user, a from t", vec![relation("t")], 1),
        ("select a from t where d > 'today'", vec![relation("t")], 1),
        ("select a from t", vec![unpublished], 1),
        ("select a from v", vec![view], 1),
        ("select a from t", vec![relation("t")], 0),
    ] {
        let analysis = concluded(sql, relations).expect("runs");
        assert_eq!(analysis.unkept.len(), count, "{sql}: {:?}", analysis.unkept);
    }
}

#[test]
fn what_depends_on_the_caller_is_told_from_what_depends_on_the_time() {
    let function = |name: &str| Unkept::Function(name.to_owned());
    let word = |word: &str| Unkept::Word(word.to_owned());
    for unkept in [
        function("rolegate.claim"),
        function("api.mine"),
        function("pg_catalog.current_setting"),
        function("pg_catalog.pg_has_role"),
        function("of a view that can't be read"),
        word("current_user"),
        word("session_user"),
        word("current_schema"),
        Unkept::InView(Box::new(word("user"))),
        Unkept::Operator("===".into()),
    ] {
        assert!(unkept.depends_on_caller(), "{unkept}");
    }
    for unkept in [
        function("pg_catalog.now"),
        function("pg_catalog.random"),
        word("current_date"),
        Unkept::InView(Box::new(function("pg_catalog.clock_timestamp"))),
        Unkept::Moment("today".into()),
        Unkept::Unpublished("api.t".into()),
    ] {
        assert!(!unkept.depends_on_caller(), "{unkept}");
    }
}

#[test]
fn what_is_behind_a_view_is_not_told_to_everybody() {
    let unkept = Unkept::InView(Box::new(Unkept::Function("private.secret".into())));
    assert!(unkept.to_string().contains("private.secret"));
    assert!(!unkept.for_anonymous(|_| true).contains("secret"));
    let unkept = Unkept::Unpublished("api.closed".into());
    assert!(!unkept.for_anonymous(|_| false).contains("closed"));
    assert!(
        unkept
            .for_anonymous(|name| name == "api.closed")
            .contains("closed")
    );
}
