//! Memory for large messages, which is reserved before they are read.
//!
//! All connections of a process share one budget. A message for which there is no memory waits in the socket
//! for up to two seconds. Then its bytes are skipped and its calls are refused without being decoded, so that
//! later messages and pings are not delayed for long.

use crate::{
    byte_budget::{ByteBudget, BytePermit},
    frame::FrameHeader,
};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep};

/// How long a message waits for memory. It is shorter than the five seconds of silence after which a client
/// considers a server dead.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(2);

/// The time that a message may take to arrive while other messages wait for its memory, plus one second for
/// every [`MIN_BYTES_PER_SECOND`] bytes.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(10);
const MIN_BYTES_PER_SECOND: usize = 1024 * 1024;

/// The memory for the next large message on a connection.
#[derive(Debug)]
pub(super) struct Intake {
    budget: ByteBudget,
    stage: IntakeState,
}

#[derive(Debug)]
enum IntakeState {
    /// There is no large message.
    Clear,
    Waiting(Box<WaitingMessage>),
    /// It may be read. If other messages wait for memory, it has to arrive by `until`.
    Admitted {
        permit: BytePermit,
        until: Instant,
    },
}

struct WaitingMessage {
    len: usize,
    permit: Pin<Box<dyn Future<Output = BytePermit> + Send>>,
    timeout: Pin<Box<Sleep>>,
}

impl fmt::Debug for WaitingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waiting({} bytes)", self.len)
    }
}

/// What to do with the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntakeDecision {
    /// Read it.
    Read,
    /// Wait, and read nothing until then.
    Wait,
    /// Skip it.
    Refuse,
}

impl Intake {
    pub(super) fn new(budget: ByteBudget) -> Self {
        Self {
            budget,
            stage: IntakeState::Clear,
        }
    }

    /// Decides whether the next frame is read. `next` is its header if it is a large frame.
    pub(super) fn admit(
        &mut self,
        next: Option<FrameHeader>,
        context: &mut Context<'_>,
    ) -> IntakeDecision {
        loop {
            match &mut self.stage {
                IntakeState::Admitted { .. } => return IntakeDecision::Read,
                IntakeState::Clear => {
                    let Some(FrameHeader { len, .. }) = next else {
                        return IntakeDecision::Read;
                    };
                    self.stage = match self.budget.try_take(len) {
                        Some(permit) => admitted(permit),
                        None => IntakeState::Waiting(Box::new(WaitingMessage {
                            len,
                            permit: Box::pin(self.budget.take(len)),
                            timeout: Box::pin(sleep(ADMISSION_TIMEOUT)),
                        })),
                    };
                }
                IntakeState::Waiting(waiting) => {
                    if let Poll::Ready(permit) = waiting.permit.as_mut().poll(context) {
                        self.stage = admitted(permit);
                    } else if waiting.timeout.as_mut().poll(context).is_ready() {
                        self.stage = IntakeState::Clear;
                        return IntakeDecision::Refuse;
                    } else {
                        return IntakeDecision::Wait;
                    }
                }
            }
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, IntakeState::Waiting(_))
    }

    /// The memory of a message that was read.
    pub(super) fn take(&mut self) -> Option<BytePermit> {
        match std::mem::replace(&mut self.stage, IntakeState::Clear) {
            IntakeState::Admitted { permit, .. } => Some(permit),
            IntakeState::Clear | IntakeState::Waiting(_) => None,
        }
    }

    /// The time by which the admitted message has to arrive if others wait for its memory.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.stage {
            IntakeState::Admitted { until, .. } => Some(*until),
            IntakeState::Clear | IntakeState::Waiting(_) => None,
        }
    }

    /// Whether a message is overdue while others wait for its memory. If nobody waits, an overdue message
    /// gets more time.
    pub(super) fn is_too_slow(&mut self, now: Instant) -> bool {
        let IntakeState::Admitted { until, .. } = &mut self.stage else {
            return false;
        };
        if now < *until {
            return false;
        }
        if self.budget.has_waiters() {
            return true;
        }
        *until = now + ARRIVAL_TIMEOUT;
        false
    }
}

fn admitted(permit: BytePermit) -> IntakeState {
    let seconds = (permit.bytes() / MIN_BYTES_PER_SECOND) as u64;
    let until = Instant::now() + ARRIVAL_TIMEOUT + Duration::from_secs(seconds);
    IntakeState::Admitted { permit, until }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::FrameKind;
    use std::task::Waker;
    use tokio::time::advance;

    const MEBIBYTE: usize = 1024 * 1024;

    fn large() -> Option<FrameHeader> {
        Some(FrameHeader {
            kind: FrameKind::Call,
            len: MEBIBYTE,
        })
    }

    fn admit(intake: &mut Intake, next: Option<FrameHeader>) -> IntakeDecision {
        intake.admit(next, &mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_message_waits_for_room_and_no_longer_than_it_may() {
        let budget = ByteBudget::new(MEBIBYTE);
        let (mut one, mut other) = (Intake::new(budget.clone()), Intake::new(budget.clone()));
        assert_eq!(admit(&mut one, None), IntakeDecision::Read, "a small one");
        assert_eq!(admit(&mut one, large()), IntakeDecision::Read);
        assert_eq!(admit(&mut other, large()), IntakeDecision::Wait);
        assert!(other.is_waiting() && other.take().is_none());
        drop(one.take());
        assert_eq!(admit(&mut other, large()), IntakeDecision::Read);
        assert_eq!(admit(&mut one, large()), IntakeDecision::Wait);
        advance(ADMISSION_TIMEOUT).await;
        assert_eq!(admit(&mut one, large()), IntakeDecision::Refuse);
        assert!(!budget.has_waiters());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_too_slow_only_while_others_wait() {
        let budget = ByteBudget::new(MEBIBYTE);
        let mut intake = Intake::new(budget.clone());
        assert_eq!(admit(&mut intake, large()), IntakeDecision::Read);
        let due = intake.deadline().unwrap();
        assert!(!intake.is_too_slow(due));
        let later = intake.deadline().unwrap();
        assert!(later > due);
        let _waiting = budget.take(1);
        assert!(!intake.is_too_slow(due));
        assert!(intake.is_too_slow(later));
    }
}
