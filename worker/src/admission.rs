//! Decides from the answers of the name servers whether a starting worker is admitted, is refused, or has
//! to wait.
//!
//! The worker is admitted as soon as one name server has accepted it, and keeps asking the others. It
//! waits for refusals that end by themselves, for example for a name that a dead predecessor holds until
//! its lease ends.

use crate::session_state::SessionState;
use pyroxene_common::{endpoint::Endpoint, interfaces::directory::DirectoryError};

/// The combined answer of all name servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WorkerAdmission {
    /// Some name servers have not answered yet.
    Undecided,
    /// The worker may serve: a name server has accepted it, or none is reachable, which may change.
    Granted,
    /// This name server refuses it now, and may accept it later.
    NotYet(Endpoint, DirectoryError),
    /// This name server refuses it permanently.
    Refused(Endpoint, DirectoryError),
}

impl WorkerAdmission {
    pub(crate) fn of(standings: &[(Endpoint, SessionState)]) -> Self {
        let mut each = standings.iter().map(|(_, standing)| standing);
        if each
            .clone()
            .any(|standing| *standing == SessionState::Opening)
        {
            return Self::Undecided;
        }
        if each.any(|standing| matches!(standing, SessionState::Open(_))) {
            return Self::Granted;
        }
        let refusals = standings
            .iter()
            .filter_map(|(nameserver, standing)| match standing {
                SessionState::Refused(error) => Some((nameserver.clone(), error.clone())),
                _ => None,
            });
        let (passing, lasting): (Vec<_>, Vec<_>) =
            refusals.partition(|(_, error)| is_temporary(error));
        match (lasting.into_iter().next(), passing.into_iter().next()) {
            (Some((nameserver, error)), _) => Self::Refused(nameserver, error),
            (None, Some((nameserver, error))) => Self::NotYet(nameserver, error),
            (None, None) => Self::Granted,
        }
    }
}

/// Whether a refusal may end by itself, in most cases when the lease of another worker ends.
fn is_temporary(error: &DirectoryError) -> bool {
    match error {
        DirectoryError::NameTaken { .. }
        | DirectoryError::ObjectTaken { .. }
        | DirectoryError::Full { .. }
        | DirectoryError::Limited { .. }
        | DirectoryError::UnknownWorker { .. }
        | DirectoryError::Unavailable { .. }
        | DirectoryError::UnknownSession => true,
        DirectoryError::Denied { .. }
        | DirectoryError::Invalid { .. }
        | DirectoryError::UnknownName { .. }
        | DirectoryError::TooOld => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::interfaces::directory::SessionId;

    fn taken() -> DirectoryError {
        DirectoryError::NameTaken {
            worker: "w1".to_owned(),
            endpoint: "w1.example:4000".to_owned(),
            incarnation: None,
        }
    }

    fn denied() -> DirectoryError {
        DirectoryError::Denied {
            sentence: "no".to_owned(),
        }
    }

    fn at(port: u16) -> Endpoint {
        format!("ns:{port}").parse().unwrap()
    }

    /// The admission that results from these states.
    fn admission(standings: impl IntoIterator<Item = SessionState>) -> WorkerAdmission {
        let standings: Vec<_> = (1..).map(at).zip(standings).collect();
        WorkerAdmission::of(&standings)
    }

    #[test]
    fn one_acceptance_is_enough() {
        let open = SessionState::Open(SessionId([1, 2]));
        for other in [taken(), denied()] {
            let standings = [SessionState::Refused(other), open.clone()];
            assert_eq!(admission(standings), WorkerAdmission::Granted);
        }
        assert_eq!(
            admission([open, SessionState::Opening]),
            WorkerAdmission::Undecided
        );
    }

    #[test]
    fn what_time_heals_is_waited_for_and_nothing_else() {
        let lost = || SessionState::Lost("no answer".to_owned());
        assert_eq!(admission([lost()]), WorkerAdmission::Granted);
        assert_eq!(
            admission([lost(), SessionState::Refused(taken())]),
            WorkerAdmission::NotYet(at(2), taken())
        );
        assert_eq!(
            admission([
                SessionState::Refused(taken()),
                SessionState::Refused(denied())
            ]),
            WorkerAdmission::Refused(at(2), denied())
        );
    }
}
