//! What the numbers of the gateway's section may be. Beyond them a bound is none, or nobody gets
//! through.

use std::ops::RangeInclusive;

use super::tree::Gateway;

/// Refuses the first number that is out of its bounds.
pub(super) fn check(gateway: &Gateway) -> anyhow::Result<()> {
    // As the schema has it.
    let keys: [(&str, u64, RangeInclusive<u64>); 7] = [
        (
            "max_head_bytes",
            gateway.max_head_bytes.into(),
            8192..=1_048_576,
        ),
        (
            "head_timeout_seconds",
            gateway.head_timeout_seconds,
            1..=300,
        ),
        (
            "body_timeout_seconds",
            gateway.body_timeout_seconds,
            1..=3600,
        ),
        (
            "write_timeout_seconds",
            gateway.write_timeout_seconds,
            1..=3600,
        ),
        (
            "max_http2_streams",
            gateway.max_http2_streams.into(),
            1..=1000,
        ),
        ("heartbeat_seconds", gateway.heartbeat_seconds, 1..=300),
        ("check_again_seconds", gateway.check_again_seconds, 1..=600),
    ];
    for (key, value, bounds) in keys {
        anyhow::ensure!(
            bounds.contains(&value),
            "gateway.{key} is {value}; it must be between {} and {}",
            bounds.start(),
            bounds.end()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The schema is what editors and the reference say; every number that has a maximum there is
    /// held to it, at both ends.
    #[test]
    fn what_the_schema_says_is_what_is_checked() {
        let schema = schemars::schema_for!(Gateway).to_value();
        let properties = schema["properties"].as_object().expect("an object");
        let mut bounded = 0;
        for (key, property) in properties {
            let (Some(min), Some(max)) =
                (property["minimum"].as_u64(), property["maximum"].as_u64())
            else {
                continue;
            };
            bounded += 1;
            let meaning = property["description"].as_str().expect("a description");
            let meaning = meaning.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                meaning.contains(&format!("; {min} to {max}.")),
                "{key}: {meaning}"
            );
            let with = |value: u64| {
                let mut section = serde_json::to_value(Gateway::default()).expect("data");
                section[key] = json!(value);
                let section: Gateway = serde_json::from_value(section).expect("a section");
                check(&section)
            };
            for value in [min, max] {
                with(value).expect("within");
            }
            for value in [min - 1, max + 1] {
                let error = with(value).expect_err("beyond").to_string();
                let says = format!("gateway.{key} is {value}; it must be between {min} and {max}");
                assert_eq!(error, says);
            }
        }
        assert_eq!(bounded, 7, "{}", Value::Object(properties.clone()));
    }

    #[test]
    fn the_defaults_are_within() {
        check(&Gateway::default()).expect("within");
    }
}
