//! A submission for tests.

use pyroxene_common::interfaces::tasks::Submission;

/// A submission without arguments and without a key, as a client makes it by default.
pub(crate) fn submission(object: &str, method: &str) -> Submission {
    Submission {
        object: object.to_owned(),
        method: method.to_owned(),
        arguments: "{}".to_owned(),
        key: String::new(),
        priority: 0,
        delay_ms: 0,
        deadline_ms: None,
        max_attempts: 3,
        backoff_ms: 500,
        run_limit_ms: None,
        worker: None,
    }
}
