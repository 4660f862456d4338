//! What a caller says of its call beside the arguments: pairs of strings, such as a tenant or a correlation id.

use crate::{
    clean,
    codec::{self, CodecError},
    spans::{TRACESTATE, parse_tracestate},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The most pairs of a call.
pub const MAX_PAIRS: usize = 64;

/// The longest key, in bytes.
pub const MAX_KEY: usize = 128;

/// The most bytes of all keys and values together.
pub const MAX_SIZE: usize = 8 * 1024;

/// The greatest encoding, in bytes: pairs with the lengths of their keys and values, and their number.
pub const MAX_ENCODED: usize = MAX_SIZE + 16 * MAX_PAIRS + 8;

/// What a pair takes in memory beside its bytes, about.
const PAIR_OVERHEAD: usize = 80;

/// The key under which callers give an id that all calls of one piece of work share.
pub const CORRELATION_ID: &str = "correlation-id";

/// Pairs of strings that travel with a call, and with the calls that its method makes. There are at most
/// [`MAX_PAIRS`], and they have at most [`MAX_SIZE`] bytes.
///
/// ```
/// use pyroxene_common::metadata::{InvalidMetadata, Metadata};
///
/// let mut metadata = Metadata::default();
/// metadata.insert("tenant", "acme")?;
/// assert_eq!(metadata.get("tenant"), Some("acme"));
/// assert!(metadata.insert("two words", "no").is_err());
/// # Ok::<(), InvalidMetadata>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata(BTreeMap<String, String>);

/// Why a pair cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// The key is empty or too long, or has white space or invisible characters.
    #[error("a key of metadata is a word of at most {MAX_KEY} bytes, not {0:?}")]
    Key(String),
    /// There are too many pairs.
    #[error("a call has at most {MAX_PAIRS} pairs of metadata")]
    Pairs,
    /// The pairs are too long together.
    #[error("the metadata of a call has at most {MAX_SIZE} bytes")]
    Size,
}

impl Metadata {
    /// The encoding of none.
    pub(crate) const EMPTY_ENCODED: [u8; 8] = [0; 8];

    /// That of calls in a trace with these `tracestate` headers; `None` if there is nothing to pass on.
    pub fn of_tracestate<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Arc<Self>> {
        let state = parse_tracestate(headers)?;
        Self::try_from([(TRACESTATE, &*state)]).ok().map(Arc::new)
    }

    /// Adds a pair, in place of an earlier one of this key.
    ///
    /// # Errors
    ///
    /// The key is not a word, or the pairs would be too many or too long.
    pub fn insert(
        &mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<(), InvalidMetadata> {
        let key = key.into();
        if !is_key(&key) {
            return Err(InvalidMetadata::Key(key));
        }
        let value = value.into();
        let replaced = self.0.get(&key);
        let freed = replaced.map_or(0, |old| key.len() + old.len());
        if replaced.is_none() && self.0.len() >= MAX_PAIRS {
            return Err(InvalidMetadata::Pairs);
        }
        if self.size() - freed + key.len() + value.len() > MAX_SIZE {
            return Err(InvalidMetadata::Size);
        }
        self.0.insert(key, value);
        Ok(())
    }

    /// Adds the pairs of `other`, in place of those of the same keys.
    ///
    /// # Errors
    ///
    /// The pairs would be too many or too long.
    pub fn extend(&mut self, other: &Self) -> Result<(), InvalidMetadata> {
        let mut pairs = other.iter();
        pairs.try_for_each(|(key, value)| self.insert(key, value))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The pairs, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn size(&self) -> usize {
        self.iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }

    /// How many bytes of memory it takes, about.
    pub(crate) fn memory(&self) -> usize {
        self.size() + PAIR_OVERHEAD * self.0.len()
    }

    /// Decodes the metadata of a peer. Metadata beyond the bounds is refused; if it is too long, before it is decoded.
    ///
    /// # Errors
    ///
    /// It cannot be decoded, or has more than it may.
    pub fn decode(encoded: &[u8]) -> Result<Self, CodecError> {
        let refused = |error: InvalidMetadata| CodecError::new(error.to_string());
        if encoded.len() > MAX_ENCODED {
            return Err(refused(InvalidMetadata::Size));
        }
        let metadata: Self = codec::decode(encoded)?;
        metadata.check().map_err(refused)?;
        Ok(metadata)
    }

    /// Refuses what a peer sent beyond the bounds.
    fn check(&self) -> Result<(), InvalidMetadata> {
        if let Some(key) = self.0.keys().find(|key| !is_key(key)) {
            return Err(InvalidMetadata::Key(key.clone()));
        }
        match self.0.len() > MAX_PAIRS {
            true => Err(InvalidMetadata::Pairs),
            false if self.size() > MAX_SIZE => Err(InvalidMetadata::Size),
            false => Ok(()),
        }
    }
}

impl<const N: usize> TryFrom<[(&str, &str); N]> for Metadata {
    type Error = InvalidMetadata;

    fn try_from(pairs: [(&str, &str); N]) -> Result<Self, InvalidMetadata> {
        let mut metadata = Self::default();
        for (key, value) in pairs {
            metadata.insert(key, value)?;
        }
        Ok(metadata)
    }
}

fn is_key(key: &str) -> bool {
    !key.is_empty() && key.len() <= MAX_KEY && clean::is_word(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_replaced_makes_room() {
        let mut metadata = Metadata::default();
        metadata.insert("k", "v".repeat(MAX_SIZE - 1)).unwrap();
        assert_eq!(metadata.insert("l", ""), Err(InvalidMetadata::Size));
        metadata.insert("k", "v").unwrap();
        for number in 1..MAX_PAIRS {
            metadata.insert(number.to_string(), "").unwrap();
        }
        assert_eq!(metadata.insert("l", ""), Err(InvalidMetadata::Pairs));
        metadata.insert("1", "again").unwrap();
        assert_eq!(metadata.check(), Ok(()));
    }

    #[test]
    fn what_a_peer_sends_beyond_the_bounds_is_refused() {
        let sent = |pairs: &[(&str, String)]| {
            let pairs = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()));
            Metadata(pairs.collect()).check()
        };
        assert_eq!(
            sent(&[("k", "v".repeat(MAX_SIZE))]),
            Err(InvalidMetadata::Size)
        );
        assert!(matches!(
            sent(&[("a b", String::new())]),
            Err(InvalidMetadata::Key(_))
        ));
        assert_eq!(sent(&[("k", "any text\n".to_owned())]), Ok(()));
    }
}
