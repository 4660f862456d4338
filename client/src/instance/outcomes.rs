//! What an instance's calls show of its health: answers, errors, and attempts without an answer.

use super::{InstanceHealth, ObjectInstance};
use pyroxene_common::{
    channel::{AttemptError, ConnectionLost},
    message::RefusalReason,
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

/// An answer within this time counts as quick.
const QUICK_ANSWER: Duration = Duration::from_millis(1);

/// The minimum time between two samples of an instance that answers quickly and never fails.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(1);

/// A share of errors below this is ignored.
const FEW_ERRORS: f64 = 0.01;

impl<R> ObjectInstance<R> {
    /// Records an answered call. While answers are quick and without errors, only samples are recorded.
    pub(crate) fn succeeded(&self, took: Duration, now: Instant) {
        if took < QUICK_ANSWER && self.has_clean_record.load(Ordering::Relaxed) {
            let micros = self.micros(now);
            let last = self.last_sample.load(Ordering::Relaxed);
            if last > 0 && u128::from(micros.saturating_sub(last)) < SAMPLE_INTERVAL.as_micros() {
                return;
            }
            self.last_sample.store(micros.max(1), Ordering::Relaxed);
        }
        let mut learned = self.health();
        learned.latency.answered(took, now);
        learned.errors.ended(false, now);
        learned.last_answer = Some(now);
        learned.breaker.succeeded();
        let errors = learned.errors.at(now);
        let spotless = learned.breaker.has_no_failures() && errors < FEW_ERRORS;
        self.has_clean_record.store(spotless, Ordering::Relaxed);
        self.mostly_errors.store(errors > 0.5, Ordering::Relaxed);
        self.last_call_unanswered.store(false, Ordering::Relaxed);
    }

    /// Records a call that returned an error of the object or of its host.
    pub(crate) fn erred(&self, took: Duration, now: Instant) {
        self.has_clean_record.store(false, Ordering::Relaxed);
        let mut learned = self.health();
        learned.latency.erred(took, now);
        learned.errors.ended(true, now);
        learned.last_answer = Some(now);
        learned.breaker.succeeded();
        let erring = learned.errors.at(now) > 0.5;
        self.mostly_errors.store(erring, Ordering::Relaxed);
        self.last_call_unanswered.store(false, Ordering::Relaxed);
    }

    /// Records an attempt that got no answer.
    pub(crate) fn failed(&self, error: &AttemptError, took: Duration, now: Instant) {
        let is_other = matches!(
            error,
            AttemptError::NotSent(
                ConnectionLost::WrongServer(_) | ConnectionLost::WrongInterface(_)
            )
        );
        // A worker with a lease may have moved. Its name servers will report the new address.
        let is_static = self.addressee.is_none();
        self.led_to_no_worker
            .store(is_other && is_static, Ordering::Relaxed);
        if let AttemptError::Failed(_) = error {
            return self.erred(took, now);
        }
        self.has_clean_record.store(false, Ordering::Relaxed);
        let mut learned = self.health();
        match error {
            AttemptError::NotSent(_) | AttemptError::MaybeRan(_) => {
                learned.latency.failed(took, now);
                learned.errors.ended(true, now);
                learned.breaker.failed(now);
                self.last_call_unanswered.store(true, Ordering::Relaxed);
            }
            AttemptError::Refused(refusal) => {
                learned.latency.failed(took, now);
                learned.errors.ended(true, now);
                if refusal.retry_after_ms > 0 {
                    let pause = Duration::from_millis(refusal.retry_after_ms.into());
                    learned.retry_after = Some(now + pause);
                }
                if refusal.reason == RefusalReason::Draining {
                    self.draining.store(true, Ordering::Relaxed);
                }
            }
            AttemptError::Unauthenticated(_) => {
                learned.latency.failed(took, now);
                learned.errors.ended(true, now);
            }
            // A deadline that passes shows that the instance takes at least this long.
            AttemptError::DeadlineExceeded { sent: true } => {
                learned.latency.failed(took, now);
            }
            AttemptError::Failed(_)
            | AttemptError::DeadlineExceeded { sent: false }
            | AttemptError::TooLarge { .. }
            | AttemptError::Encoding(_) => {}
        }
        self.update_restriction(&learned);
    }

    pub(super) fn update_restriction(&self, learned: &InstanceHealth) {
        let free = learned.breaker.is_closed() && learned.retry_after.is_none();
        self.unrestricted.store(free, Ordering::Relaxed);
    }
}
