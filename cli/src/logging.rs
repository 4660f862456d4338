//! Log lines on standard error.

mod floods;
mod named;

use crate::flags::{DaemonArguments, LogFormat};
use floods::FloodFilter;
use named::NamedFormat;
use pyroxene_common::clean;
use std::{
    env,
    io::{self, IsTerminal},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    field::MakeExt,
    filter::LevelFilter,
    fmt::{self, FormatFields, format::debug_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Starts the log of a daemon. A line that is repeated very often is counted instead of written.
pub(crate) fn start_daemon(arguments: &DaemonArguments) {
    start(arguments.log, LevelFilter::INFO, arguments.log_name.clone());
    floods::report_suppressed_lines();
}

/// Starts the log. `RUST_LOG` overrides `level`. Every line has the `name`, if there is one.
pub(crate) fn start(format: LogFormat, level: LevelFilter, name: Option<String>) {
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .from_env_lossy();
    let wants_no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let layer = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && !wants_no_colour);
    let layer = match (format, name) {
        (LogFormat::Pretty, None) => layer.fmt_fields(cleaned_fields()).boxed(),
        (LogFormat::Pretty, Some(name)) => layer
            .fmt_fields(cleaned_fields())
            .map_event_format(|inner| NamedFormat {
                name,
                format,
                inner,
            })
            .boxed(),
        (LogFormat::Json, None) => layer.json().boxed(),
        (LogFormat::Json, Some(name)) => layer
            .json()
            .map_event_format(|inner| NamedFormat {
                name,
                format,
                inner,
            })
            .boxed(),
    };
    let subscriber = tracing_subscriber::registry()
        .with(layer.with_filter(FloodFilter))
        .with(filter);
    // This fails only if a log was started before, and then that one stays.
    let _ = subscriber.try_init();
}

/// Formats each field cleaned and on one line: names, addresses and errors of others are logged.
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
