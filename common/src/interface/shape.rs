//! The form in which a message travels: what its decoder asks for, one thing after the other.
//!
//! In the binary encoding fields and variants have no names: their order tells them apart. JSON schemas do not have
//! the order of variants, so the decoders themselves are asked. They read from a source that has no data: it notes what
//! they want, and gives them the least that there is. An enum is read once with each of its variants.

mod notes;
mod source;

use crate::{channel::tracing_shapes, stable_hash::StableHasher};
use notes::{Sample, Shape};
use serde::de::DeserializeOwned;
use source::Source;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How often a message is read at most. It is read again as long as there are variants that were not read.
const MAX_RUNS: usize = 1_000;

/// Texts and numbers for types that do not accept all of them, one after the other.
const SAMPLES: [Sample; 5] = [
    ("", 0),
    ("a", 1),
    ("0", 1),
    ("localhost:1", 1),
    ("00000000-0000-0000-0000-000000000000", 1),
];

/// Writes the form of one variant of a message, with the first ones of its fields.
pub(super) fn write_variant<T: DeserializeOwned>(
    hasher: &mut StableHasher,
    variant: usize,
    fields: usize,
) {
    let mut shape = Shape::new(hasher, variant, fields);
    for sample in SAMPLES {
        if read_all::<T>(&mut shape, sample) {
            return;
        }
    }
}

/// Reads a message with each variant of the enums in it. Returns whether it could be read to its end.
fn read_all<T: DeserializeOwned>(shape: &mut Shape<'_>, sample: Sample) -> bool {
    for _ in 0..MAX_RUNS {
        shape.begin(sample);
        let read = AssertUnwindSafe(|| {
            let source = Source::of_message(shape);
            tracing_shapes(|| T::deserialize(source)).is_ok()
        });
        // A decoder that does not expect this may panic.
        let is_read = catch_unwind(read).unwrap_or(false);
        shape.is_muted = false;
        shape.note(if is_read { "read" } else { "refused" });
        if !shape.has_news() {
            return is_read;
        }
    }
    false
}

#[cfg(test)]
#[expect(dead_code, reason = "the types are only read, and dropped")]
mod tests {
    use super::*;
    use crate::channel::Stream;
    use serde::Deserialize;
    use std::hash::Hasher;
    use std::num::NonZeroU32;

    fn of<T: DeserializeOwned>(fields: usize) -> u64 {
        let mut hasher = StableHasher::default();
        write_variant::<T>(&mut hasher, 0, fields);
        hasher.finish()
    }

    macro_rules! message {
        ($module:ident, $($items:tt)*) => {
            mod $module {
                use super::*;
                $($items)*
            }
        };
    }

    message! { plain,
        #[derive(Deserialize)]
        pub(super) enum Colour { _Red, _Blue(u8), _Green }
        #[derive(Deserialize)]
        pub(super) enum Request { _Paint { _colour: Colour, _size: u32 } }
    }
    message! { swapped,
        #[derive(Deserialize)]
        pub(super) enum Colour { _Green, _Blue(u8), _Red }
        #[derive(Deserialize)]
        pub(super) enum Request { _Paint { _colour: Colour, _size: u32 } }
    }
    message! { longer,
        pub(super) use super::plain::Colour;
        #[derive(Deserialize)]
        pub(super) enum Request { _Paint { _colour: Colour, _size: u32, _note: Option<String> } }
    }

    #[test]
    fn the_order_of_variants_counts_and_what_comes_later_does_not() {
        assert_ne!(of::<plain::Request>(2), of::<swapped::Request>(2));
        assert_eq!(of::<plain::Request>(2), of::<longer::Request>(2));
        assert_ne!(of::<longer::Request>(2), of::<longer::Request>(3));
    }

    #[derive(Deserialize)]
    enum Tree {
        _Fork(Box<Tree>, Vec<Tree>, Vec<Tree>),
        _Leaf(plain::Colour),
    }

    #[derive(Deserialize)]
    enum OtherTree {
        _Fork(Box<OtherTree>, Vec<OtherTree>, Vec<OtherTree>),
        _Leaf(swapped::Colour),
    }

    #[derive(Deserialize)]
    enum Holding<T> {
        _Of(NonZeroU32, T),
    }

    #[derive(Deserialize)]
    #[serde(bound = "T: DeserializeOwned + Send + 'static")]
    enum Streaming<T> {
        _Of { _items: Stream<T> },
    }

    #[test]
    fn it_is_found_in_types_that_contain_themselves_refuse_zero_or_come_in_a_stream() {
        assert_ne!(of::<Holding<Tree>>(9), of::<Holding<OtherTree>>(9));
        assert_eq!(of::<Holding<Tree>>(9), of::<Holding<Tree>>(9));
        assert_ne!(
            of::<Streaming<plain::Colour>>(9),
            of::<Streaming<swapped::Colour>>(9)
        );
    }
}
