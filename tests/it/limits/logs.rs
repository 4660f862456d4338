//! What others can write into a log.

use crate::{
    harness::{SecuredBroker, seconds, within},
    tasks::desk::task,
};
use pyroxene_client::Direct;
use pyroxene_common::interfaces::tasks::{self, Tasks};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn denied_submissions_with_long_names_fill_no_log() {
    let mut broker = SecuredBroker::with_tokens().await;
    broker.add_user("narrow", "user", &["echo"]).await;
    let config = broker.config("narrow");
    let endpoint = config.endpoints()[0].clone();
    let direct = Direct::<Tasks>::connect_with(&endpoint, tasks::OBJECT, &config).await;
    let desk = direct.unwrap().client();
    let before = broker.nameserver(0).process().log().len();
    let name = "x".repeat(100_000);
    let flood = (0..200).map(|_| {
        let denied = task(&name, &name, "{}");
        desk.submit(within(seconds(30)), vec![denied])
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
