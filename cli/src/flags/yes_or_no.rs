//! The value of the environment variable of a flag that takes no value.

use clap::{
    Arg, Command,
    builder::{BoolishValueParser, TypedValueParser},
    error::ErrorKind,
};
use std::ffi::OsStr;

/// Parses a word for yes or no. Any other word is an error that names the variable: it may be a mistyped 'no'
/// for a flag that turns a protection off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct YesOrNo;

impl TypedValueParser for YesOrNo {
    type Value = bool;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<bool, clap::Error> {
        // On the command line the flag has no value, so a wrong one is that of the variable.
        let parsed = BoolishValueParser::new().parse_ref(command, None, value);
        parsed.map_err(|_| {
            let variable = argument.and_then(Arg::get_env).unwrap_or_default();
            let sentence = format!(
                "{} is '{}', which is neither yes nor no; set it to 1 or 0, or unset it",
                variable.to_string_lossy(),
                value.to_string_lossy()
            );
            command.clone().error(ErrorKind::InvalidValue, sentence)
        })
    }
}
