//! How fast one user talks.

use crate::harness::{SecuredBroker, seconds, within};
use futures::future::join_all;
use pyroxene_objects::interfaces::chat::{Chat, ChatError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_user_does_not_push_out_what_others_said() {
    let broker = SecuredBroker::with_tokens()
        .worker("w1", &["--objects", "chat"])
        .worker("w2", &["--objects", "chat"])
        .await;
    broker.add_user("bob", "user", &[]).await;
    let (ana, bob) = (broker.client_as("ana").await, broker.client_as("bob").await);
    let chat = ana.object::<Chat>("chat").await.unwrap();
    let text = "x".repeat(4000);
    let flood = (0..200).map(|_| {
        let (from, text) = ("ana".to_owned(), text.clone());
        chat.broadcast(within(seconds(60)), from, text, None)
    });
    let mut said = 0;
    let mut limited = None;
    // Whichever workers it talks to.
    for answer in join_all(flood).await {
        match answer.map_err(|error| error.to_string()) {
            Ok(Ok(_)) => said += 1,
            Ok(Err(ChatError::Limited { sentence })) => limited = Some(sentence),
            other => panic!("{other:?}"),
        }
    }
    let limited = limited.expect("it is held back");
    assert!(limited.contains("of user 'ana' is"), "{limited}");
    assert!(limited.contains("'chat_"), "{limited}");
    assert!(said < 200, "{said} messages were said");
    let other = bob.object::<Chat>("chat").await.unwrap();
    let say = other.broadcast(within(seconds(20)), "bob".to_owned(), "hi".to_owned(), None);
    say.await.unwrap().unwrap();
}
