//! Zero-copy sending: large parts of a value are sent without copying them first.
//!
//! serde gives an encoder only borrowed bytes, and only during the call. So the code that knows the value's
//! type lists its large parts ([`LargeParts`]), the value is kept alive until they have been sent, and the
//! encoder's writer recognises the parts by their address.

use bytes::Bytes;
use std::sync::Arc;

/// Lists the large parts of a value, in the order in which they are encoded. Each part is encoded exactly as
/// it is in memory, or is not a part of the encoding.
pub type LargeParts<T> = fn(&T) -> Vec<&[u8]>;

/// Shorter parts, in bytes, are copied: that costs less than sharing.
const MIN_ZERO_COPY_BYTES: usize = 32 * 1024;

/// The parts that are large enough for zero-copy sending.
pub fn zero_copy_parts<const N: usize>(parts: [Option<&[u8]>; N]) -> Vec<&[u8]> {
    let parts = parts.into_iter().flatten();
    parts
        .filter(|part| part.len() >= MIN_ZERO_COPY_BYTES)
        .collect()
}

/// One part of a value. It keeps the value alive.
struct ZeroCopyPart<T> {
    value: Arc<T>,
    parts: LargeParts<T>,
    position: usize,
}

impl<T> AsRef<[u8]> for ZeroCopyPart<T> {
    fn as_ref(&self) -> &[u8] {
        let parts = (self.parts)(&self.value);
        parts.get(self.position).copied().unwrap_or_default()
    }
}

/// Calls `encode` with a value and its large parts, which keep the value alive.
pub fn with_zero_copy_parts<T, R>(
    value: T,
    parts: LargeParts<T>,
    encode: impl FnOnce(&T, &[Bytes]) -> R,
) -> R
where
    T: Send + Sync + 'static,
{
    let count = parts(&value).len();
    if count == 0 {
        return encode(&value, &[]);
    }
    let value = Arc::new(value);
    let lenders = (0..count).map(|position| ZeroCopyPart {
        value: Arc::clone(&value),
        parts,
        position,
    });
    let lent: Vec<Bytes> = lenders.map(Bytes::from_owner).collect();
    encode(&value, &lent)
}

/// The part at the same address and of the same length as `bytes`, if there is one.
pub(super) fn find<'a>(lent: &'a [Bytes], bytes: &[u8]) -> Option<&'a Bytes> {
    let is_it = |part: &&Bytes| part.len() == bytes.len() && part.as_ptr() == bytes.as_ptr();
    lent.iter().find(is_it)
}
