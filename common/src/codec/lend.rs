//! Large parts of a value that are sent from where they lie.
//!
//! serde shows an encoder borrowed bytes only, for as long as it looks at them. So whoever knows the
//! value's type tells where its large parts are ([`Parts`]), the value is kept for as long as they
//! are being sent, and the encoder's writer knows them again by their address.

use bytes::Bytes;
use std::sync::Arc;

/// Where the large parts of a value lie, in the order in which they are encoded. They are encoded
/// as they lie in memory, or not at all.
pub type Parts<T> = fn(&T) -> Vec<&[u8]>;

/// Shorter parts are copied: that costs less than sharing.
const WORTH_LENDING: usize = 32 * 1024;

/// Those parts that are worth lending.
pub fn worth_lending<const N: usize>(parts: [Option<&[u8]>; N]) -> Vec<&[u8]> {
    let parts = parts.into_iter().flatten();
    parts.filter(|part| part.len() >= WORTH_LENDING).collect()
}

/// One part of a value, which it keeps.
struct Lender<T> {
    value: Arc<T>,
    parts: Parts<T>,
    position: usize,
}

impl<T> AsRef<[u8]> for Lender<T> {
    fn as_ref(&self) -> &[u8] {
        let parts = (self.parts)(&self.value);
        parts.get(self.position).copied().unwrap_or_default()
    }
}

/// Hands a value to an encoder, together with its large parts; these keep the value.
pub fn lending<T, R>(value: T, parts: Parts<T>, encode: impl FnOnce(&T, &[Bytes]) -> R) -> R
where
    T: Send + Sync + 'static,
{
    let count = parts(&value).len();
    if count == 0 {
        return encode(&value, &[]);
    }
    let value = Arc::new(value);
    let lenders = (0..count).map(|position| Lender {
        value: Arc::clone(&value),
        parts,
        position,
    });
    let lent: Vec<Bytes> = lenders.map(Bytes::from_owner).collect();
    encode(&value, &lent)
}

/// The part that these very bytes are, if they are one.
pub(super) fn find<'a>(lent: &'a [Bytes], bytes: &[u8]) -> Option<&'a Bytes> {
    let is_it = |part: &&Bytes| part.len() == bytes.len() && part.as_ptr() == bytes.as_ptr();
    lent.iter().find(is_it)
}
