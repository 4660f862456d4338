//! Values of flags that have names.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::{error::Error, str::FromStr};

/// Parses a value by its name. The help lists the names.
pub(crate) fn one_of<T>(
    names: impl IntoIterator<Item = &'static str>,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|text| text.parse())
}
