//! Dates and times as PostgreSQL's JSON has them, as the numbers of Arrow. The form is the same whatever a session's
//! `DateStyle` is.

/// Why a text is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Not {
    /// It is no date.
    Date,
    /// There is no number for it: it is infinite, or too far away.
    Number,
}

const MICROS_A_SECOND: i64 = 1_000_000;
const SECONDS_A_DAY: i64 = 86_400;

/// Days since 1970-01-01: of `2026-01-31`, `0044-03-15 BC`.
pub(super) fn days(text: &str) -> Result<i32, Not> {
    let (text, before_christ) = era(finite(text)?);
    let days = day(text, before_christ).ok_or(Not::Date)?;
    i32::try_from(days).map_err(|_| Not::Number)
}

/// Microseconds since 1970-01-01 00:00, in UTC if the text has an offset: of `2026-01-31T10:00:00.5+02:00`.
pub(super) fn micros(text: &str) -> Result<i64, Not> {
    let (text, before_christ) = era(finite(text)?);
    let (date, time) = text.split_once('T').ok_or(Not::Date)?;
    let day = day(date, before_christ).ok_or(Not::Date)?;
    let (time, offset) = match time.find(['+', '-', 'Z']) {
        Some(at) => time.split_at(at),
        None => (time, ""),
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let seconds = clock(time).ok_or(Not::Date)? - shift(offset).ok_or(Not::Date)?;
    let micros = micros_of(fraction).ok_or(Not::Date)?;
    let seconds = day.checked_mul(SECONDS_A_DAY).ok_or(Not::Number)? + seconds;
    let whole = seconds.checked_mul(MICROS_A_SECOND).ok_or(Not::Number)?;
    whole.checked_add(micros).ok_or(Not::Number)
}

fn finite(text: &str) -> Result<&str, Not> {
    match text {
        "infinity" | "-infinity" => Err(Not::Number),
        text => Ok(text),
    }
}

fn era(text: &str) -> (&str, bool) {
    match text.strip_suffix(" BC") {
        Some(text) => (text, true),
        None => (text, false),
    }
}

/// Days since 1970-01-01 in the Gregorian calendar, which PostgreSQL has had forever. The year before 1 is 1 BC.
fn day(text: &str, before_christ: bool) -> Option<i64> {
    let mut parts = text.split('-').map(number);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if before_christ { 1 - year } else { year };
    // Years that begin with March: the day that comes and goes is their last one.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let in_year = (153 * month + 2) / 5 + day - 1;
    let in_cycle = year * 365 + year / 4 - year / 100 + in_year;
    Some(cycle * 146_097 + in_cycle - 719_468)
}

/// Seconds of `10:00`, `10:00:07`.
fn clock(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(number);
    let (hours, minutes) = (parts.next()??, parts.next().unwrap_or(Some(0))?);
    let seconds = parts.next().unwrap_or(Some(0))?;
    parts
        .next()
        .is_none()
        .then_some((hours * 60 + minutes) * 60 + seconds)
}

/// Seconds of `+02:00`, `-00:53:28`, and of nothing.
fn shift(text: &str) -> Option<i64> {
    match text.split_at_checked(1) {
        None | Some(("Z", "")) => Some(0),
        Some(("+", rest)) => clock(rest),
        Some(("-", rest)) => clock(rest).map(|seconds| -seconds),
        Some(_) => None,
    }
}

/// Of up to six digits behind the point.
fn micros_of(digits: &str) -> Option<i64> {
    if digits.is_empty() {
        return Some(0);
    }
    let missing = 6_usize.checked_sub(digits.len())?;
    let scale = 10_i64.pow(u32::try_from(missing).ok()?);
    number(digits).map(|number| number * scale)
}

/// Digits only: `parse` would take a sign.
fn number(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        for (text, days_since) in [
            ("1970-01-01", 0),
            ("1969-12-31", -1),
            ("2000-02-29", 11_016),
            ("2026-01-02", 20_455),
            ("0001-01-01", -719_162),
            ("0001-12-31 BC", -719_163),
            ("4713-01-01 BC", -2_440_550),
            ("5874897-12-31", 2_145_042_905),
        ] {
            assert_eq!(days(text), Ok(days_since), "{text}");
        }
        for text in ["infinity", "-infinity"] {
            assert_eq!(days(text), Err(Not::Number), "{text}");
        }
        for text in [
            "",
            "x",
            "2026-01",
            "2026-13-01",
            "2026-01-02-03",
            "+2026-01-02",
            "now",
        ] {
            assert_eq!(days(text), Err(Not::Date), "{text}");
        }
    }

    #[test]
    fn moments_are_microseconds() {
        for (text, since) in [
            ("1970-01-01T00:00:00", 0),
            ("1970-01-01T00:00:00.5", 500_000),
            ("1969-12-31T23:59:59.999999", -1),
            ("1970-01-01T02:00:00+02:00", 0),
            ("1969-12-31T19:00:00-05:00", 0),
            ("1970-01-01T00:53:28+00:53:28", 0),
            ("2026-01-02T10:00:00.123456+00:00", 1_767_348_000_123_456),
            ("0044-03-15T12:00:00+00:00 BC", -63_517_780_800_000_000),
        ] {
            assert_eq!(micros(text), Ok(since), "{text}");
        }
        // PostgreSQL goes on until 294276.
        for text in ["infinity", "-infinity", "294276-12-31T23:59:59"] {
            assert_eq!(micros(text), Err(Not::Number), "{text}");
        }
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T10:00:00.1234567",
            "2026-01-02T10:00:00*",
        ] {
            assert_eq!(micros(text), Err(Not::Date), "{text}");
        }
    }
}
