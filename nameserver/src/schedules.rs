//! Schedules: calls that become tasks at the times of a cron pattern.
//!
//! - `service` answers the interface.
//! - `timetable` knows the due times of a pattern in a time zone, also where the clock changes.
//! - `plan` decides what is done about the due times that have passed: a pure function.
//! - `runner` makes the steps. Every name server of a store does so, and none of them leads: a step is one transaction
//!   that submits tasks and moves the schedule to its next due time, and the store takes each once.
//!
//! A task of a schedule is a task like any other, submitted by the schedule's user.

#[cfg(test)]
mod fixture;
mod plan;
mod runner;
mod service;
mod timetable;

pub(crate) use runner::run;
pub(crate) use service::{SchedulesService, may_call};
