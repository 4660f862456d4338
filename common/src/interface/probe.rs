//! Distinguishes methods that answer a `Result` from other methods, for any result type.
//!
//! Rust has no specialisation, but method lookup prefers the impl for the most references: the macro calls
//! `(&&&Answer(value)).outcome()`, and the first of the three traits that applies is used.

use super::{Outcome, Remote, describe::Schemas};
use crate::{channel::Stream, values::Bulk};
use schemars::JsonSchema;
use serde_json::Value;
use std::{
    fmt::{Debug, Display},
    marker::PhantomData,
};

/// The answer of a method.
#[derive(Debug)]
pub struct Answer<'a, T>(pub &'a T);

/// A `Result` whose error implements `Display`.
pub trait OutcomeByDisplay {
    /// Success, or the error's message.
    fn outcome(&self) -> Outcome;
}

impl<T, E: Display> OutcomeByDisplay for &&Answer<'_, Result<T, E>> {
    fn outcome(&self) -> Outcome {
        match self.0 {
            Ok(_) => Outcome::Succeeded,
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

/// A `Result` whose error implements only `Debug`.
pub trait OutcomeByDebug {
    /// Success, or the error as `Debug` shows it.
    fn outcome(&self) -> Outcome;
}

impl<T, E: Debug> OutcomeByDebug for &Answer<'_, Result<T, E>> {
    fn outcome(&self) -> Outcome {
        match self.0 {
            Ok(_) => Outcome::Succeeded,
            Err(error) => Outcome::Failed(format!("{error:?}")),
        }
    }
}

/// Any other answer.
pub trait PlainOutcome {
    /// [`Outcome::Plain`].
    fn outcome(&self) -> Outcome;
}

impl<T> PlainOutcome for Answer<'_, T> {
    fn outcome(&self) -> Outcome {
        Outcome::Plain
    }
}

/// The result type of a method. What it has itself hides what the trait has.
#[derive(Debug)]
pub struct ResultOf<T>(PhantomData<T>);

impl<T> ResultOf<T> {
    /// A value to call the traits' methods on.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T, E> ResultOf<Result<T, E>> {
    /// It is a `Result`.
    pub const IS_FALLIBLE: bool = true;

    /// The type of the success.
    pub fn success() -> PhantomData<T> {
        PhantomData
    }
}

/// A method that answers anything else.
pub trait PlainResult {
    /// The type of the answer.
    type Success;

    /// It is no `Result`.
    const IS_FALLIBLE: bool = false;

    /// The type of the answer.
    fn success() -> PhantomData<Self::Success> {
        PhantomData
    }
}

impl<T> PlainResult for ResultOf<T> {
    type Success = T;
}

/// A method that answers a `Result` whose error has a schema.
pub trait DescribedError {
    /// The schema of the error.
    fn error(&self, schemas: &mut Schemas) -> Option<Value>;
}

impl<T, E: JsonSchema> DescribedError for &&ResultOf<Result<T, E>> {
    fn error(&self, schemas: &mut Schemas) -> Option<Value> {
        Some(schemas.of::<E>())
    }
}

/// Any other method.
pub trait UndescribedError {
    /// Nothing.
    fn error(&self, _: &mut Schemas) -> Option<Value> {
        None
    }
}

impl<T> UndescribedError for ResultOf<T> {}

/// A parameter or a result that may have a large part.
#[derive(Debug)]
pub struct PartOf<'a, T>(pub &'a T);

/// A value of a type that may hold a large part.
pub trait LargePart<'a> {
    /// The part.
    fn part(&self) -> Option<&'a [u8]>;
}

impl<'a, T: Bulk> LargePart<'a> for &PartOf<'a, T> {
    fn part(&self) -> Option<&'a [u8]> {
        Some(self.0.bulk())
    }
}

/// Any other value.
pub trait NoLargePart<'a> {
    /// Nothing.
    fn part(&self) -> Option<&'a [u8]> {
        None
    }
}

impl<'a, T> NoLargePart<'a> for PartOf<'a, T> {}

/// Whether a type is a stream, or a form of one. A constant of the type itself hides the trait's.
#[derive(Debug)]
pub struct StreamsOf<T>(PhantomData<T>);

impl<T> StreamsOf<Stream<T>> {
    /// It is.
    pub const STREAMS: bool = true;
}

impl<T> StreamsOf<Vec<Stream<T>>> {
    /// It is.
    pub const STREAMS: bool = true;
}

impl<T, E> StreamsOf<Result<Stream<T>, E>> {
    /// It is.
    pub const STREAMS: bool = true;
}

/// Any other type.
pub trait HoldsNoStream {
    /// It is not.
    const STREAMS: bool = false;
}

impl<T> HoldsNoStream for StreamsOf<T> {}

/// A type whose values may be absent.
#[diagnostic::on_unimplemented(
    message = "interface!: a parameter that a later version added is an `Option`",
    label = "callers of an earlier version do not give it"
)]
pub trait Optional {}

impl<T> Optional for Option<T> {}

/// Compiles only for a type whose values may be absent.
pub const fn is_optional<T: Optional>() {}

/// A parameter that a later version added. What it has itself hides what the trait has.
#[derive(Debug)]
pub struct Given<'a, T>(pub &'a T);

impl<T> Given<'_, Option<T>> {
    /// Whether it is present.
    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

/// A parameter that cannot be absent: `is_optional` refuses it.
pub trait AlwaysGiven {
    /// It is.
    fn is_given(&self) -> bool {
        true
    }
}

impl<T> AlwaysGiven for Given<'_, T> {}

/// Whether a type is a reference, or a form of one. A constant of the type itself hides the trait's.
#[derive(Debug)]
pub struct CallbacksOf<T>(PhantomData<T>);

impl<I> CallbacksOf<Remote<I>> {
    /// It is.
    pub const CALLBACKS: bool = true;
}

impl<I> CallbacksOf<Option<Remote<I>>> {
    /// It is.
    pub const CALLBACKS: bool = true;
}

impl<I> CallbacksOf<Vec<Remote<I>>> {
    /// It is.
    pub const CALLBACKS: bool = true;
}

/// Any other type.
pub trait HoldsNoCallback {
    /// It is not.
    const CALLBACKS: bool = false;
}

impl<T> HoldsNoCallback for CallbacksOf<T> {}

/// Whether a type is a list of bytes, which is encoded byte by byte. A constant of the type itself hides the trait's.
#[derive(Debug)]
pub struct BytesOf<T>(PhantomData<T>);

/// The constant that is a warning where the interface is declared.
macro_rules! warn_of_bytes {
    () => {
        /// It is.
        #[deprecated(note = "`Vec<u8>` is sent byte by byte; `Blob` is many times as fast")]
        pub const IS_SENT_WHOLE: () = ();
    };
}

impl BytesOf<Vec<u8>> {
    warn_of_bytes!();
}

impl BytesOf<Option<Vec<u8>>> {
    warn_of_bytes!();
}

impl BytesOf<Stream<Vec<u8>>> {
    warn_of_bytes!();
}

impl<E> BytesOf<Result<Vec<u8>, E>> {
    warn_of_bytes!();
}

/// Any other type.
pub trait HoldsNoBytes {
    /// It is not.
    const IS_SENT_WHOLE: () = ();
}

impl<T> HoldsNoBytes for BytesOf<T> {}
