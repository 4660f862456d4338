//! Large byte strings that the codec encodes and decodes without a copy.
//!
//! serde does not support shared buffers, so a [`Blob`](crate::values::Blob) and the codec exchange them
//! through a thread-local while the codec runs. When it encodes, the blob puts its bytes here and writes only
//! their length, and the codec's writer records their position. When it decodes, the codec puts the frame
//! here, and a blob that receives a part of the frame shares it instead of copying it.

use bytes::Bytes;
use std::cell::{Cell, RefCell};

thread_local! {
    /// Whether an encoder that splices is running on this thread.
    static SPLICING: Cell<bool> = const { Cell::new(false) };
    /// Bytes to splice in after the next write, in order.
    static OUTGOING: RefCell<Vec<Bytes>> = const { RefCell::new(Vec::new()) };
    static HAS_OUTGOING: Cell<bool> = const { Cell::new(false) };
    /// The frame that is being decoded.
    static INCOMING: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Runs an encoder that splices.
pub(super) fn splicing<T>(encode: impl FnOnce() -> T) -> T {
    struct ResetOutgoing;
    impl Drop for ResetOutgoing {
        /// Also runs when the encoder panics, so that no state remains for the next one.
        fn drop(&mut self) {
            SPLICING.set(false);
            if HAS_OUTGOING.replace(false) {
                OUTGOING.take();
            }
        }
    }
    SPLICING.set(true);
    let _restore = ResetOutgoing;
    encode()
}

/// Offers bytes that belong after the next write. Returns whether they will be spliced in.
pub(crate) fn offer(bytes: &Bytes) -> bool {
    offer_all([bytes])
}

/// As [`offer`], for bytes in several parts.
pub(crate) fn offer_all<'a>(parts: impl IntoIterator<Item = &'a Bytes>) -> bool {
    if !SPLICING.get() {
        return false;
    }
    OUTGOING.set(parts.into_iter().cloned().collect());
    HAS_OUTGOING.set(true);
    true
}

/// The bytes that were offered since the last call.
pub(super) fn take_offers() -> Vec<Bytes> {
    if !HAS_OUTGOING.replace(false) {
        return Vec::new();
    }
    OUTGOING.take()
}

/// Runs `decode`, which may share the bytes of `frame`.
pub(crate) fn sharing<T>(frame: &Bytes, decode: impl FnOnce() -> T) -> T {
    struct RestoreIncoming(Option<Bytes>);
    impl Drop for RestoreIncoming {
        fn drop(&mut self) {
            INCOMING.set(self.0.take());
        }
    }
    let _restore = RestoreIncoming(INCOMING.replace(Some(frame.clone())));
    decode()
}

/// Shares `bytes` with the frame that is being decoded, if they are a part of it.
pub(crate) fn share(bytes: &[u8]) -> Option<Bytes> {
    INCOMING.with_borrow(|frame| {
        let frame = frame.as_ref()?;
        let within = frame.as_ptr_range();
        let range = bytes.as_ptr_range();
        let inside = within.start <= range.start && range.end <= within.end;
        inside.then(|| frame.slice_ref(bytes))
    })
}
