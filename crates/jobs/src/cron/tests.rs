//! Changes of the clocks, odd days, nicknames, absences.

use jiff::Timestamp;

use super::{MOST_MISSED, Schedule, ScheduleError};

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// The times after `after` up to `until`, as UTC.
fn times(expression: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
    let schedule = Schedule::parse(expression, zone).expect("valid");
    let between = schedule.between(time(after), time(until)).expect("times");
    between.iter().map(Timestamp::to_string).collect()
}

#[test]
fn a_time_that_does_not_exist_fires_once_right_after_the_gap() {
    // Berlin: 02:00 +01 is 03:00 +02.
    assert_eq!(
        times(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T12:00:00Z",
            "2026-03-30T12:00:00Z"
        ),
        ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
    );
    // New York: 02:00 -05 is 03:00 -04.
    assert_eq!(
        times(
            "15 2 * * *",
            "America/New_York",
            "2026-03-07T12:00:00Z",
            "2026-03-09T12:00:00Z"
        ),
        ["2026-03-08T07:00:00Z", "2026-03-09T06:15:00Z"]
    );
    // Lord Howe: 02:00 +10:30 is 02:30 +11.
    assert_eq!(
        times(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T00:00:00Z",
            "2026-10-04T23:00:00Z"
        ),
        ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]
    );
    // Two that are left out fire once, and a third at the gap's end is the same.
    assert_eq!(
        times(
            "0,30 2,3 * * *",
            "Europe/Berlin",
            "2026-03-28T23:00:00Z",
            "2026-03-29T12:00:00Z"
        ),
        ["2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"]
    );
}

#[test]
fn a_time_that_comes_twice_fires_once() {
    // Berlin: 03:00 +02 is 02:00 +01.
    assert_eq!(
        times(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            "2026-10-26T12:00:00Z"
        ),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    // New York: 02:00 -04 is 01:00 -05.
    assert_eq!(
        times(
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00:00Z",
            "2026-11-02T12:00:00Z"
        ),
        ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]
    );
    // Lord Howe: 02:00 +11 is 01:30 +10:30.
    assert_eq!(
        times(
            "45 1 * * *",
            "Australia/Lord_Howe",
            "2026-04-04T00:00:00Z",
            "2026-04-05T23:00:00Z"
        ),
        ["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"]
    );
    // Whoever asks from within the second pass does not get it again.
    let schedule = Schedule::parse("30 2 * * *", "Europe/Berlin").expect("valid");
    assert_eq!(
        schedule.next(time("2026-10-25T01:10:00Z")).expect("a time"),
        time("2026-10-26T01:30:00Z")
    );
}

#[test]
fn intervals_go_on_by_the_clock() {
    for (zone, after, until) in [
        (
            "Europe/Berlin",
            "2026-10-24T22:00:00Z",
            "2026-10-25T04:00:00Z",
        ),
        (
            "Europe/Berlin",
            "2026-03-28T22:00:00Z",
            "2026-03-29T04:00:00Z",
        ),
        (
            "America/New_York",
            "2026-11-01T02:00:00Z",
            "2026-11-01T08:00:00Z",
        ),
        (
            "Australia/Lord_Howe",
            "2026-04-04T12:00:00Z",
            "2026-04-04T18:00:00Z",
        ),
        (
            "Australia/Lord_Howe",
            "2026-10-03T12:00:00Z",
            "2026-10-03T18:00:00Z",
        ),
    ] {
        // Six hours by any clock.
        assert_eq!(
            times("*/15 * * * *", zone, after, until).len(),
            24,
            "{zone} {after}"
        );
        assert_eq!(
            times("* * * * *", zone, after, until).len(),
            360,
            "{zone} {after}"
        );
    }
}

