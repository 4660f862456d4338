//! What is known of the tasks of a queue that wait in the store.

/// The tasks of a queue that wait in the store, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Backlog {
    /// There may be any number of them.
    #[default]
    Unknown,
    /// There may be a few: those that were queued since the store had none.
    Few,
    /// They are being claimed.
    Fetching {
        /// How many the claim asks for.
        wanted: usize,
        /// Whether it takes the few that there are, and not some of an unknown number.
        rest: bool,
        /// Whether more were queued since it was made.
        queued: bool,
    },
    /// There are none.
    None,
}

impl Backlog {
    /// A task may have been queued.
    pub(super) fn queued(&mut self) {
        match self {
            Self::None => *self = Self::Few,
            Self::Fetching { queued, .. } => *queued = true,
            Self::Unknown | Self::Few => {}
        }
    }

    /// A claim asks for `wanted` tasks.
    pub(super) fn fetch(&mut self, wanted: usize) {
        *self = Self::Fetching {
            wanted,
            rest: *self == Self::Few,
            queued: false,
        };
    }

    /// The claim found `count` tasks.
    pub(super) fn fetched(&mut self, count: usize) {
        *self = match *self {
            Self::Fetching { wanted, queued, .. } if count < wanted => match queued {
                true => Self::Few,
                false => Self::None,
            },
            _ => Self::Unknown,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::Backlog::{self, Fetching, Few, None, Unknown};

    fn fetching(mut backlog: Backlog) -> Backlog {
        backlog.fetch(4);
        backlog
    }

    fn after(mut backlog: Backlog, count: usize) -> Backlog {
        backlog.fetched(count);
        backlog
    }

    #[test]
    fn a_claim_that_is_filled_leaves_an_unknown_number_and_another_one_none() {
        for before in [Unknown, Few] {
            assert_eq!(after(fetching(before), 4), Unknown);
            assert_eq!(after(fetching(before), 3), None);
        }
        // The answer to a claim of which nothing is known any more.
        assert_eq!(after(Unknown, 0), Unknown);
    }

    #[test]
    fn a_task_that_is_queued_during_a_claim_is_not_forgotten() {
        let mut backlog = fetching(Unknown);
        backlog.queued();
        assert_eq!(after(backlog, 4), Unknown);
        assert_eq!(after(backlog, 0), Few);
    }

    #[test]
    fn what_is_queued_after_none_is_few_and_the_claim_takes_the_rest() {
        let mut backlog = None;
        backlog.queued();
        assert_eq!(backlog, Few);
        backlog.queued();
        assert_eq!(backlog, Few);
        assert!(matches!(fetching(backlog), Fetching { rest: true, .. }));
        assert!(matches!(fetching(Unknown), Fetching { rest: false, .. }));
    }
}
