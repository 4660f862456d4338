//! Spans: what this process does for a trace, for programs that collect traces.
//!
//! A trace travels in tarpc's context: its id, the span that asks (0 if nobody records one), and whether it is
//! recorded. Where nothing collects spans, the context passes through as it came, and a call pays one load of a flag.
//!
//! - [`install`] sets what takes the spans of this process.
//! - [`Span::begin`] begins one below a context, and [`Span::context`] is what its own calls carry.
//! - [`parse_traceparent`] and [`traceparent`] are the W3C's form of a context, and [`parse_tracestate`] reads what passes
//!   through beside it.

mod tracestate;

pub use tracestate::{TRACESTATE, parse_tracestate};

use rand::{RngExt, rngs::SmallRng};
use std::{
    cell::RefCell,
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tarpc::trace::{Context, SamplingDecision, SpanId, TraceId};

/// The most characters of a text in a span.
const MAX_TEXT: usize = 500;

/// The most attributes of a span.
const MAX_ATTRIBUTES: usize = 16;

/// The side of a call that a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Neither: it is about this process alone.
    Internal,
    /// A call is answered.
    Server,
    /// A call is made.
    Client,
    /// Work that somebody has left for later is done.
    Consumer,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// A number.
    Integer(i64),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(short(text))
    }
}

impl From<i64> for AttributeValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct EndedSpan {
    /// Its trace and its own id.
    pub context: Context,
    /// The span that it belongs to; 0 if it is the first of its trace.
    pub parent: SpanId,
    /// What was done.
    pub name: String,
    /// The side of a call that it is about.
    pub kind: SpanKind,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What else is known of it.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// Why it failed, in words that are always the same: what an object or its caller has said stays with them.
    pub failure: Option<&'static str>,
}

/// Takes the spans of this process.
pub trait SpanSink: Send + Sync + 'static {
    /// Takes a span. It must not block.
    fn accept(&self, span: EndedSpan);

    /// Whether a trace that begins here is recorded.
    fn samples(&self, _trace: TraceId) -> bool {
        true
    }
}

static IS_RECORDING: AtomicBool = AtomicBool::new(false);
static SINK: OnceLock<Box<dyn SpanSink>> = OnceLock::new();
static AMBIENT: OnceLock<Context> = OnceLock::new();

/// Sets what takes the spans of this process, from now on. Returns false if that is set already.
pub fn install(sink: impl SpanSink) -> bool {
    let is_first = SINK.set(Box::new(sink)).is_ok();
    if is_first {
        IS_RECORDING.store(true, Ordering::Relaxed);
    }
    is_first
}

/// Whether something takes the spans of this process.
pub fn are_recorded() -> bool {
    IS_RECORDING.load(Ordering::Relaxed)
}

/// Sets the trace of all that this process does of its own accord, such as that of a command. It can be set once.
pub fn set_ambient(context: Context) {
    // A second one would only be ignored.
    let _ = AMBIENT.set(context);
}

/// The trace of what this process does now of its own accord: the ambient one, or a new one.
pub fn current_root() -> Context {
    AMBIENT.get().copied().unwrap_or_else(new_root)
}

/// A new trace of which nobody has recorded anything yet.
pub fn new_root() -> Context {
    Context {
        // 0 means that there is none.
        trace_id: (random::<u128>() | 1).into(),
        ..Context::default()
    }
}

/// The same trace; if nobody has recorded anything of it yet, with a span that nobody records.
pub fn unrecorded(context: Context) -> Context {
    match context.span_id.is_none() {
        true => Context {
            span_id: (random::<u64>() | 1).into(),
            sampling_decision: SamplingDecision::Unsampled,
            ..context
        },
        false => context,
    }
}

fn random<T>() -> T
where
    rand::distr::StandardUniform: rand::distr::Distribution<T>,
{
    // Ids must be unique, but need not be secret, so a fast generator suffices.
    thread_local! {
        static RANDOM: RefCell<SmallRng> = RefCell::new(rand::make_rng());
    }
    RANDOM.with_borrow_mut(|random| random.random())
}

/// A span that runs. It ends when it is dropped.
pub struct Span(Box<OpenSpan>);

struct OpenSpan {
    span: EndedSpan,
    began: Instant,
    is_done: bool,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Span({})", self.0.span.name)
    }
}

impl Span {
    /// Begins a span, if spans are recorded and its trace is. `parent` is what the asking side has sent.
    pub fn begin(parent: &Context, kind: SpanKind, name: impl FnOnce() -> String) -> Option<Self> {
        if !are_recorded() {
            return None;
        }
        let sink = SINK.get()?;
        // Without a span of the asking side nobody has decided yet.
        let is_sampled = match parent.sampling_decision {
            SamplingDecision::Sampled => true,
            SamplingDecision::Unsampled => {
                parent.span_id.is_none() && sink.samples(parent.trace_id)
            }
        };
        if !is_sampled || parent.trace_id.is_none() {
            return None;
        }
        let span = EndedSpan {
            context: Context {
                trace_id: parent.trace_id,
                span_id: (random::<u64>() | 1).into(),
                sampling_decision: SamplingDecision::Sampled,
            },
            parent: parent.span_id,
            name: short(&name()),
            kind,
            began: SystemTime::now(),
            took: Duration::ZERO,
            attributes: Vec::new(),
            failure: None,
        };
        Some(Self(Box::new(OpenSpan {
            span,
            began: Instant::now(),
            is_done: false,
        })))
    }