#[test]
fn no_day_of_a_decade_is_left_out_or_doubled() {
    // A time of day fires once on each day, whatever the clocks do.
    for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"] {
        for expression in [
            "30 2 * * *",
            "30 1 * * *",
            "0 2 * * *",
            "0 3 * * *",
            "45 1 * * *",
        ] {
            let fired = times(
                expression,
                zone,
                "2020-01-01T12:00:00Z",
                "2030-01-01T12:00:00Z",
            );
            assert_eq!(fired.len(), 3653, "{zone} {expression}");
        }
    }
}

#[test]
fn odd_days_nicknames_seconds_and_years() {
    let leap = times(
        "0 0 29 2 *",
        "UTC",
        "2026-01-01T00:00:00Z",
        "2033-01-01T00:00:00Z",
    );
    assert_eq!(leap, ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
    let last = times(
        "0 12 L * *",
        "UTC",
        "2028-01-15T00:00:00Z",
        "2028-04-15T00:00:00Z",
    );
    assert_eq!(
        last,
        [
            "2028-01-31T12:00:00Z",
            "2028-02-29T12:00:00Z",
            "2028-03-31T12:00:00Z"
        ]
    );
    let daily = times(
        "@daily",
        "Europe/Berlin",
        "2026-06-01T00:00:00Z",
        "2026-06-02T00:00:00Z",
    );
    assert_eq!(daily, ["2026-06-01T22:00:00Z"]);
    let seconds = times(
        "*/20 * * * * *",
        "UTC",
        "2026-06-01T00:00:00Z",
        "2026-06-01T00:01:00Z",
    );
    assert_eq!(seconds.len(), 3);
    let friday = times(
        "0 9 * * fri#2",
        "UTC",
        "2026-06-01T00:00:00Z",
        "2026-07-01T00:00:00Z",
    );
    assert_eq!(friday, ["2026-06-12T09:00:00Z"]);
    let year = times(
        "0 0 0 1 1 * 2030",
        "UTC",
        "2026-06-01T00:00:00Z",
        "2040-01-01T00:00:00Z",
    );
    assert_eq!(year, ["2030-01-01T00:00:00Z"]);
}

#[test]
fn what_cannot_be_read_or_never_comes_is_refused() {
    for expression in [
        "",
        "x",
        "* * * *",
        "60 * * * *",
        "* * * * * * * *",
        "0 25 * * *",
    ] {
        let refused = Schedule::parse(expression, "UTC").expect_err("refused");
        assert!(
            matches!(refused, ScheduleError::Expression { .. }),
            "{expression}: {refused}"
        );
    }
    let zone = Schedule::parse("@daily", "Europe/Nowhere").expect_err("refused");
    assert!(matches!(zone, ScheduleError::TimeZone(_)), "{zone}");
    let never = Schedule::parse("0 0 30 2 *", "UTC").expect("can be read");
    let next = never.next(time("2026-01-01T00:00:00Z")).expect_err("never");
    assert!(matches!(next, ScheduleError::Never(_)), "{next}");
}

#[test]
fn an_absence_is_bounded_and_its_newest_times_are_kept() {
    let every_second = Schedule::parse("* * * * * *", "Europe/Berlin").expect("valid");
    let (gone, now) = (time("2026-01-01T00:00:00Z"), time("2026-10-25T02:00:00Z"));
    let missed = every_second.missed(gone, now).expect("times");
    assert_eq!(missed.times.len(), MOST_MISSED);
    assert!(missed.older_left_out);
    assert_eq!(missed.times.last(), Some(&now));

    let monthly = Schedule::parse("@monthly", "UTC").expect("valid");
    let missed = monthly
        .missed(time("2020-01-15T00:00:00Z"), now)
        .expect("times");
    assert_eq!(missed.times.len(), 81);
    assert!(!missed.older_left_out);

    let hourly = Schedule::parse("@hourly", "UTC").expect("valid");
    let missed = hourly
        .missed(time("2026-10-25T00:00:00Z"), now)
        .expect("times");
    assert_eq!(
        missed.times,
        [time("2026-10-25T01:00:00Z"), time("2026-10-25T02:00:00Z")]
    );
    assert!(hourly.missed(now, now).expect("times").times.is_empty());
}
