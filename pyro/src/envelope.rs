//! What a call of a Pyro client carries beside its arguments: annotations, its correlation id, the name of a blob.

use crate::{
    limits::MAX_ANNOTATIONS,
    wire::{Annotations, BLOB_ANNOTATION, STREAM_ANNOTATION},
};
use pyroxene_common::scope;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes that a method may send beside its answer.
const MAX_ANSWERED: usize = 64 * 1024;

/// What a call carries, and what its answer will carry.
///
/// A method of a worker finds that of its call by [`Envelope::current`].
#[derive(Debug, Default)]
pub struct Envelope {
    /// The id that belongs to the calls of one request, if the client sent one.
    pub correlation: Option<[u8; 16]>,
    /// The annotations.
    pub annotations: Annotations,
    /// What the client says of the call's only argument, if that is a `SerializedBlob`.
    pub blob: Option<crate::PyValue>,
    answered: Mutex<Annotations>,
}

impl Envelope {
    /// An envelope with these contents.
    pub fn new(
        correlation: Option<[u8; 16]>,
        annotations: Annotations,
        blob: Option<crate::PyValue>,
    ) -> Self {
        Self {
            correlation,
            annotations,
            blob,
            answered: Mutex::default(),
        }
    }

    /// The envelope of the call that runs on this thread, if a Pyro client made it.
    pub fn current() -> Option<Arc<Self>> {
        scope::current().envelope?.downcast().ok()
    }

    /// The annotation with this id.
    pub fn annotation(&self, id: [u8; 4]) -> Option<&[u8]> {
        let mut matching = self.annotations.iter().filter(|(found, _)| *found == id);
        matching.next().map(|(_, value)| value.as_slice())
    }

    fn answered(&self) -> MutexGuard<'_, Annotations> {
        // Plain data: valid even if a holder of the lock panicked.
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an annotation to the answer, in the place of an earlier one with this id. Returns whether there is
    /// room for it, and the protocol does not use the id itself.
    pub fn answer_with(&self, id: [u8; 4], value: Vec<u8>) -> bool {
        let mut answered = self.answered();
        let others = answered.iter().filter(|(known, _)| *known != id);
        let (count, bytes) = others.fold((0, 0), |(count, bytes), (_, value)| {
            (count + 1, bytes + value.len())
        });
        let fits = count + 1 < MAX_ANNOTATIONS && bytes + value.len() <= MAX_ANSWERED;
        if !fits || matches!(id, STREAM_ANNOTATION | BLOB_ANNOTATION) {
            return false;
        }
        answered.retain(|(known, _)| *known != id);
        answered.push((id, value));
        true
    }

    /// The annotations of the answer.
    pub(crate) fn take_answered(&self) -> Annotations {
        std::mem::take(&mut self.answered())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::scope::Scope;

    #[test]
    fn a_method_finds_the_envelope_of_its_call() {
        assert!(Envelope::current().is_none());
        let envelope = Envelope::new(None, vec![(*b"TEST", b"x".to_vec())], None);
        let scope = Scope {
            envelope: Some(Arc::new(envelope)),
            ..Scope::default()
        };
        scope.enter(|| {
            let found = Envelope::current().unwrap();
            assert_eq!(found.annotation(*b"TEST"), Some(b"x".as_slice()));
            assert_eq!(found.annotation(*b"NONE"), None);
        });
    }

    #[test]
    fn what_is_sent_beside_an_answer_is_bounded() {
        let envelope = Envelope::default();
        assert!(envelope.answer_with(*b"ANN2", b"one".to_vec()));
        assert!(envelope.answer_with(*b"ANN2", b"two".to_vec()));
        assert!(!envelope.answer_with(STREAM_ANNOTATION, Vec::new()));
        assert!(!envelope.answer_with(*b"LONG", vec![0; MAX_ANSWERED]));
        let full = (0..=MAX_ANNOTATIONS).filter(|number| {
            let number = u32::try_from(*number).unwrap();
            envelope.answer_with(number.to_be_bytes(), Vec::new())
        });
        assert_eq!(full.count(), MAX_ANNOTATIONS - 2);
        assert_eq!(envelope.take_answered()[0], (*b"ANN2", b"two".to_vec()));
    }
}
