//! Adds the name of the process to log lines, for several processes that write to one place.

use crate::flags::LogFormat;
use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Writes a name before each line, or into it if it is a JSON object.
pub(super) struct NamedFormat<F> {
    pub(super) name: String,
    pub(super) format: LogFormat,
    pub(super) inner: F,
}

impl<S, N, F> FormatEvent<S, N> for NamedFormat<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.format == LogFormat::Pretty {
            write!(writer, "{:<10}  ", self.name)?;
            return self.inner.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.inner
            .format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(fields) => {
                let name = serde_json::Value::from(self.name.as_str());
                write!(writer, "{{\"process\":{name},{fields}")
            }
            None => writer.write_str(&line),
        }
    }
}
