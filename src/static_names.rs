//! Changes of static names, which every name server keeps for itself.

use crate::{
    failure::Failure,
    nameservers::{Answers, nobody_answered},
};
use pyroxene_client::NameServer;
use pyroxene_common::interfaces::directory::DirectoryError;
use std::io::{self, Write};

/// What is done to a static name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Register,
    Remove,
}

/// The addresses of the name servers that took a change; a failure if none did. Those that did not
/// are told on standard error.
pub(crate) fn taken(
    change: Change,
    answers: Answers<Result<(), DirectoryError>>,
) -> Result<Vec<String>, Failure> {
    let mut took = Vec::new();
    let mut refused: Vec<(NameServer, Failure)> = Vec::new();
    let mut silent: Vec<(NameServer, Failure)> = Vec::new();
    for (nameserver, answer) in answers {
        match answer {
            Ok(Ok(())) => took.push(nameserver.endpoint().to_string()),
            Ok(Err(error)) => refused.push((nameserver, error.into())),
            Err(failure) => silent.push((nameserver, failure)),
        }
    }
    if took.is_empty() {
        return Err(match refused.into_iter().next() {
            Some((_, failure)) => failure,
            None => nobody_answered(&silent),
        });
    }
    // One that does not know the name has nothing to remove.
    let refused = refused.iter().filter(|_| change == Change::Register);
    for (nameserver, failure) in refused.chain(&silent) {
        let reason = failure.sentence.as_deref().unwrap_or_default();
        let _ = writeln!(
            io::stderr(),
            "warning: name server {} did not take it: {reason}",
            nameserver.endpoint()
        );
    }
    Ok(took)
}
