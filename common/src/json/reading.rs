//! Reads the arguments of a method straight into its request, in one pass over their text.

use crate::interface::{Interface, Method};
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, EnumAccess, Error as _, IntoDeserializer, MapAccess, VariantAccess,
        Visitor, value::CowStrDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, de::StrRead};
use std::{borrow::Cow, fmt};

/// The request of a method; `None` if the arguments do not fit. What is wrong with them is found by reading them again.
pub(super) fn request<I: Interface>(method: &Method, arguments: &str) -> Option<I::Request> {
    let mut json = serde_json::Deserializer::from_str(arguments);
    let request = I::Request::deserialize(MethodCall {
        variant: method.variant,
        parameters: method.parameters,
        json: &mut json,
    });
    json.end().ok()?;
    request.ok()
}

/// What serde takes for the enum of all requests: the variant of one method, whose fields are the arguments.
struct MethodCall<'a, 'de> {
    variant: &'static str,
    parameters: &'static [&'static str],
    json: &'a mut serde_json::Deserializer<StrRead<'de>>,
}

fn no_request() -> Error {
    Error::custom("a request is an enum of methods with named parameters")
}

impl<'de> Deserializer<'de> for MethodCall<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(no_request())
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for MethodCall<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Error> {
        let variant = IntoDeserializer::<Error>::into_deserializer(self.variant);
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for MethodCall<'_, 'de> {
    type Error = Error;

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        // As a map: a list of values in order is no object of arguments.
        self.json.deserialize_map(KnownNames {
            names: self.parameters,
            inner: visitor,
        })
    }

    fn unit_variant(self) -> Result<(), Error> {
        Err(no_request())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(no_request())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(no_request())
    }
}

/// Passes a map on that has no other names than these.
struct KnownNames<T> {
    names: &'static [&'static str],
    inner: T,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for KnownNames<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(KnownNames {
            names: self.names,
            inner: map,
        })
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for KnownNames<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(Name(name)) = self.inner.next_key()? else {
            return Ok(None);
        };
        if !self.names.contains(&&*name) {
            return Err(A::Error::custom("a parameter that there is not"));
        }
        seed.deserialize(CowStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.inner.next_value_seed(seed)
    }
}

/// A name, which is borrowed from the text if it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
