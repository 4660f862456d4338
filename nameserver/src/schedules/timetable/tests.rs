//! Due times on both sides of a change of the clock.

use super::*;
use jiff::Zoned;

/// The due times of a pattern between two times in a zone, in local time with the offset from UTC.
fn due(cron: &str, zone: &str, from: &str, until: &str) -> Vec<String> {
    let timetable = Timetable::new(cron, zone).unwrap();
    let moment = |text: &str| -> Zoned { format!("{text}[{zone}]").parse().unwrap() };
    let until = moment(until).timestamp().as_millisecond();
    let mut now = moment(from).timestamp().as_millisecond() - 1;
    let mut found = Vec::new();
    while let Some(next) = timetable.next_after(now).filter(|next| *next < until) {
        assert!(next > now);
        now = next;
        let shown = Timestamp::from_millisecond(next).unwrap();
        let shown = shown.to_zoned(timetable.zone.clone());
        found.push(shown.strftime("%d %H:%M%:z").to_string());
    }
    found
}

#[test]
fn a_time_that_the_clock_skips_is_due_right_after_the_gap() {
    // Berlin: from 02:00+01 to 03:00+02 on 29 March 2026.
    let berlin = |cron| {
        due(
            cron,
            "Europe/Berlin",
            "2026-03-28T12:00",
            "2026-03-30T12:00",
        )
    };
    assert_eq!(berlin("30 2 * * *"), ["29 03:00+02:00", "30 02:30+02:00"]);
    // Several hours: each time once, whether or not the clock shows it.
    assert_eq!(
        berlin("30 1,2,14 * * *"),
        [
            "28 14:30+01:00",
            "29 01:30+01:00",
            "29 03:00+02:00",
            "29 14:30+02:00",
            "30 01:30+02:00",
            "30 02:30+02:00"
        ]
    );
    // All times of the gap are due at once, and so is the time right after it: one task.
    let night = due(
        "*/20 2-3 * * *",
        "Europe/Berlin",
        "2026-03-29T00:00",
        "2026-03-29T12:00",
    );
    assert_eq!(
        night,
        ["29 03:00+02:00", "29 03:20+02:00", "29 03:40+02:00"]
    );
    // New York: from 02:00-05 to 03:00-04 on 8 March 2026. The hour before the gap is not affected.
    let new_york = |cron| {
        due(
            cron,
            "America/New_York",
            "2026-03-07T12:00",
            "2026-03-09T12:00",
        )
    };
    assert_eq!(new_york("15 2 * * *"), ["08 03:00-04:00", "09 02:15-04:00"]);
    assert_eq!(new_york("0 1 * * *"), ["08 01:00-05:00", "09 01:00-04:00"]);
}

#[test]
fn a_time_that_comes_twice_is_due_the_first_time() {
    // Berlin: from 03:00+02 to 02:00+01 on 25 October 2026.
    let berlin = |cron| {
        due(
            cron,
            "Europe/Berlin",
            "2026-10-24T12:00",
            "2026-10-26T12:00",
        )
    };
    assert_eq!(berlin("30 2 * * *"), ["25 02:30+02:00", "26 02:30+01:00"]);
    assert_eq!(
        berlin("0 2,3 * * *"),
        [
            "25 02:00+02:00",
            "25 03:00+01:00",
            "26 02:00+01:00",
            "26 03:00+01:00"
        ]
    );
    // New York: from 02:00-04 to 01:00-05 on 1 November 2026.
    let new_york = |cron| {
        due(
            cron,
            "America/New_York",
            "2026-10-31T12:00",
            "2026-11-02T12:00",
        )
    };
    assert_eq!(new_york("30 1 * * *"), ["01 01:30-04:00", "02 01:30-05:00"]);
    // A moment in the second hour is after both.
    let timetable = Timetable::new("30 2 * * *", "Europe/Berlin").unwrap();
    let second: Zoned = "2026-10-25T02:10+01:00[Europe/Berlin]".parse().unwrap();
    let next = timetable.next_after(second.timestamp().as_millisecond());
    let tomorrow: Zoned = "2026-10-26T02:30+01:00[Europe/Berlin]".parse().unwrap();
    assert_eq!(next, Some(tomorrow.timestamp().as_millisecond()));
}

#[test]
fn a_pattern_of_every_hour_keeps_its_distance() {
    let berlin = |cron, from, until| due(cron, "Europe/Berlin", from, until);
    assert_eq!(
        berlin("30 * * * *", "2026-03-29T01:00", "2026-03-29T04:00"),
        ["29 01:30+01:00", "29 03:30+02:00"]
    );
    assert_eq!(
        berlin("30 * * * *", "2026-10-25T01:00", "2026-10-25T04:00"),
        [
            "25 01:30+02:00",
            "25 02:30+02:00",
            "25 02:30+01:00",
            "25 03:30+01:00"
        ]
    );
}

