//! Log lines on standard error.

use crate::cli::LogFormat;
use pyroxene_common::clean;
use std::{
    env,
    io::{self, IsTerminal},
};
use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    filter::LevelFilter,
    fmt::{FormatFields, format::debug_fn},
};

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
        LogFormat::Pretty => builder.fmt_fields(cleaned_fields()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

/// Fields on one line, whatever others put into them: names, addresses and errors are logged.
fn cleaned_fields() -> impl for<'w> FormatFields<'w> + Send + Sync + 'static {
    debug_fn(|writer, field, value| {
        let value = format!("{value:?}");
        let value = clean::line(&value);
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{name}={value}"),
        }
    })
    .delimited(" ")
}
