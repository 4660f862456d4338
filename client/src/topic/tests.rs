//! What the error of a name server means for a request about a topic.

use super::*;
use crate::failover::Unanswered;

const SENTENCE: String = String::new();

fn topics(error: TopicsError) -> TopicError {
    TopicError::Topics {
        topic: "door".to_owned(),
        error,
    }
}

fn limited() -> TopicError {
    topics(TopicsError::Limited { sentence: SENTENCE })
}

fn broken() -> TopicError {
    topics(TopicsError::Broken { sentence: SENTENCE })
}

fn refused() -> TopicError {
    TopicError::Call(CallError::Refused(Box::default()))
}

fn down() -> TopicError {
    TopicError::Call(CallError::Unavailable(Box::default()))
}

#[test]
fn only_an_error_of_the_request_itself_ends_it_at_every_name_server() {
    let invalid = topics(TopicsError::Invalid { sentence: SENTENCE });
    let not_sent = TopicError::Call(CallError::NotSent(Box::default()));
    assert_eq!(
        [invalid, not_sent].map(|error| error.next()),
        [Next::End; 2]
    );
    assert_eq!(
        [limited(), broken()].map(|error| error.next()),
        [Next::Unable; 2]
    );
    assert_eq!(
        (refused().next(), down().next()),
        (Next::Elsewhere, Next::Later)
    );
}

#[test]
fn a_limit_is_told_whatever_happened_at_other_name_servers() {
    type Error = fn() -> TopicError;
    let told = |errors: [Error; 2]| {
        let failures = errors.map(|error| NoAnswer::new(error().next(), error()));
        Unanswered(failures.into()).weightiest(weight).unwrap()
    };
    let others: [Error; 3] = [broken, refused, down];
    for other in others {
        let orders: [[Error; 2]; 2] = [[limited, other], [other, limited]];
        for errors in orders {
            let told = told(errors);
            assert_eq!(told.to_string(), limited().to_string(), "{told:?}");
        }
    }
    let maybe_ran = || TopicError::Call(CallError::MaybeRan(Box::default()));
    let told = told([maybe_ran, limited]);
    assert!(told.may_have_run(), "{told:?}");
}