#[test]
fn changes_that_are_no_hour_long_or_at_midnight_are_changes_too() {
    // Lord Howe: half an hour, from 02:00+10:30 to 02:30+11 on 4 October 2026, and back on 5 April.
    let lord_howe = |from, until| due("10 2 * * *", "Australia/Lord_Howe", from, until);
    assert_eq!(
        lord_howe("2026-10-04T00:00", "2026-10-05T00:00"),
        ["04 02:30+11:00"]
    );
    let back = due(
        "40 1 * * *",
        "Australia/Lord_Howe",
        "2026-04-05T00:00",
        "2026-04-06T00:00",
    );
    assert_eq!(back, ["05 01:40+11:00"]);
    // Cairo: from 00:00+02 to 01:00+03 on 24 April 2026. The day has no midnight.
    let cairo = due(
        "0 0 * * *",
        "Africa/Cairo",
        "2026-04-23T12:00",
        "2026-04-25T12:00",
    );
    assert_eq!(cairo, ["24 01:00+03:00", "25 00:00+03:00"]);
    // Apia skipped the whole of 30 December 2011.
    let apia = due(
        "0 12 * * *",
        "Pacific/Apia",
        "2011-12-29T00:00",
        "2012-01-01T00:00",
    );
    assert_eq!(apia, ["29 12:00-10:00", "31 00:00+14:00", "31 12:00+14:00"]);
}

/// What the crate does by itself, and why it is asked for times of the clock alone: of a pattern with two hours it leaves
/// out a time in the gap, and gives a time twice that comes twice.
#[test]
fn croner_alone_treats_two_hours_as_a_distance() {
    let cron: Cron = "30 2,14 * * *".parse().unwrap();
    let next = |from: &str| {
        let from: Zoned = format!("{from}[Europe/Berlin]").parse().unwrap();
        let next = cron.find_next_occurrence(&from, false).unwrap();
        next.strftime("%d %H:%M%:z").to_string()
    };
    assert_eq!(next("2026-03-29T00:00+01:00"), "29 14:30+02:00");
    assert_eq!(next("2026-10-25T00:00+02:00"), "25 02:30+02:00");
    assert_eq!(next("2026-10-25T02:30+02:00"), "25 02:30+01:00");
    // With one hour it does what is wanted.
    let cron: Cron = "30 2 * * *".parse().unwrap();
    let from: Zoned = "2026-03-29T00:00+01:00[Europe/Berlin]".parse().unwrap();
    let next = cron.find_next_occurrence(&from, false).unwrap();
    assert_eq!(next.strftime("%d %H:%M%:z").to_string(), "29 03:00+02:00");
}

#[test]
fn seconds_years_and_names_are_understood() {
    let utc = |cron: &str, from: &str, until: &str| due(cron, "UTC", from, until).len();
    assert_eq!(
        utc("* * * * * *", "2026-01-01T00:00", "2026-01-01T00:01"),
        60
    );
    assert_eq!(
        utc("*/10 * * * * *", "2026-01-01T00:00", "2026-01-01T00:01"),
        6
    );
    assert_eq!(utc("@daily", "2026-01-01T00:00", "2026-01-08T00:00"), 7);
    assert_eq!(
        utc("0 9 * * MON-FRI", "2026-01-05T00:00", "2026-01-12T00:00"),
        5
    );
    assert_eq!(utc("0 0 L * *", "2026-01-01T00:00", "2027-01-01T00:00"), 12);
    let once = Timetable::new("0 0 0 1 1 * 2027", "UTC").unwrap();
    let new_year: Zoned = "2027-01-01T00:00Z[UTC]".parse().unwrap();
    let new_year = new_year.timestamp().as_millisecond();
    assert_eq!(once.next_after(new_year - 1), Some(new_year));
    assert_eq!(once.next_after(new_year), None);
}

#[test]
fn what_is_no_pattern_or_zone_is_named_and_what_never_comes_has_no_due_time() {
    let wrong = |cron: &str, zone: &str| Timetable::new(cron, zone).unwrap_err();
    assert!(wrong("61 * * * *", "UTC").starts_with("'61 * * * *' is no cron pattern: "));
    assert!(wrong("* * *", "UTC").contains("is no cron pattern"));
    assert!(wrong("", "UTC").contains("is no cron pattern"));
    assert!(wrong("* * * * *", "Europe/Atlantis").contains("'Europe/Atlantis' is no time zone"));
    assert!(wrong("* * * * *", "../../etc/passwd").contains("is no time zone"));
    assert!(wrong(&"*".repeat(300), "UTC").contains("longer than 200 bytes"));
    for never in ["0 0 30 2 *", "0 0 31 2 +MON", "0 0 0 1 1 * 1999"] {
        let never = Timetable::new(never, "Europe/Berlin").unwrap();
        assert_eq!(never.next_after(1_800_000_000_000), None);
    }
}
