//! Who may call: every way to get past the signature that we know of.

use rolegate_auth::callback::{
    Action, Call, SIGNATURE_HEADER, TIMESTAMP_HEADER, Verifier, legacy, sign,
};
use rolegate_server::callbacks::{Callbacks, CallbacksError, Callers};
use rolegate_testkit::{TestDatabase, for_each_version};

use crate::harness::{Answer, Desk, Receiver, config, current, key, now, signature, verifier};

/// An id, what is said about it, and the body.
type Said<'a> = (&'a str, Action, &'a str);
/// Names and values.
type Headers<'a> = &'a [(&'a str, &'a str)];

/// Sends a call with these headers.
async fn send(receiver: &Receiver, (id, action, body): Said<'_>, headers: Headers<'_>) -> Answer {
    let request = headers
        .iter()
        .fold(receiver.bare(id, action, body), |request, (name, value)| {
            request.header(*name, *value)
        });
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one list of attacks")]
async fn only_the_call_that_was_signed_is_accepted() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let ((job, id), (_, other)) = (desk.parked().await, desk.parked().await);
        let body = r#"{"payload": 1}"#;
        let time = now();
        let (t, late) = (time.to_string(), (time - 301).to_string());
        let ahead = (time + 330).to_string();
        let good = signature(&current(), &id, Action::Complete, body, time);
        let tag = good.rsplit(',').next().unwrap();
        let complete = (&*id, Action::Complete, body);
        let signed =
            |key_id: &str, byte| signature(&key(key_id, byte), &id, Action::Complete, body, time);
        let [old_name, unknown, upper, bare, list] = [
            format!("v1,old,{tag}"),
            signed("stranger", 7),
            format!("v1,current,{}", tag.to_uppercase()),
            tag.to_owned(),
            format!("{good},{good}"),
        ];
        let foreign = signed("current", 9);
        let stale = signature(&current(), &id, Action::Complete, body, time - 301);
        let early = signature(&current(), &id, Action::Complete, body, time + 330);
        let put = Call {
            method: "PUT",
            action: Action::Complete,
            id: &id,
            timestamp: time,
            body: body.as_bytes(),
        };
        let put = sign(&current(), &put).unwrap();
        let (s, ts) = (SIGNATURE_HEADER, TIMESTAMP_HEADER);
        let by_id = legacy::sign(&current(), &id);
        let l = legacy::SIGNATURE_HEADER;
        let cases: &[(&str, Said<'_>, Headers<'_>)] = &[
            ("nothing", complete, &[]),
            ("no time", complete, &[(s, &good)]),
            ("no signature", complete, &[(ts, &t)]),
            (
                "another body",
                (&id, Action::Complete, r#"{"payload": 2}"#),
                &[(s, &good), (ts, &t)],
            ),
            (
                "no body",
                (&id, Action::Complete, ""),
                &[(s, &good), (ts, &t)],
            ),
            (
                "another action",
                (&id, Action::Fail, body),
                &[(s, &good), (ts, &t)],
            ),
            (
                "another id",
                (&other, Action::Complete, body),
                &[(s, &good), (ts, &t)],
            ),
            (
                "another time",
                complete,
                &[(s, &good), (ts, &(time + 1).to_string())],
            ),
            ("another method", complete, &[(s, &put), (ts, &t)]),
            ("later", complete, &[(s, &stale), (ts, &late)]),
            ("ahead", complete, &[(s, &early), (ts, &ahead)]),
            ("another key's name", complete, &[(s, &old_name), (ts, &t)]),
            (
                "an unknown key's name",
                complete,
                &[(s, &unknown), (ts, &t)],
            ),
            ("another secret", complete, &[(s, &foreign), (ts, &t)]),
            ("upper case", complete, &[(s, &upper), (ts, &t)]),
            ("no version", complete, &[(s, &bare), (ts, &t)]),
            ("two in one", complete, &[(s, &list), (ts, &t)]),
            (
                "two, the good one first",
                complete,
                &[(s, &good), (s, &foreign), (ts, &t)],
            ),
            (
                "two, the good one last",
                complete,
                &[(s, &foreign), (s, &good), (ts, &t)],
            ),
            (
                "the same twice",
                complete,
                &[(s, &good), (s, &good), (ts, &t)],
            ),
            ("two times", complete, &[(s, &good), (ts, &t), (ts, &t)]),
            ("the id alone", complete, &[(l, &by_id)]),
            (
                "the id alone as the new one",
                complete,
                &[(s, &by_id), (ts, &t)],
            ),
        ];
        for (what, call, headers) in cases {
            let answer = send(&receiver, *call, headers).await;
            answer.refused(401, "signature_invalid");
            assert_eq!(answer.headers.get("www-authenticate"), None, "{what}");
            assert_eq!(desk.place(job.root).await, "parked waiting 0", "{what}");
        }
        // A prefix in upper case is another path; the signature of the id is about its letters.
        let upper = id.to_uppercase();
        let answer = send(
            &receiver,
            (&upper, Action::Complete, body),
            &[(s, &good), (ts, &t)],
        )
        .await;
        answer.refused(401, "signature_invalid");
        // And the call itself.
        let answer = send(&receiver, complete, &[(s, &good), (ts, &t)]).await;
        assert_eq!(answer.state(), "completed");
        // Played back within its time it changes nothing.
        assert!(
            send(&receiver, complete, &[(s, &good), (ts, &t)])
                .await
                .is_replay()
        );
    })
    .await;
}

