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
    assert_eq!(invalid.next(), Next::End);
    // Each name server has its own limits, users and faults. Another one may be carrying out the request.
    let not_sent = TopicError::Call(CallError::NotSent(Box::default()));
    let failed = TopicError::Call(CallError::Failed(Box::default()));
    assert_eq!(
        [limited(), broken(), not_sent, failed].map(|error| error.next()),
        [Next::Unable; 4]
    );
    let denied = topics(TopicsError::Denied { sentence: SENTENCE });
    assert_eq!(
        [refused(), denied].map(|error| error.next()),
        [Next::Elsewhere; 2]
    );
    assert_eq!(down().next(), Next::Later);
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
