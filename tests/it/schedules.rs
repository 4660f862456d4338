//! Schedules: each due time has one task, whichever name servers die, and what a person at the command line sees of them.

mod command_line;
mod deaths;
mod rights;
