//! Rows in Arrow's form, read as others read them, against what PostgreSQL says they are.

use std::fmt::Write as _;
use std::io::Cursor;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt32Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use bytes::Bytes;
use rolegate_testkit::for_each_version;
use serde_json::json;
use tokio::time::timeout;

use super::Setting;
use crate::harness::{Gateway, Options, code, outcome};

const ARROW: &str = "application/vnd.apache.arrow.stream";

/// Values of a type, and the text that PostgreSQL has for the same number.
const VALUES: [(&str, &[&str], &str); 17] = [
    ("boolean", &["true", "false"], "v"),
    ("int2", &["-32768", "32767"], "v"),
    ("int4", &["-2147483648", "7"], "v"),
    ("int8", &["9223372036854775807", "0"], "v"),
    ("oid", &["4294967295"], "v"),
    ("float4", &["0.1", "NaN", "-Infinity"], "v"),
    ("float8", &["0.1", "1e300", "NaN", "Infinity"], "v"),
    ("numeric", &["1.10", "NaN", "12345678901234567890.5"], "v"),
    ("text", &["", "\"quoted\"", "[1]", "Zürich"], "v"),
    ("bytea", &["\\x00ff5c", ""], "encode(v, 'hex')"),
    (
        "date",
        &["2026-01-02", "1969-12-31", "0044-03-15 BC", "5874897-12-31"],
        "v - date '1970-01-01'",
    ),
    (
        "timestamp",
        &[
            "2026-01-02 10:00:00.123456",
            "1969-12-31 23:59:59.999999",
            "0044-03-15 12:00 BC",
        ],
        "(extract(epoch from v) * 1000000)::int8",
    ),
    (
        "timestamptz",
        &[
            "2026-07-02 10:00:00.5+02",
            "1880-01-01 00:00+00",
            "294246-12-31 00:00+00",
        ],
        "(extract(epoch from v) * 1000000)::int8",
    ),
    (
        "uuid",
        &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
        "replace(v::text, '-', '')",
    ),
    ("jsonb", &["{\"a\": [1, null]}", "\"x\""], "v"),
    ("inet", &["10.0.0.1/8"], "v"),
    ("interval", &["1 day 02:03:04"], "v"),
];

fn read(body: Bytes) -> Vec<RecordBatch> {
    let reader = StreamReader::try_new(Cursor::new(body), None).expect("a stream");
    reader.collect::<Result<_, _>>().expect("batches")
}

/// A value as its number is written.
fn text(array: &dyn Array, row: usize) -> Option<String> {
    macro_rules! number {
        ($type:ty) => {
            array.as_primitive::<$type>().value(row).to_string()
        };
    }
    if array.is_null(row) {
        return None;
    }
    let hexadecimal = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String");
            text
        })
    };
    Some(match array.data_type().to_string().as_str() {
        "Boolean" => array.as_boolean().value(row).to_string(),
        "Int16" => number!(Int16Type),
        "Int32" => number!(Int32Type),
        "Int64" => number!(Int64Type),
        "UInt32" => number!(UInt32Type),
        "Float32" => number!(Float32Type),
        "Float64" => number!(Float64Type),
        "Date32" => number!(Date32Type),
        "Timestamp(µs)" | "Timestamp(µs, \"UTC\")" => number!(TimestampMicrosecondType),
        "Binary" => hexadecimal(array.as_binary::<i32>().value(row)),
        "FixedSizeBinary(16)" => hexadecimal(array.as_fixed_size_binary().value(row)),
        "Utf8" => array.as_string::<i32>().value(row).to_owned(),
        other => panic!("{other}"),
    })
}

/// Floating point numbers are the same if they are the same number.
fn is_same(type_name: &str, told: &str, expected: &str) -> bool {
    let number = |text: &str| {
        text.replace("Infinity", "inf")
            .parse::<f64>()
            .expect("a number")
    };
    match type_name {
        "float4" | "float8" => {
            let (told, expected) = (number(told), number(expected));
            told.to_bits() == expected.to_bits() || (told.is_nan() && expected.is_nan())
        }
        _ => told == expected,
    }
}

