//! Mistakes on the command line, as clap reports them.

use super::Failure;
use crate::{cli::COMMON_FLAGS, messages::one_line};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The flag of most commands that this command was given and does not have.
fn missing_common_flag(error: &clap::Error) -> Option<&str> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let is_unknown = error.kind() == ErrorKind::UnknownArgument;
    let flag = flag.split('=').next().unwrap_or_default();
    (is_unknown && COMMON_FLAGS.contains(&flag)).then_some(flag)
}

/// An error of clap as a failure.
pub(crate) fn from_clap(error: &clap::Error) -> Failure {
    let text = error.to_string();
    let mut sentence = Vec::new();
    let mut tips = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with("Usage:") || line.starts_with("For more information") {
            break;
        }
        match line.strip_prefix("tip: ") {
            Some(tip) => tips.push(tip),
            None => sentence.push(line),
        }
    }
    let sentence = one_line(&sentence.join("\n"));
    let sentence = sentence.strip_prefix("error: ").unwrap_or(&sentence);
    let failure = Failure::usage(sentence);
    if let Some(flag) = missing_common_flag(error) {
        // The tip would be to give the flag as a value.
        let failure = Failure::usage(format!("this command has no {flag}"));
        return failure.hint("'--help' after the command shows what it has");
    }
    if !tips.is_empty() {
        return failure.hint(tips.join("; "));
    }
    match (error.kind(), error.get(ContextKind::Usage)) {
        (ErrorKind::InvalidSubcommand, _) => failure.hint("see 'pyroxene --help'"),
        (_, Some(ContextValue::StyledStr(usage))) => {
            let usage = one_line(&usage.to_string());
            failure.hint(usage.replacen("Usage: ", "usage: ", 1))
        }
        _ => failure,
    }
}
