//! The envelope of a call: the bytes before the message in a call frame.
//!
//! Together with the message it is exactly the encoding of tarpc's `ClientMessage` by [`crate::codec`] (a
//! test checks that), so a stock tarpc client can talk to our servers. It is read and written by hand for two
//! reasons. tarpc adds the deadline to the clock while it decodes, which panics on a hostile deadline. And a
//! message that cannot be decoded should fail only its own call, whose id is in the envelope, and not the
//! connection.
//!
//! | bytes | request | cancel |
//! |---|---|---|
//! | 4 | `0` | `1` |
//! | 12 | deadline: seconds (`u64`), nanoseconds (`u32`) | – |
//! | 28 | trace: trace id (16), span id (`u64`), sampling (`u32`) | the same |
//! | 8 | id of the call | the same |
//!
//! All integers are little-endian.

use crate::codec::CodecError;
use std::time::Duration;
use tarpc::{context, trace};
use tokio::time::Instant;

/// The size of a request's envelope in bytes.
pub const ENVELOPE_LEN: usize = 52;

const CANCEL_LEN: usize = 40;
const REQUEST: u32 = 0;
const CANCEL: u32 = 1;

/// The longest deadline. A longer one is shortened to this.
pub const MAX_DEADLINE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The deadline and trace of a call, as they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The time left until the deadline.
    pub deadline: Duration,
    /// The trace that the call belongs to.
    pub trace_context: trace::Context,
}

/// The content of a call frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// A call.
    Request {
        /// Its deadline and trace.
        envelope: Envelope,
        /// The id, which the response repeats.
        id: u64,
        /// The encoded message.
        message: &'a [u8],
    },
    /// The caller no longer waits for this call.
    Cancel {
        /// The call's id.
        id: u64,
    },
}

impl Envelope {
    /// The envelope of a call in this context.
    pub fn new(context: &context::Context, now: Instant) -> Self {
        Self {
            deadline: Instant::from_std(context.deadline).saturating_duration_since(now),
            trace_context: context.trace_context,
        }
    }

    /// The context for a method. `template` is any context, because tarpc's can only be copied.
    pub fn to_context(self, template: &context::Context, now: Instant) -> context::Context {
        let mut context = *template;
        context.deadline = (now + self.deadline.min(MAX_DEADLINE)).into_std();
        context.trace_context = self.trace_context;
        context
    }

    /// The bytes before a request's message.
    pub fn request(&self, id: u64) -> [u8; ENVELOPE_LEN] {
        let mut bytes = [0; ENVELOPE_LEN];
        let mut rest = &mut bytes[..];
        put(&mut rest, &REQUEST.to_le_bytes());
        put(&mut rest, &self.deadline.as_secs().to_le_bytes());
        put(&mut rest, &self.deadline.subsec_nanos().to_le_bytes());
        put_trace(&mut rest, &self.trace_context);
        put(&mut rest, &id.to_le_bytes());
        bytes
    }
}

/// The bytes of a cancel message.
pub fn cancel(id: u64, trace_context: trace::Context) -> [u8; CANCEL_LEN] {
    let mut bytes = [0; CANCEL_LEN];
    let mut rest = &mut bytes[..];
    put(&mut rest, &CANCEL.to_le_bytes());
    put_trace(&mut rest, &trace_context);
    put(&mut rest, &id.to_le_bytes());
    bytes
}

fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    if let Some((place, after)) = std::mem::take(rest).split_at_mut_checked(bytes.len()) {
        place.copy_from_slice(bytes);
        *rest = after;
    }
}

fn put_trace(rest: &mut &mut [u8], trace: &trace::Context) {
    put(rest, &u128::from(trace.trace_id).to_le_bytes());
    put(rest, &u64::from(trace.span_id).to_le_bytes());
    let sampling: u32 = match trace.sampling_decision {
        trace::SamplingDecision::Sampled => 0,
        trace::SamplingDecision::Unsampled => 1,
    };
    put(rest, &sampling.to_le_bytes());
}

impl<'a> ClientMessage<'a> {
    /// Reads the body of a call frame.
    pub fn parse(body: &'a [u8]) -> Result<Self, CodecError> {
        let mut reader = EnvelopeReader(body);
        match reader.u32()? {
            REQUEST => {
                let (envelope, id) = reader.envelope()?;
                Ok(Self::Request {
                    envelope,
                    id,
                    message: reader.0,
                })
            }
            CANCEL => {
                reader.trace()?;
                let id = reader.u64()?;
                if !reader.0.is_empty() {
                    return Err(CodecError::new("a cancel message has trailing bytes"));
                }
                Ok(Self::Cancel { id })
            }
            other => Err(CodecError::new(format!(
                "{other} is neither a request nor a cancel"
            ))),
        }
    }
}

