//! What a call's body says.

use rolegate_auth::callback::Action;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Letters of an error that are kept with the job.
const MAX_ERROR: usize = 8_000;
/// Letters of a progress message.
const MAX_MESSAGE: usize = 1_000;
/// Seconds of a heartbeat that says nothing else.
const DEFAULT_TIMEOUT: f64 = 3600.0;
/// Ten years.
const MAX_TIMEOUT: f64 = 315_360_000.0;

/// A call, understood.
#[derive(Debug, PartialEq)]
pub(super) enum Call {
    Complete {
        payload: Option<String>,
    },
    Fail {
        error: String,
        terminal: bool,
    },
    Heartbeat {
        timeout: f64,
        progress: Option<String>,
    },
    Resume {
        payload: Option<String>,
    },
}

#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Failure {
    error: Option<String>,
    #[serde(default)]
    terminal: bool,
}

#[derive(Deserialize)]
struct Heartbeat {
    timeout_seconds: Option<f64>,
    progress: Option<Progress>,
}

#[derive(Deserialize)]
struct Progress {
    percent: Option<u8>,
    message: Option<String>,
}

impl Call {
    /// What is wrong with it is safe to show: it has nothing of the body but names and positions.
    pub(super) fn parse(action: Action, body: &[u8]) -> Result<Self, String> {
        let body = if body.is_empty() { b"{}" } else { body };
        // A list would do for a struct, in the order of its members.
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err("The body must be a JSON object.".to_owned());
        }
        Ok(match action {
            Action::Complete => Self::Complete {
                payload: payload(body)?,
            },
            Action::Resume => Self::Resume {
                payload: payload(body)?,
            },
            Action::Fail => {
                let failure: Failure = read(body)?;
                let error = failure
                    .error
                    .unwrap_or_else(|| "no reason was given".to_owned());
                Self::Fail {
                    error: shortened(error, MAX_ERROR),
                    terminal: failure.terminal,
                }
            }
            Action::Heartbeat => {
                let beat: Heartbeat = read(body)?;
                let timeout = beat.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT);
                if !(0.0..=MAX_TIMEOUT).contains(&timeout) {
                    return Err(format!("`timeout_seconds` must be 0 to {MAX_TIMEOUT}."));
                }
                if beat
                    .progress
                    .as_ref()
                    .and_then(|p| p.percent)
                    .is_some_and(|p| p > 100)
                {
                    return Err("`progress.percent` must be 0 to 100.".to_owned());
                }
                Self::Heartbeat {
                    timeout,
                    progress: beat.progress.map(|progress| {
                        let message = progress.message.map(|text| shortened(text, MAX_MESSAGE));
                        serde_json::json!({ "percent": progress.percent, "message": message })
                            .to_string()
                    }),
                }
            }
        })
    }
}

/// The payload as it was written: numbers are not touched.
fn payload(body: &[u8]) -> Result<Option<String>, String> {
    let read: Payload<'_> = read(body)?;
    Ok(read.payload.map(|payload| payload.get().to_owned()))
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = match error.classify() {
            serde_json::error::Category::Data => "does not have the shape of this call",
            _ => "is not valid JSON",
        };
        format!("The body {what}, at line {line}, column {column}.")
    })
}

fn shortened(mut text: String, most: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_as_documented() {
        let parse = |action, body: &str| Call::parse(action, body.as_bytes());
        assert_eq!(
            parse(
                Action::Complete,
                r#"{"payload": {"n": 9007199254740993, "d": 1.10}, "x": 1}"#
            ),
            Ok(Call::Complete {
                payload: Some(r#"{"n": 9007199254740993, "d": 1.10}"#.to_owned())
            })
        );
        for body in ["", "{}", r#" {"payload": null}"#] {
            assert_eq!(
                parse(Action::Resume, body),
                Ok(Call::Resume { payload: None }),
                "{body}"
            );
        }
        let error = "no reason was given".to_owned();
        assert_eq!(
            parse(Action::Fail, ""),
            Ok(Call::Fail {
                error,
                terminal: false
            })
        );
        let beat = parse(
            Action::Heartbeat,
            r#"{"timeout_seconds": 0.5, "progress": {"percent": 7}}"#,
        );
        let progress = Some(r#"{"message":null,"percent":7}"#.to_owned());
        assert_eq!(
            beat,
            Ok(Call::Heartbeat {
                timeout: 0.5,
                progress
            })
        );
    }

    #[test]
    fn anything_else_is_refused_without_its_values() {
        for (action, body) in [
            (Action::Complete, "hunter2"),
            (Action::Complete, "[1]"),
            (Action::Complete, "{\"payload\": 1} x"),
            (Action::Complete, "{\"payload\": 1, \"payload\": 2}"),
            (Action::Fail, "{\"error\": 5}"),
            (Action::Fail, "{\"terminal\": \"hunter2\"}"),
            (Action::Heartbeat, "{\"timeout_seconds\": -1}"),
            (Action::Heartbeat, "{\"timeout_seconds\": 1e300}"),
            (Action::Heartbeat, "{\"timeout_seconds\": \"hunter2\"}"),
            (Action::Heartbeat, "{\"progress\": {\"percent\": 101}}"),
            (Action::Heartbeat, "{\"progress\": {\"percent\": 300}}"),
        ] {
            let refused = Call::parse(action, body.as_bytes()).expect_err(body);
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        assert!(Call::parse(Action::Complete, b"{\"payload\": \"\xff\"}").is_err());
    }

    #[test]
    fn long_texts_are_cut_between_letters() {
        assert_eq!(shortened("äöü".to_owned(), 2), "äö");
        assert_eq!(shortened("äö".to_owned(), 2), "äö");
    }
}