#[tokio::test]
async fn each_key_of_a_rotation_is_accepted() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        for key in [key("old", 6), current()] {
            let (_, id) = desk.parked().await;
            let time = now();
            let signature = signature(&key, &id, Action::Complete, "", time);
            let headers = [
                (SIGNATURE_HEADER, &*signature),
                (TIMESTAMP_HEADER, &time.to_string()),
            ];
            let answer = send(&receiver, (&id, Action::Complete, ""), &headers).await;
            assert_eq!(answer.state(), "completed", "{}", key.id());
        }
    })
    .await;
}

#[tokio::test]
async fn the_id_alone_is_enough_where_that_is_switched_on() {
    for_each_version(async |db| {
        let desk = Desk::open(db).await;
        let accepting = Callers::Signed(verifier().accept_legacy(true));
        let receiver = Receiver::start_with(db, config(accepting)).await;
        let (job, id) = desk.parked().await;
        let (_, other) = desk.parked().await;
        let l = legacy::SIGNATURE_HEADER;
        let good = legacy::sign(&current(), &id);
        let foreign = legacy::sign(&key("x", 9), &id);
        let t = now().to_string();
        let call = (&*id, Action::Complete, "{}");
        for (call, headers) in [
            ((&*other, Action::Complete, "{}"), &[(l, &*good)][..]),
            (call, &[(l, &foreign)]),
            (call, &[(l, &good), (l, &good)]),
            // Beside the new headers it does not count.
            (call, &[(l, &good), (TIMESTAMP_HEADER, &t)]),
            (
                call,
                &[
                    (l, &good),
                    (SIGNATURE_HEADER, "v1,current,00"),
                    (TIMESTAMP_HEADER, &t),
                ],
            ),
        ] {
            send(&receiver, call, headers)
                .await
                .refused(401, "signature_invalid");
        }
        // A function of the peer's: two heartbeats with the same body both count.
        for seconds in [500, 700] {
            let sql = format!(
                "update rolegate.job_callback set timeout_at = now() + interval '{seconds} s'"
            );
            desk.superuser.batch_execute(&sql).await.unwrap();
            let beat = (&*id, Action::Heartbeat, r#"{"timeout_seconds": 60.0}"#);
            let answer = send(&receiver, beat, &[(l, &good)]).await;
            assert_eq!(answer.state(), "waiting_external");
            let short =
                "select bool_or(timeout_at < now() + interval '2 min') from rolegate.job_callback";
            assert_eq!(desk.value(short).await, true);
        }
        let answer = send(
            &receiver,
            (&id, Action::Complete, r#"{"payload": {"ok": true}}"#),
            &[(l, &good)],
        )
        .await;
        assert_eq!(answer.body["id"], job.root);
    })
    .await;
}

/// Ids that are signed and are none.
#[tokio::test]
async fn a_signed_id_that_is_no_uuid_is_refused_before_the_database() {
    for_each_version(async |db| {
        let (desk, receiver) = (Desk::open(db).await, Receiver::start(db).await);
        let (job, id) = desk.parked().await;
        let wide = id.replace('-', "%E2%80%90");
        for id in [
            &*id.to_uppercase(),
            &id.replace('-', ""),
            &format!("%7B{id}%7D"),
            &format!("urn:uuid:{id}"),
            &format!("{id}%00"),
            &format!("%20{id}"),
            "abc",
            "%D0%B0%D0%B1%D0%B2",
            "..%2F..%2Fetc",
            &wide,
            &"a".repeat(3000),
        ] {
            receiver
                .call(id, Action::Complete, "")
                .await
                .refused(400, "invalid_request");
        }
        assert_eq!(desk.place(job.root).await, "parked waiting 0");
        let nobodys = "0f8fad5b-d9cb-469f-a165-70867728950e";
        for action in Action::ALL {
            receiver
                .call(nobodys, action, "")
                .await
                .refused(404, "callback_not_found");
        }
    })
    .await;
}

#[tokio::test]
async fn without_keys_it_listens_on_loopback_only() {
    for_each_version(async |db| {
        let mut public = config(Callers::Unsigned);
        public.bind = "0.0.0.0:0".parse().unwrap();
        let refused = bind(db, public).await.err();
        assert!(
            matches!(refused, Some(CallbacksError::UnsignedBeyondLoopback(_))),
            "{refused:?}"
        );
        let mut wild = config(Callers::Unsigned);
        wild.prefix = "/{anything}".to_owned();
        let refused = bind(db, wild).await.err();
        assert!(
            matches!(refused, Some(CallbacksError::Prefix(_))),
            "{refused:?}"
        );

        let desk = Desk::open(db).await;
        let receiver = Receiver::start_with(db, config(Callers::Unsigned)).await;
        let (_, id) = desk.parked().await;
        let answer = send(&receiver, (&id, Action::Complete, ""), &[]).await;
        assert_eq!(answer.state(), "completed");
    })
    .await;
}

async fn bind(
    db: &TestDatabase,
    config: rolegate_server::callbacks::CallbacksConfig,
) -> Result<Callbacks, CallbacksError> {
    let login = rolegate_pg::wire::Login::peer("rolegate_receiver");
    let clock = std::sync::Arc::new(rolegate_model::SystemClock);
    Callbacks::bind(config, &db.wire_endpoint(), &login, "rolegate", clock).await
}

/// A key that does not sign for this receiver is none, however similar.
#[test]
fn keys_of_two_receivers_are_not_mixed_up() {
    assert!(Verifier::new(vec![key("a", 1), key("a", 2)]).is_err());
    assert!(Verifier::new(vec![key("a", 1), key("b", 1)]).is_err());
}