struct EnvelopeReader<'a>(&'a [u8]);

impl EnvelopeReader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (bytes, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| CodecError::new("a call ends within its envelope"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn u32(&mut self) -> Result<u32, CodecError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, CodecError> {
        self.take().map(u64::from_le_bytes)
    }

    fn trace(&mut self) -> Result<trace::Context, CodecError> {
        let trace_id = u128::from_le_bytes(self.take()?).into();
        let span_id = self.u64()?.into();
        let sampling_decision = match self.u32()? {
            0 => trace::SamplingDecision::Sampled,
            1 => trace::SamplingDecision::Unsampled,
            other => {
                return Err(CodecError::new(format!(
                    "{other} is not a sampling decision"
                )));
            }
        };
        Ok(trace::Context {
            trace_id,
            span_id,
            sampling_decision,
        })
    }

    fn envelope(&mut self) -> Result<(Envelope, u64), CodecError> {
        let seconds = self.u64()?;
        let nanoseconds = self.u32()?;
        if nanoseconds >= 1_000_000_000 {
            return Err(CodecError::new("a deadline has too many nanoseconds"));
        }
        let trace_context = self.trace()?;
        let id = self.u64()?;
        Ok((
            Envelope {
                deadline: Duration::new(seconds, nanoseconds),
                trace_context,
            },
            id,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;
    use proptest::prelude::*;

    fn some_trace() -> trace::Context {
        trace::Context {
            trace_id: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10u128.into(),
            span_id: 0x1112_1314_1516_1718.into(),
            sampling_decision: trace::SamplingDecision::Sampled,
        }
    }

    /// Only the bytes after the deadline are compared, because tarpc computes the deadline with its own
    /// clock.
    const AFTER_DEADLINE: usize = 16;

    #[test]
    fn a_request_has_the_encoding_of_tarpcs() {
        let mut context = context::current();
        context.trace_context = some_trace();
        let theirs = codec::encode(&tarpc::ClientMessage::Request(tarpc::Request {
            context,
            id: 77,
            message: "hi".to_owned(),
        }))
        .unwrap();
        let mut ours = Envelope::new(&context, Instant::now()).request(77).to_vec();
        codec::encode_into(&mut ours, "hi").unwrap();
        assert_eq!(ours[..4], theirs[..4]);
        assert_eq!(ours[AFTER_DEADLINE..], theirs[AFTER_DEADLINE..]);
        // Both are ten seconds from now.
        assert_eq!(ours[4..12], 9u64.to_le_bytes());
        assert_eq!(theirs[4..12], 9u64.to_le_bytes());
    }

    #[test]
    fn a_cancel_has_the_encoding_of_tarpcs() {
        let theirs = codec::encode(&tarpc::ClientMessage::<String>::Cancel {
            trace_context: some_trace(),
            request_id: 77,
        })
        .unwrap();
        assert_eq!(cancel(77, some_trace())[..], theirs);
    }

    #[test]
    fn an_envelope_has_golden_bytes() {
        let envelope = Envelope {
            deadline: Duration::new(2, 3),
            trace_context: some_trace(),
        };
        let expected = [
            0, 0, 0, 0, // a request
            2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, // its deadline
            16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, // the trace
            24, 23, 22, 21, 20, 19, 18, 17, // the span
            0, 0, 0, 0, // sampled
            5, 0, 0, 0, 0, 0, 0, 0, // the call
        ];
        assert_eq!(envelope.request(5), expected);
        let mut body = expected.to_vec();
        body.extend(b"message");
        assert_eq!(
            ClientMessage::parse(&body),
            Ok(ClientMessage::Request {
                envelope,
                id: 5,
                message: b"message"
            })
        );
    }

    #[test]
    fn a_hostile_deadline_is_cut_short_instead_of_overflowing_the_clock() {
        let envelope = Envelope {
            deadline: Duration::MAX,
            trace_context: some_trace(),
        };
        let now = Instant::now();
        let context = envelope.to_context(&context::current(), now);
        assert_eq!(context.deadline, (now + MAX_DEADLINE).into_std());
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_or_refused(body: Vec<u8>) {
            if let Ok(ClientMessage::Request { envelope, id, message }) = ClientMessage::parse(&body) {
                prop_assert_eq!(&envelope.request(id)[..], &body[..ENVELOPE_LEN]);
                prop_assert_eq!(message, &body[ENVELOPE_LEN..]);
            }
        }
    }
}