#[tokio::test]
async fn values_are_those_of_the_database() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        let superuser = db.superuser().await;
        superuser
            .batch_execute("set timezone = 'UTC'")
            .await
            .expect("set");
        // How a role wants to read dates and bytes in texts is no matter here.
        let odd = format!(
            "alter role \"{role}\" set datestyle = 'German';
             alter role \"{role}\" set intervalstyle = 'postgres';
             alter role \"{role}\" set timezone = 'Europe/Amsterdam';
             alter role \"{role}\" set bytea_output = 'escape'",
            role = setting.member
        );
        superuser.batch_execute(&odd).await.expect("altered");
        for (type_name, values, canonical) in VALUES {
            let values: Vec<String> = values
                .iter()
                .map(|value| format!("('{value}'::{type_name})"))
                .collect();
            let rows = format!("(values {}, (null)) t(v)", values.join(", "));
            let expected = format!("select ({canonical})::text from {rows}");
            let expected = superuser.query(&expected, &[]).await.expect("values");
            let expected: Vec<Option<String>> = expected.iter().map(|row| row.get(0)).collect();
            let public = format!("select v from {rows}");
            let private = format!("select v from {rows} where exists (select from closed)");
            for (token, sql) in [(None, &public), (Some(&*setting.token), &private)] {
                let ask = setting
                    .ask(token, &json!({"sql": sql}))
                    .header("accept", ARROW);
                let answer = ask.send().await.expect("an answer");
                let status = answer.status();
                assert_eq!(
                    answer.headers()["content-type"],
                    if status == 200 { ARROW } else { "" },
                    "{sql}"
                );
                let scope = if token.is_some() { "private" } else { "public" };
                assert_eq!(answer.headers()["rolegate-scope"], scope);
                let batches = read(answer.bytes().await.expect("a body"));
                let array = batches[0].column(0);
                let told: Vec<Option<String>> =
                    (0..array.len()).map(|row| text(array, row)).collect();
                assert_eq!(told.len(), expected.len(), "{sql}");
                for (told, expected) in told.iter().zip(&expected) {
                    let same = match (told, expected) {
                        (Some(told), Some(expected)) => is_same(type_name, told, expected),
                        (told, expected) => told == expected,
                    };
                    assert!(same, "{type_name}: {told:?} is not {expected:?}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_arrow_has_no_number_for_is_refused() {
    for_each_version(async |db| {
        let setting = Setting::lay(db).await;
        for value in [
            "date 'infinity'",
            "timestamptz '-infinity'",
            "timestamp '294276-12-31'",
        ] {
            let body = json!({"sql": format!("select 1 as a, {value} as b")});
            let (status, code, text) =
                outcome(setting.ask(None, &body).header("accept", ARROW)).await;
            assert_eq!((status, &*code), (422, "query_refused"), "{text}");
            assert!(text.contains("\\\"b\\\""), "{text}");
            let (status, _, text) = outcome(setting.ask(None, &body)).await;
            assert_eq!(status, 200, "{text}");
        }
        // Something that is no answer is a problem as ever.
        let body = json!({"sql": "select id from docs"});
        let answer = setting
            .ask(None, &body)
            .header("accept", ARROW)
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 401);
        assert_eq!(code(&answer.text().await.expect("text")), "query_private");
    })
    .await;
}

/// The same bytes at once, at their address, and when they are made again.
#[tokio::test]
async fn an_answer_in_arrow_is_kept_as_others_are() {
    for_each_version(async |db| {
        let setting = Setting::lay_with(
            db,
            Options {
                follow: true,
                ..Options::default()
            },
        )
        .await;
        let body = json!({"sql": "select id, name, at from open order by id"});
        // Nothing is kept while something of before the stream began still runs on the server.
        let ask = async |accept: &'static str| loop {
            let ask = setting.ask(None, &body).header("accept", accept);
            let ask = ask.header("prefer", "return=representation");
            let answer = ask.send().await.expect("an answer");
            let place = answer.headers().get("content-location").cloned();
            let bytes = answer.bytes().await.expect("a body");
            if let Some(place) = place {
                break (place.to_str().expect("text").to_owned(), bytes);
            }
        };
        let (place, whole) = ask(ARROW).await;
        assert_ne!(ask("application/json").await.0, place);
        assert_eq!(
            ask("text/html, application/vnd.apache.arrow.stream").await,
            (place.clone(), whole.clone())
        );
        let url = format!("http://{}{place}", setting.gateway.address);
        let there = setting
            .gateway
            .client
            .get(&url)
            .send()
            .await
            .expect("an answer");
        assert_eq!(there.headers()["content-type"], ARROW);
        assert_eq!(there.headers()["cache-control"], "public, max-age=259200");
        let there = there.bytes().await.expect("a body");
        assert_eq!(there, whole);
        let batches = read(there);
        assert_eq!(batches[0].num_rows(), 2);
        assert_eq!(text(batches[0].column(1), 1).as_deref(), Some("two"));
        assert_eq!(text(batches[0].column(2), 1), None);

        // Another process knows the query from the database, and makes the same bytes of it.
        let superuser = db.superuser().await;
        let stored = "select count(*) from rolegate.query_sources where form = $1";
        let written_down = async {
            while superuser
                .query_one(stored, &[&ARROW])
                .await
                .expect("a count")
                .get::<_, i64>(0)
                == 0
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(20), written_down)
            .await
            .expect("written down");
        let other = Gateway::start(db).await;
        let there = other
            .client
            .get(format!("http://{}{place}", other.address))
            .send()
            .await
            .expect("an answer");
        assert_eq!(there.status(), 200);
        assert_eq!(there.headers()["content-type"], ARROW);
        assert_eq!(there.bytes().await.expect("a body"), whole);
    })
    .await;
}
