//! The due times of a cron pattern in a time zone.
//!
//! Where the clock of the zone changes, the pattern decides. If it names hours, it means times of the day: each has one task.
//! A time that the clock skips is due at the first moment after the gap, and a time that comes twice is due the first time.
//! If it has every hour, it means a distance between tasks, which a change by whole hours leaves as it is.

use croner::{Cron, parser::CronParser};
use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};
use pyroxene_common::{clean, interfaces::schedules::MAX_CRON};
use pyroxene_store::UnixMillis;

/// The due times of a schedule.
#[derive(Debug)]
pub(super) struct Timetable {
    cron: Cron,
    zone: TimeZone,
}

impl Timetable {
    /// Reads a pattern and the name of a time zone, or says what is wrong with them.
    pub(super) fn new(cron: &str, time_zone: &str) -> Result<Self, String> {
        for (what, text) in [("cron pattern", cron), ("time zone", time_zone)] {
            if text.len() > MAX_CRON {
                return Err(format!("the {what} is longer than {MAX_CRON} bytes"));
            }
        }
        let shown = clean::line(cron);
        let cron = CronParser::new()
            .parse(cron)
            .map_err(|error| format!("'{shown}' is no cron pattern: {error}"))?;
        let zone = TimeZone::get(time_zone).map_err(|_| {
            let time_zone = clean::line(time_zone);
            format!("'{time_zone}' is no time zone; there are UTC, Europe/Berlin and others")
        })?;
        Ok(Self { cron, zone })
    }

    /// The first due time after a moment; `None` if there is none. Due times are whole seconds.
    pub(super) fn next_after(&self, moment: UnixMillis) -> Option<UnixMillis> {
        let moment = Timestamp::from_second(moment.div_euclid(1000)).ok()?;
        let local = moment.to_zoned(self.zone.clone());
        if self.is_every_hour() {
            let next = self.cron.find_next_occurrence(&local, false).ok()?;
            return Some(next.timestamp().as_millisecond());
        }
        let mut time = local.datetime();
        loop {
            time = self.cron.find_next_occurrence(&time, false).ok()?;
            let due = self.moment_of(time)?;
            // In an hour that comes twice, the second time is past.
            if due > moment {
                return Some(due.as_millisecond());
            }
        }
    }

    fn is_every_hour(&self) -> bool {
        const HOURS: usize = 24;
        self.cron.pattern.hours.values().len() == HOURS
    }

    /// When the clock shows this time, or has skipped it.
    fn moment_of(&self, time: DateTime) -> Option<Timestamp> {
        let moment = self.zone.to_ambiguous_timestamp(time);
        match moment.offset() {
            AmbiguousOffset::Gap { .. } => {
                let before = moment.earlier().ok()?;
                Some(self.zone.following(before).next()?.timestamp())
            }
            AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => {
                moment.earlier().ok()
            }
        }
    }
}

#[cfg(test)]
mod tests;
