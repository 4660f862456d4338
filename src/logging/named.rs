//! Log lines with the name of the process that they come from, where several write to one place.

use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Writes a name before each line.
pub(super) struct Named<F> {
    pub(super) name: String,
    pub(super) inner: F,
}

impl<S, N, F> FormatEvent<S, N> for Named<F>
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
        write!(writer, "{:<10}  ", self.name)?;
        self.inner.format_event(context, writer, event)
    }
}

/// Adds a name to each line, which is a JSON object.
pub(super) struct NamedJson<F> {
    pub(super) name: String,
    pub(super) inner: F,
}

impl<S, N, F> FormatEvent<S, N> for NamedJson<F>
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
