//! Large byte strings that pass through the codec without being copied.
//!
//! serde knows nothing of shared buffers, so a [`Blob`](crate::values::Blob) and the codec meet in
//! a thread-local while the codec is at work. On the way out the blob leaves its bytes here and
//! writes only their length; the codec's writer notes where they belong. On the way in the codec
//! lays the frame out here, and a blob that is handed a part of it takes a share instead of a copy.

use bytes::Bytes;
use std::cell::{Cell, RefCell};

thread_local! {
    /// Whether an encoder that splices is at work.
    static SPLICING: Cell<bool> = const { Cell::new(false) };
    /// Bytes to be spliced in after what is written next, in order.
    static OUTGOING: RefCell<Vec<Bytes>> = const { RefCell::new(Vec::new()) };
    static HAS_OUTGOING: Cell<bool> = const { Cell::new(false) };
    /// The frame that is being decoded.
    static INCOMING: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Runs an encoder that splices.
pub(super) fn splicing<T>(encode: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        /// Also when the encoder panics: the next one must not meet its remains.
        fn drop(&mut self) {
            SPLICING.set(false);
            HAS_OUTGOING.set(false);
            OUTGOING.take();
        }
    }
    SPLICING.set(true);
    let _restore = Restore;
    encode()
}

/// Offers bytes that belong after what is written next. Returns whether they will be spliced.
pub(crate) fn offer(bytes: &Bytes) -> bool {
    offer_all([bytes])
}

/// The same for bytes that lie in several parts.
pub(crate) fn offer_all<'a>(parts: impl IntoIterator<Item = &'a Bytes>) -> bool {
    if !SPLICING.get() {
        return false;
    }
    OUTGOING.set(parts.into_iter().cloned().collect());
    HAS_OUTGOING.set(true);
    true
}

/// The bytes that were offered since the last time.
pub(super) fn take_offers() -> Vec<Bytes> {
    if !HAS_OUTGOING.replace(false) {
        return Vec::new();
    }
    OUTGOING.take()
}

/// Runs `decode` on a frame whose bytes may be shared.
pub(crate) fn sharing<T>(frame: &Bytes, decode: impl FnOnce() -> T) -> T {
    struct Restore(Option<Bytes>);
    impl Drop for Restore {
        fn drop(&mut self) {
            INCOMING.set(self.0.take());
        }
    }
    let _restore = Restore(INCOMING.replace(Some(frame.clone())));
    decode()
}

/// A share of the frame that is being decoded, if `bytes` are a part of it.
pub(crate) fn share(bytes: &[u8]) -> Option<Bytes> {
    INCOMING.with_borrow(|frame| {
        let frame = frame.as_ref()?;
        let within = frame.as_ptr_range();
        let range = bytes.as_ptr_range();
        let inside = within.start <= range.start && range.end <= within.end;
        inside.then(|| frame.slice_ref(bytes))
    })
}
