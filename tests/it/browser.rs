//! The dashboard in Chromium, as a person uses it: type, click, see. Without Chromium and its driver
//! these tests are skipped with a line that says so; where `CI` is `true` they must run.

mod accessibility;
mod acting;
mod chatting;
mod files;
mod losing;
mod modules;
mod tasks;
mod window;
