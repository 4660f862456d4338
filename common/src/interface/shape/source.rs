//! A source without data, from which decoders read.

use super::notes::{MAX_DEPTH, Shape};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use std::fmt;

/// A decoder has refused what it was given.
#[derive(Debug)]
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the decoder refuses the sample")
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// What a decoder reads from.
pub(super) struct Source<'a, 'b> {
    shape: &'a mut Shape<'b>,
    /// Whether it is that of the message itself, whose variant is given.
    is_message: bool,
}

impl<'a, 'b> Source<'a, 'b> {
    pub(super) fn of_message(shape: &'a mut Shape<'b>) -> Self {
        let is_message = true;
        Self { shape, is_message }
    }

    fn part(shape: &'a mut Shape<'b>) -> Self {
        let is_message = false;
        Self { shape, is_message }
    }

    fn elements<'de, V: Visitor<'de>>(
        self,
        count: usize,
        noted: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        deeper(self.shape, |shape| {
            let was_muted = shape.is_muted;
            let read = visitor.visit_seq(Elements {
                shape,
                left: count,
                noted,
            });
            shape.is_muted = was_muted;
            read
        })
    }
}

/// Reads a part, one level deeper.
fn deeper<'b, T>(
    shape: &mut Shape<'b>,
    read: impl FnOnce(&mut Shape<'b>) -> Result<T, Refused>,
) -> Result<T, Refused> {
    // Deeper than this only a type goes that contains itself without a list or an option.
    if shape.depth > 4 * MAX_DEPTH {
        return Err(Refused);
    }
    shape.depth += 1;
    let read = read(shape);
    shape.depth -= 1;
    read
}

/// The elements of a list, or the fields of a struct, of which the first ones are noted.
struct Elements<'a, 'b> {
    shape: &'a mut Shape<'b>,
    left: usize,
    noted: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = Refused;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refused> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        self.shape.is_muted |= self.noted == 0;
        self.noted = self.noted.saturating_sub(1);
        seed.deserialize(Source::part(self.shape)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> MapAccess<'de> for Elements<'_, '_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refused> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        seed.deserialize(Source::part(self.shape))
    }
}

/// A variant of an enum.
struct Variant<'a, 'b> {
    shape: &'a mut Shape<'b>,
    variant: u32,
    /// How many of its fields are noted.
    noted: usize,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = Refused;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Refused> {
        let number: de::value::U32Deserializer<Refused> = self.variant.into_deserializer();
        Ok((seed.deserialize(number)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        self.shape.note("unit");
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        self.shape.note("newtype");
        seed.deserialize(Source::part(self.shape))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Refused> {
        self.shape.note("tuple");
        Source::part(self.shape).elements(len, self.noted, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let noted = fields.get(..self.noted).unwrap_or(fields);
        self.shape.note_names("struct", noted);
        Source::part(self.shape).elements(fields.len(), self.noted, visitor)
    }
}

/// Methods that note the name of a type without parts, and give the decoder this.
macro_rules! plain {
    ($($method:ident, $visit:ident: |$sample:ident| $value:expr;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.shape.note(stringify!($visit));
            let $sample = self.shape.sample;
            visitor.$visit($value)
        })*
    };
}

impl<'de> Deserializer<'de> for Source<'_, '_> {
    type Error = Refused;

    fn is_human_readable(&self) -> bool {
        false
    }

    plain! {
        deserialize_bool, visit_bool: |sample| sample.1 > 0;
        deserialize_i8, visit_i8: |sample| i8::from(sample.1 > 0);
        deserialize_i16, visit_i16: |sample| sample.1.into();
        deserialize_i32, visit_i32: |sample| sample.1.into();
        deserialize_i64, visit_i64: |sample| sample.1.into();
        deserialize_i128, visit_i128: |sample| sample.1.into();
        deserialize_u8, visit_u8: |sample| sample.1;
        deserialize_u16, visit_u16: |sample| sample.1.into();
        deserialize_u32, visit_u32: |sample| sample.1.into();
        deserialize_u64, visit_u64: |sample| sample.1.into();
        deserialize_u128, visit_u128: |sample| sample.1.into();
        deserialize_f32, visit_f32: |sample| sample.1.into();
        deserialize_f64, visit_f64: |sample| sample.1.into();
        deserialize_char, visit_char: |_sample| 'a';
        deserialize_str, visit_str: |sample| sample.0;
        deserialize_string, visit_string: |sample| sample.0.to_owned();
        deserialize_bytes, visit_bytes: |sample| sample.0.as_bytes();
        deserialize_byte_buf, visit_byte_buf: |sample| sample.0.as_bytes().to_vec();
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.shape.note("option");
        match self.shape.is_exhausted() {
            true => visitor.visit_none(),
            false => deeper(self.shape, |shape| visitor.visit_some(Source::part(shape))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.shape.note("unit");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        deeper(self.shape, |shape| {
            visitor.visit_newtype_struct(Source::part(shape))
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.shape.note("list");
        let count = usize::from(!self.shape.is_exhausted());
        self.elements(count, usize::MAX, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.shape.note("tuple");
        self.shape.note(&len.to_string());
        self.elements(len, usize::MAX, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.shape.note("map");
        let left = usize::from(!self.shape.is_exhausted());
        deeper(self.shape, |shape| {
            visitor.visit_map(Elements {
                shape,
                left,
                noted: usize::MAX,
            })
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.shape.note_names("struct", fields);
        self.elements(fields.len(), usize::MAX, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let Self { shape, is_message } = self;
        if is_message {
            let (variant, noted) = (shape.variant, shape.fields);
            return visitor.visit_enum(Variant {
                shape,
                variant,
                noted,
            });
        }
        shape.note_names("enum", variants);
        let variant = shape.choose(variants);
        shape.note(&variant.to_string());
        let read = deeper(shape, |shape| {
            visitor.visit_enum(Variant {
                shape,
                variant,
                noted: usize::MAX,
            })
        })?;
        shape.was_read(variants, variant);
        Ok(read)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        Err(Refused)
    }
}
