//! Whether a worker that starts is in, out, or has to wait, from what its name servers say.
//!
//! It is in as soon as one name server has accepted it: it keeps asking the others. What time heals
//! is waited for, such as a name that a dead predecessor has until its lease ends.

use crate::session::Standing;
use pyroxene_common::interfaces::directory::DirectoryError;

/// What all name servers together say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Some have not said anything yet.
    Undecided,
    /// It may serve: one has accepted it, or none of them can be reached, which may change.
    Granted,
    /// The name server of this index refuses it now, and may accept it later.
    NotYet(usize, DirectoryError),
    /// The name server of this index refuses it, and will not change its mind.
    Refused(usize, DirectoryError),
}

impl Admission {
    pub(crate) fn of(standings: &[Standing]) -> Self {
        if standings.contains(&Standing::Opening) {
            return Self::Undecided;
        }
        let is_open = |standing: &Standing| matches!(standing, Standing::Open(_));
        if standings.iter().any(is_open) {
            return Self::Granted;
        }
        let refusals = standings.iter().enumerate();
        let refusals = refusals.filter_map(|(index, standing)| match standing {
            Standing::Refused(error) => Some((index, error.clone())),
            _ => None,
        });
        let (passing, lasting): (Vec<_>, Vec<_>) = refusals.partition(|(_, error)| heals(error));
        match (lasting.into_iter().next(), passing.into_iter().next()) {
            (Some((index, error)), _) => Self::Refused(index, error),
            (None, Some((index, error))) => Self::NotYet(index, error),
            (None, None) => Self::Granted,
        }
    }
}

/// Whether a refusal may end by itself: with the lease of another worker, most of the time.
fn heals(error: &DirectoryError) -> bool {
    match error {
        DirectoryError::NameTaken { .. }
        | DirectoryError::ObjectTaken { .. }
        | DirectoryError::Full { .. }
        | DirectoryError::Limited { .. }
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
        }
    }

    fn denied() -> DirectoryError {
        DirectoryError::Denied {
            sentence: "no".to_owned(),
        }
    }

    #[test]
    fn one_acceptance_is_enough() {
        let open = Standing::Open(SessionId([1, 2]));
        for other in [taken(), denied()] {
            let standings = [Standing::Refused(other), open.clone()];
            assert_eq!(Admission::of(&standings), Admission::Granted);
        }
        let undecided = [open, Standing::Opening];
        assert_eq!(Admission::of(&undecided), Admission::Undecided);
    }

    #[test]
    fn what_time_heals_is_waited_for_and_nothing_else() {
        let lost = || Standing::Lost("no answer".to_owned());
        assert_eq!(Admission::of(&[lost()]), Admission::Granted);
        assert_eq!(
            Admission::of(&[lost(), Standing::Refused(taken())]),
            Admission::NotYet(1, taken())
        );
        assert_eq!(
            Admission::of(&[Standing::Refused(taken()), Standing::Refused(denied())]),
            Admission::Refused(1, denied())
        );
    }
}
