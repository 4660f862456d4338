//! Writes what is within the variants of enums: an answer without the name of its method.

use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible},
};

/// A value that is in so many variants of enums, one in the other, each with one field.
struct Within<'a, T> {
    layers: usize,
    value: &'a T,
}

/// The JSON of what is within `layers` variants.
pub(super) fn within<T: Serialize>(layers: usize, value: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Within { layers, value })
}

impl<T: Serialize> Serialize for Within<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Unwrapping {
            layers: self.layers,
            serializer,
        })
    }
}

/// Takes such a value, and passes on what is in it.
struct Unwrapping<S> {
    layers: usize,
    serializer: S,
}

/// The methods of a serializer that get anything else.
macro_rules! refuse {
    ($($method:ident($($type:ty),*) -> $result:ty;)*) => {
        $(fn $method(self $(, _: $type)*) -> Result<$result, S::Error> {
            Err(S::Error::custom("it is not the variant of an enum"))
        })*
    };
}

impl<S: Serializer> Serializer for Unwrapping<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Impossible<S::Ok, S::Error>;
    type SerializeTuple = Impossible<S::Ok, S::Error>;
    type SerializeTupleStruct = Impossible<S::Ok, S::Error>;
    type SerializeTupleVariant = Impossible<S::Ok, S::Error>;
    type SerializeMap = Impossible<S::Ok, S::Error>;
    type SerializeStruct = Impossible<S::Ok, S::Error>;
    type SerializeStructVariant = Impossible<S::Ok, S::Error>;

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        match self.layers {
            0 | 1 => value.serialize(self.serializer),
            more => value.serialize(Self {
                layers: more - 1,
                ..self
            }),
        }
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<S::Ok, S::Error> {
        self.serialize_none()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<S::Ok, S::Error> {
        self.serialize_none()
    }

    refuse! {
        serialize_bool(bool) -> S::Ok;
        serialize_i8(i8) -> S::Ok;
        serialize_i16(i16) -> S::Ok;
        serialize_i32(i32) -> S::Ok;
        serialize_i64(i64) -> S::Ok;
        serialize_u8(u8) -> S::Ok;
        serialize_u16(u16) -> S::Ok;
        serialize_u32(u32) -> S::Ok;
        serialize_u64(u64) -> S::Ok;
        serialize_f32(f32) -> S::Ok;
        serialize_f64(f64) -> S::Ok;
        serialize_char(char) -> S::Ok;
        serialize_str(&str) -> S::Ok;
        serialize_bytes(&[u8]) -> S::Ok;
        serialize_none() -> S::Ok;
        serialize_unit() -> S::Ok;
        serialize_unit_struct(&'static str) -> S::Ok;
        serialize_unit_variant(&'static str, u32, &'static str) -> S::Ok;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
