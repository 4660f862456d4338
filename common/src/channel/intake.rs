//! Memory for large messages, which is taken before they are read.
//!
//! All connections of a process share one budget. A message that finds no room in it waits a little
//! in the socket; then it is read over, and its calls are refused unseen, so that those behind it, and
//! pings, are not held up for long.

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

/// How long a message waits for room. A client takes a server that sends nothing for five seconds for
/// dead.
const PATIENCE: Duration = Duration::from_secs(2);

/// A message that holds room which others wait for may take this long to arrive, and a second for
/// every [`SLOWEST`] bytes.
const ARRIVAL: Duration = Duration::from_secs(10);
const SLOWEST: usize = 1024 * 1024;

/// The memory for the large message that comes next on a connection.
#[derive(Debug)]
pub(super) struct Intake {
    budget: ByteBudget,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// None has come.
    Clear,
    Waiting(Box<Waiting>),
    /// It may be read, until then if others wait.
    Admitted {
        permit: BytePermit,
        until: Instant,
    },
}

struct Waiting {
    len: usize,
    permit: Pin<Box<dyn Future<Output = BytePermit> + Send>>,
    patience: Pin<Box<Sleep>>,
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waiting({} bytes)", self.len)
    }
}

/// What to do with the frame that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Read it.
    Read,
    /// Wait, and read nothing meanwhile.
    Wait,
    /// Read over it.
    Refuse,
}

impl Intake {
    pub(super) fn new(budget: ByteBudget) -> Self {
        Self {
            budget,
            stage: Stage::Clear,
        }
    }

    /// Decides about the next frame, whose header is given if it is a large one.
    pub(super) fn admit(
        &mut self,
        next: Option<FrameHeader>,
        context: &mut Context<'_>,
    ) -> Admission {
        loop {
            match &mut self.stage {
                Stage::Admitted { .. } => return Admission::Read,
                Stage::Clear => {
                    let Some(FrameHeader { len, .. }) = next else {
                        return Admission::Read;
                    };
                    self.stage = match self.budget.try_take(len) {
                        Some(permit) => admitted(permit),
                        None => Stage::Waiting(Box::new(Waiting {
                            len,
                            permit: Box::pin(self.budget.take(len)),
                            patience: Box::pin(sleep(PATIENCE)),
                        })),
                    };
                }
                Stage::Waiting(waiting) => {
                    if let Poll::Ready(permit) = waiting.permit.as_mut().poll(context) {
                        self.stage = admitted(permit);
                    } else if waiting.patience.as_mut().poll(context).is_ready() {
                        self.stage = Stage::Clear;
                        return Admission::Refuse;
                    } else {
                        return Admission::Wait;
                    }
                }
            }
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_))
    }

    /// The memory of a message that was read.
    pub(super) fn take(&mut self) -> Option<BytePermit> {
        match std::mem::replace(&mut self.stage, Stage::Clear) {
            Stage::Admitted { permit, .. } => Some(permit),
            Stage::Clear | Stage::Waiting(_) => None,
        }
    }

    /// By when a message has to be there whose memory others may wait for.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Admitted { until, .. } => Some(*until),
            Stage::Clear | Stage::Waiting(_) => None,
        }
    }

    /// Gives a message that is overdue more time if nobody waits for its memory. Returns whether it
    /// has had enough.
    pub(super) fn is_too_slow(&mut self, now: Instant) -> bool {
        let Stage::Admitted { until, .. } = &mut self.stage else {
            return false;
        };
        if now < *until {
            return false;
        }
        if self.budget.is_wanted() {
            return true;
        }
        *until = now + ARRIVAL;
        false
    }
}

fn admitted(permit: BytePermit) -> Stage {
    let seconds = (permit.bytes() / SLOWEST) as u64;
    let until = Instant::now() + ARRIVAL + Duration::from_secs(seconds);
    Stage::Admitted { permit, until }
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

    fn admit(intake: &mut Intake, next: Option<FrameHeader>) -> Admission {
        intake.admit(next, &mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_message_waits_for_room_and_no_longer_than_it_may() {
        let budget = ByteBudget::new(MEBIBYTE);
        let (mut one, mut other) = (Intake::new(budget.clone()), Intake::new(budget.clone()));
        assert_eq!(admit(&mut one, None), Admission::Read, "a small one");
        assert_eq!(admit(&mut one, large()), Admission::Read);
        assert_eq!(admit(&mut other, large()), Admission::Wait);
        assert!(other.is_waiting() && other.take().is_none());
        drop(one.take());
        assert_eq!(admit(&mut other, large()), Admission::Read);
        assert_eq!(admit(&mut one, large()), Admission::Wait);
        advance(PATIENCE).await;
        assert_eq!(admit(&mut one, large()), Admission::Refuse);
        assert!(!budget.is_wanted());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_too_slow_only_while_others_wait() {
        let budget = ByteBudget::new(MEBIBYTE);
        let mut intake = Intake::new(budget.clone());
        assert_eq!(admit(&mut intake, large()), Admission::Read);
        let due = intake.due().unwrap();
        assert!(!intake.is_too_slow(due));
        let later = intake.due().unwrap();
        assert!(later > due);
        let _waiting = budget.take(1);
        assert!(!intake.is_too_slow(due));
        assert!(intake.is_too_slow(later));
    }
}
