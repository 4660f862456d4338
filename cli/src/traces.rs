//! The trace of a command, and the export of the spans of this process.

use crate::{
    cli::Command,
    failure::{Exit, Failure},
};
use pyroxene_common::{
    metadata::Metadata,
    scope::Scope,
    spans::{self, Span, SpanKind, parse_traceparent},
};
use pyroxene_gateway::SpanExport;
use std::{env, sync::Arc};

/// The trace that a command belongs to, by the names that other programs use too.
const TRACEPARENT: &str = "TRACEPARENT";
const TRACESTATE: &str = "TRACESTATE";

/// What is recorded of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traced {
    /// What this process is called where spans are collected.
    service: &'static str,
    /// What the command is called, if all that it does is one trace.
    command: Option<&'static str>,
    is_daemon: bool,
}

impl Traced {
    pub(crate) fn of(command_line: &Command) -> Self {
        let service = match command_line {
            Command::Nameserver(_) => "pyroxene-nameserver",
            Command::Worker(_) => "pyroxene-worker",
            _ => "pyroxene",
        };
        // Others go on for hours, and what they do has little in common.
        let command = match command_line {
            Command::Call(_) => Some("pyroxene call"),
            Command::Map(_) => Some("pyroxene map"),
            Command::Sort(_) => Some("pyroxene sort"),
            Command::Multiply(_) => Some("pyroxene multiply"),
            Command::Submit(_) => Some("pyroxene submit"),
            _ => None,
        };
        let is_daemon = matches!(
            command_line,
            Command::Up(_) | Command::Nameserver(_) | Command::Worker(_)
        );
        Self {
            service,
            command,
            is_daemon,
        }
    }

    /// Carries out a command. Its calls belong to the trace of `TRACEPARENT`, with its `TRACESTATE`, or to a new one.
    pub(crate) async fn carry_out(
        self,
        carrying_out: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        let export = SpanExport::from_environment(self.service).unwrap_or_else(|error| {
            tracing::warn!("no spans are exported: {error}");
            None
        });
        if let Some(export) = export.as_ref().filter(|_| self.is_daemon) {
            export.warn_of_ignored_variables();
        }
        let mut span = self.command.and_then(begin);
        let outcome = match self.command.and_then(|_| passed_on()) {
            None => carrying_out.await,
            metadata => {
                let scope = Scope {
                    metadata,
                    ..Scope::default()
                };
                scope.wrap(Box::pin(carrying_out)).await
            }
        };
        if let Some(span) = &mut span {
            match &outcome {
                // The message may quote an argument.
                Err(failure) if failure.exit != Exit::Done => span.fail(failure.kind()),
                _ => span.done(),
            }
        }
        drop(span);
        if let Some(export) = export {
            export.shutdown().await;
        }
        outcome
    }
}

/// Begins the trace of a command.
fn begin(name: &str) -> Option<Span> {
    let given = env::var(TRACEPARENT).ok();
    let given = given.as_deref().and_then(parse_traceparent);
    let trace = given.unwrap_or_else(spans::new_root);
    let span = Span::begin(&trace, SpanKind::Internal, || name.to_owned());
    spans::set_ambient(span.as_ref().map_or(trace, Span::context));
    span
}

/// What the collectors of the trace of `TRACEPARENT` tell each other, as metadata of the command's calls.
fn passed_on() -> Option<Arc<Metadata>> {
    parse_traceparent(&env::var(TRACEPARENT).ok()?)?;
    Metadata::of_tracestate([&*env::var(TRACESTATE).ok()?])
}
