//! Log lines on standard error.

use crate::cli::LogFormat;
use std::{
    env,
    io::{self, IsTerminal},
};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// Starts the log. `RUST_LOG` goes before `level`.
pub(crate) fn start(format: LogFormat, level: LevelFilter) {
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    let wants_no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !wants_no_colour);
    // Only a second start can fail, and then the first one goes on.
    let _ = match format {
        LogFormat::Pretty => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
