//! The program as a stranger uses it, from a terminal or a script.

mod accounts;
mod calling;
mod config;
mod contexts;
mod daemons;
mod doctor;
mod greeter;
mod looking;
mod mapping;
mod spreading;
mod tasks;
mod topics;
mod up;
mod users;
mod variables;
mod watching;
