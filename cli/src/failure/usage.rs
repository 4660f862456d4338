//! Mistakes on the command line, as clap reports them.

use super::Failure;
use crate::messages::one_line;
use clap::error::{ContextKind, ContextValue, ErrorKind};

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
