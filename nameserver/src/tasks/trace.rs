//! The trace that a task belongs to, as the store keeps it: the `traceparent`, and the `tracestate` after a space.

use pyroxene_common::{
    metadata::Metadata,
    spans::{TRACESTATE, new_root, parse_traceparent, parse_tracestate, traceparent},
};
use std::sync::Arc;
use tarpc::trace::Context;

/// The trace of a submission. `None` where nobody records it: nobody looks for the task in it then.
pub(super) fn stored(trace: &Context, metadata: Option<&Metadata>) -> Option<String> {
    if trace.span_id.is_none() {
        return None;
    }
    let state = metadata.and_then(|metadata| parse_tracestate(metadata.get(TRACESTATE)));
    Some(match state {
        Some(state) => format!("{} {state}", traceparent(trace)),
        None => traceparent(trace),
    })
}

/// The trace of an attempt, and the metadata of its call.
pub(super) fn read(stored: Option<&str>) -> (Context, Option<Arc<Metadata>>) {
    let stored = stored.unwrap_or_default();
    let (parent, state) = stored.split_once(' ').unwrap_or((stored, ""));
    let trace = parse_traceparent(parent).unwrap_or_else(new_root);
    (trace, Metadata::of_tracestate([state]))
}