    /// What the calls carry that are made within it.
    pub fn context(&self) -> Context {
        self.0.span.context
    }

    /// What is done.
    pub fn name(&self) -> &str {
        &self.0.span.name
    }

    /// Says better what is done.
    pub fn rename(&mut self, name: &str) {
        self.0.span.name = short(name);
    }

    /// Adds what is known of it. What is beyond 16 attributes is dropped.
    pub fn set(&mut self, key: &'static str, value: impl Into<AttributeValue>) {
        let attributes = &mut self.0.span.attributes;
        if attributes.len() < MAX_ATTRIBUTES {
            attributes.push((key, value.into()));
        }
    }

    /// It has done what it was for.
    pub fn done(&mut self) {
        self.0.is_done = true;
    }

    /// It has failed, in one of the ways that are known. No sentence: it may quote an argument.
    pub fn fail(&mut self, kind: &'static str) {
        self.0.is_done = true;
        self.0.span.failure = Some(kind);
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(sink) = SINK.get() else {
            return;
        };
        let OpenSpan {
            span,
            began,
            is_done,
        } = &mut *self.0;
        let mut span = EndedSpan {
            name: std::mem::take(&mut span.name),
            attributes: std::mem::take(&mut span.attributes),
            failure: span.failure.take(),
            ..*span
        };
        span.took = began.elapsed();
        if !*is_done {
            span.failure = Some("whoever waited for it has stopped waiting");
        }
        sink.accept(span);
    }
}

/// A text with a bounded length.
fn short(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

/// Reads a `traceparent` of the W3C's Trace Context. `None` if it is not valid, and then there is no trace.
pub fn parse_traceparent(text: &str) -> Option<Context> {
    let mut parts = text.trim().split('-');
    let version = hexadecimal(parts.next()?, 2)?;
    let (trace_id, span_id) = (parts.next()?, parts.next()?);
    let flags = hexadecimal(parts.next()?, 2)?;
    // Later versions may have more parts; version 255 is never used.
    if version == 0xff || (version == 0 && parts.next().is_some()) {
        return None;
    }
    let trace_id: TraceId = hexadecimal(trace_id, 32)?.into();
    let span_id: SpanId = u64::try_from(hexadecimal(span_id, 16)?).ok()?.into();
    (!trace_id.is_none() && !span_id.is_none()).then_some(Context {
        trace_id,
        span_id,
        sampling_decision: match flags & 1 {
            1 => SamplingDecision::Sampled,
            _ => SamplingDecision::Unsampled,
        },
    })
}

/// A number of so many lower-case hexadecimal digits.
fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if text.len() != digits || !text.bytes().all(is_digit) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// The `traceparent` of a context.
pub fn traceparent(context: &Context) -> String {
    let flags = u8::from(context.sampling_decision == SamplingDecision::Sampled);
    let (trace, span) = (context.trace_id, context.span_id);
    format!(
        "00-{:032x}-{:016x}-{flags:02x}",
        u128::from(trace),
        u64::from(span)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_comes_back_as_it_was() {
        let context = parse_traceparent(EXAMPLE).unwrap();
        assert_eq!(context.sampling_decision, SamplingDecision::Sampled);
        assert_eq!(traceparent(&context), EXAMPLE);
        let unsampled = EXAMPLE.replace("-01", "-00");
        let context = parse_traceparent(&unsampled).unwrap();
        assert_eq!(context.sampling_decision, SamplingDecision::Unsampled);
        assert_eq!(traceparent(&context), unsampled);
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse_traceparent(wrong), None, "{wrong}");
        }
        let later = EXAMPLE.replacen("00-", "01-", 1) + "-more";
        assert!(parse_traceparent(&later).is_some());
    }

    #[test]
    fn without_a_sink_there_is_no_span_and_a_new_trace_has_no_span_yet() {
        let root = new_root();
        assert!(!root.trace_id.is_none() && root.span_id.is_none());
        assert!(Span::begin(&root, SpanKind::Client, || unreachable!()).is_none());
    }

    #[test]
    fn the_traceparent_of_a_new_trace_that_nobody_records_is_valid() {
        let trace = unrecorded(new_root());
        assert_eq!(trace.sampling_decision, SamplingDecision::Unsampled);
        assert_eq!(parse_traceparent(&traceparent(&trace)), Some(trace));
        let given = parse_traceparent(EXAMPLE).unwrap();
        assert_eq!(unrecorded(given), given);
    }
}
