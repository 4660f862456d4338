//! What others can write into a log.

use super::desk_of;
use crate::{
    harness::{SecuredBroker, seconds, within},
    tasks::desk::task,
};
use pyroxene_common::interfaces::tasks::Submissions;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_submissions_with_long_names_fill_no_log() {
    let mut broker = SecuredBroker::with_tokens().await;
    broker.add_user("narrow", "user", &["echo"]).await;
    let desk = desk_of(&broker, "narrow").await;
    let before = broker.nameserver(0).process().log().len();
    let name = "x".repeat(100_000);
    let flood = (0..200).map(|_| {
        let denied = task(&name, &name, "{}");
        desk.submit(within(seconds(30)), Submissions(vec![denied]))
    });
    for answer in futures::future::join_all(flood).await {
        let sentence = answer.unwrap().unwrap_err().to_string();
        assert!(sentence.contains("may not call xxx"), "{sentence}");
        assert!(sentence.len() < 400, "{}", sentence.len());
    }
    let log = broker.nameserver(0).process().log();
    let written = log.len() - before;
    assert!(log.contains("submission denied"), "{log}");
    assert!(written < 20_000, "{written} bytes of log");
}
