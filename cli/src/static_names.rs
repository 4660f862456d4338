//! Changes of static names, sent to every name server: name servers without a common store keep static names
//! separately.

use crate::{
    failure::Failure,
    messages::warn,
    nameservers::{NameServerAnswers, no_nameserver_answered},
};
use pyroxene_client::NameServerClient;
use pyroxene_common::interfaces::directory::DirectoryError;

/// A change of a static name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StaticNameChange {
    Register,
    Remove,
}

/// The addresses of the name servers that accepted a change; a failure if none did. The others are reported
/// on standard error.
pub(crate) fn accepted_by_nameservers(
    change: StaticNameChange,
    answers: NameServerAnswers<Result<(), DirectoryError>>,
) -> Result<Vec<String>, Failure> {
    let mut took = Vec::new();
    let mut refused: Vec<(NameServerClient, Failure)> = Vec::new();
    let mut silent: Vec<(NameServerClient, Failure)> = Vec::new();
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
            None => no_nameserver_answered(&silent),
        });
    }
    // A name server that does not know the name has nothing to remove.
    let refused = refused
        .iter()
        .filter(|_| change == StaticNameChange::Register);
    for (nameserver, failure) in refused.chain(&silent) {
        let reason = failure.message.as_deref().unwrap_or_default();
        warn(&format!(
            "name server {} did not accept it: {reason}",
            nameserver.endpoint()
        ));
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use pyroxene_client::ClientConfig;

    /// The answers of three name servers.
    fn answers(
        answers: [Result<Result<(), DirectoryError>, Failure>; 3],
    ) -> NameServerAnswers<Result<(), DirectoryError>> {
        let config = ClientConfig::new("a:1,b:1,c:1").unwrap();
        let nameservers = config.endpoints().iter();
        let nameservers = nameservers.map(|at| NameServerClient::new(at.clone(), &config));
        nameservers.zip(answers).collect()
    }

    fn unknown() -> Result<Result<(), DirectoryError>, Failure> {
        let name = "x".to_owned();
        Ok(Err(DirectoryError::UnknownName { name }))
    }

    fn silent() -> Result<Result<(), DirectoryError>, Failure> {
        Err(Failure::new(Exit::Unavailable, "gone"))
    }

    #[test]
    fn one_name_server_that_takes_it_is_enough() {
        let took = accepted_by_nameservers(
            StaticNameChange::Remove,
            answers([silent(), Ok(Ok(())), unknown()]),
        );
        assert_eq!(took, Ok(vec!["b:1".to_owned()]));
    }

    #[test]
    fn an_answer_says_more_than_silence() {
        let failure = accepted_by_nameservers(
            StaticNameChange::Remove,
            answers([silent(), unknown(), silent()]),
        )
        .unwrap_err();
        assert_eq!(failure.message.unwrap(), "there is no static name 'x'");
        let failure = accepted_by_nameservers(
            StaticNameChange::Register,
            answers([silent(), silent(), silent()]),
        )
        .unwrap_err();
        let sentence = failure.message.unwrap();
        assert!(
            sentence.contains("a:1: gone") && sentence.contains("c:1: gone"),
            "{sentence}"
        );
        assert_eq!(failure.exit, Exit::Unavailable);
    }
}
