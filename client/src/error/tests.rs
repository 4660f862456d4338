use super::{attempts::MAX_LISTED_ATTEMPTS, *};
use std::time::Duration;

fn attempt(worker: &str) -> Attempt {
    Attempt {
        worker: worker.to_owned(),
        endpoint: String::new(),
        ended_after: Duration::ZERO,
        error: AttemptError::MaybeRan(ConnectionLost::Closed),
    }
}

#[test]
fn an_error_survives_tarpcs_type_and_lists_its_attempts() {
    let error = CallError::MaybeRan(Box::new(AttemptLog {
        object: "accounts".into(),
        method: "update".into(),
        attempts: vec![attempt("w1")],
        ..AttemptLog::default()
    }));
    let error = CallError::from(RpcError::from(error));
    assert!(matches!(error, CallError::MaybeRan(_)));
    assert_eq!(
        error.to_string(),
        "accounts.update may have run, but its answer was lost; \
         w1: the call was sent, but its answer was lost: the peer closed the connection"
    );
}

#[test]
fn a_long_trail_is_cut_short_in_the_sentence() {
    let error = CallError::Unavailable(Box::new(AttemptLog {
        attempts: (0..9).map(|n| attempt(&format!("w{n}"))).collect(),
        ..AttemptLog::default()
    }));
    let sentence = error.to_string();
    assert!(sentence.contains("w8") && !sentence.contains("w4"));
    assert!(sentence.ends_with("and 5 earlier attempts"), "{sentence}");
}

#[test]
fn a_trail_keeps_what_may_have_been_sent_and_the_latest_of_the_rest() {
    let unsent = |worker: &str| Attempt {
        error: AttemptError::NotSent(ConnectionLost::Closed),
        ..attempt(worker)
    };
    let mut log = AttemptRecorder::default();
    log.push(attempt("sent"));
    for number in 0..1000 {
        log.push(unsent(&number.to_string()));
    }
    assert_eq!((log.listed.len(), log.count()), (MAX_LISTED_ATTEMPTS, 1001));
    let trail = AttemptLog {
        attempts: log.listed,
        unlisted: log.unlisted,
        ..AttemptLog::default()
    };
    assert!(trail.may_have_run());
    let workers = [trail.attempts.first(), trail.attempts.last()];
    assert_eq!(
        workers.map(|attempt| &*attempt.unwrap().worker),
        ["sent", "999"]
    );
    let sentence = CallError::DeadlineExceeded(Box::new(trail)).to_string();
    assert!(sentence.ends_with("and 997 earlier attempts"), "{sentence}");
    assert!(
        sentence.contains(": deadline exceeded after 1001 attempts at sent, 969, 970, 971 and 28 others, but it may have run"),
        "{sentence}"
    );
}

#[test]
fn a_late_call_names_its_attempts_and_their_workers() {
    let late = |workers: &[&str]| {
        let attempts = workers.iter().map(|worker| Attempt {
            error: AttemptError::DeadlineExceeded { sent: false },
            ..attempt(worker)
        });
        let trail = AttemptLog {
            object: "echo".into(),
            method: "sleep".into(),
            attempts: attempts.collect(),
            ..AttemptLog::default()
        };
        CallError::DeadlineExceeded(Box::new(trail)).to_string()
    };
    let (none, one) = (late(&[]), late(&["w1"]));
    assert_eq!(
        none,
        "echo.sleep: deadline exceeded before the first attempt"
    );
    assert_eq!(one, "echo.sleep: deadline exceeded after 1 attempt at w1");
    let two = late(&["w1", "w2"]);
    assert_eq!(
        two,
        "echo.sleep: deadline exceeded after 2 attempts at w1, w2"
    );
}

#[test]
fn a_late_call_is_said_to_have_perhaps_run_only_if_it_was_sent() {
    let error = |sent| {
        let late = Attempt {
            error: AttemptError::DeadlineExceeded { sent },
            ..attempt("w1")
        };
        let trail = AttemptLog {
            attempts: vec![late],
            ..AttemptLog::default()
        };
        CallError::DeadlineExceeded(Box::new(trail)).to_string()
    };
    assert!(error(true).contains("may have run"), "{}", error(true));
    assert!(!error(false).contains("may have run"), "{}", error(false));
}

#[test]
fn nobody_is_said_to_have_been_reached_only_if_nobody_was() {
    let refusal = pyroxene_common::message::Refusal {
        reason: pyroxene_common::message::RefusalReason::Overloaded,
        retry_after_ms: 0,
        message: "full".to_owned(),
    };
    let refused = Attempt {
        error: AttemptError::Refused(refusal),
        ..attempt("w1")
    };
    let sentence = |attempts| {
        let trail = AttemptLog {
            attempts,
            ..AttemptLog::default()
        };
        CallError::Unavailable(Box::new(trail)).to_string()
    };
    assert!(sentence(Vec::new()).contains("reached no instance"));
    assert!(sentence(vec![refused]).contains("was refused by every worker"));
}
