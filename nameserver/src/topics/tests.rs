use super::{topics::Topics as _, *};
use pyroxene_store::{StoreOptions, StoreUrl};
use tarpc::context;
use tokio::time::timeout;

async fn service() -> TopicsService {
    let options = StoreOptions {
        create: true,
        ..StoreOptions::default()
    };
    let store = Store::open(&StoreUrl::Memory, options).await.unwrap();
    let default = Retention {
        age_ms: None,
        bytes: Some(20),
    };
    TopicsService::new(store, default, Arc::default())
}

fn entry(key: &str, body: &str) -> NewEntry {
    NewEntry {
        key: key.to_owned(),
        body: body.as_bytes().to_vec().into(),
        author: None,
    }
}

impl TopicsService {
    async fn add(&self, topic: &str, key: &str, body: &str) -> u64 {
        let entries = vec![entry(key, body)];
        let appending = self
            .clone()
            .append(context::current(), topic.to_owned(), entries);
        appending.await.unwrap()[0]
    }

    async fn look(&self, topic: &str, after: u64, wait_ms: u64) -> Entries {
        let reading = self
            .clone()
            .read(context::current(), topic.to_owned(), after, 10, wait_ms);
        reading.await.unwrap()
    }
}

#[tokio::test]
async fn an_append_can_be_repeated_and_a_reader_is_told_of_it_at_once() {
    let service = service().await;
    let empty = service.look("a", 0, 0).await;
    assert_eq!((empty.first, empty.head, empty.entries.len()), (1, 0, 0));
    let reader = tokio::spawn({
        let service = service.clone();
        async move { service.look("a", 0, 50_000).await }
    });
    assert_eq!(service.add("a", "x", "hello").await, 1);
    assert_eq!(service.add("a", "x", "hello").await, 1);
    let told = timeout(Duration::from_secs(5), reader).await;
    let told = told.unwrap().unwrap();
    assert_eq!((told.head, told.entries[0].sequence), (1, 1));
    assert_eq!(told.entries[0].body.0, "hello");
}

#[tokio::test]
async fn a_read_that_waits_answers_before_its_caller_gives_up() {
    let service = service().await;
    let mut context = context::current();
    context.deadline = std::time::Instant::now() + Duration::from_millis(400);
    let reading = service.read(context, "a".to_owned(), 0, 1, 60_000);
    assert_eq!(reading.await.unwrap().entries, []);
    assert!(std::time::Instant::now() < context.deadline);
}

#[tokio::test]
async fn what_is_beyond_the_limits_is_refused() {
    let service = service().await;
    let long = "x".repeat(MAX_NAME + 1);
    for (topic, key) in [
        ("", "k"),
        ("a", ""),
        (&long, "k"),
        ("a", &long),
        ("a\n", "k"),
    ] {
        let entries = vec![entry(key, "")];
        let appending = service
            .clone()
            .append(context::current(), topic.to_owned(), entries);
        let error = appending.await.unwrap_err();
        assert!(matches!(error, TopicsError::Invalid { .. }), "{error}");
    }
    let many = vec![entry("k", ""); MAX_ENTRIES + 1];
    let appending = service.append(context::current(), "a".to_owned(), many);
    assert!(matches!(appending.await, Err(TopicsError::Invalid { .. })));
}

#[tokio::test]
async fn topics_are_listed_by_prefix_and_kept_as_long_as_they_say() {
    let service = service().await;
    for topic in ["b", "ab", "a", "ac", "abc"] {
        for (key, body) in [
            ("1", "0123456789"),
            ("2", "0123456789"),
            ("3", "0123456789"),
        ] {
            service.add(topic, key, body).await;
        }
    }
    let names = async |prefix: &str, after: &str| {
        let listing = service
            .clone()
            .list(context::current(), prefix.to_owned(), after.to_owned());
        let listed = listing.await.unwrap();
        let names = listed.into_iter().map(|topic| topic.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("", "").await, ["a", "ab", "abc", "ac", "b"]);
    assert_eq!(names("ab", "").await, ["ab", "abc"]);
    assert_eq!(names("a", "ab").await, ["abc", "ac"]);
    assert_eq!(names("c", "").await, [""; 0]);

    let all = Retention {
        age_ms: None,
        bytes: Some(1000),
    };
    let keeping = service
        .clone()
        .keep(context::current(), "a".to_owned(), all);
    keeping.await.unwrap();
    let removed = retention::trim_topics(&service.store, service.default).await;
    assert_eq!(removed.unwrap(), 4);
    let counts = async |topic: &str| {
        let found = service.look(topic, 0, 0).await;
        (found.first, found.entries.len())
    };
    assert_eq!(counts("a").await, (1, 3));
    assert_eq!(counts("b").await, (2, 2));
}

#[tokio::test]
async fn what_is_said_for_a_user_counts_against_that_users_limits() {
    let service = service().await;
    let say = |lot: &str, author: Option<&str>, count: usize, bytes: usize| {
        let said = |number: usize| NewEntry {
            author: author.map(str::to_owned),
            ..entry(&format!("{lot} {number}"), &"x".repeat(bytes))
        };
        let entries = (0..count).map(said).collect();
        let (service, topic) = (service.clone(), "a".to_owned());
        service.append(context::current(), topic, entries)
    };
    // Ten messages a second, and ten times as many in a burst.
    say("1", Some("ana"), 100, 1).await.unwrap();
    let refused = say("2", Some("ana"), 90, 1).await.unwrap_err().to_string();
    assert!(
        refused.contains("'chat_messages' of user 'ana' is 10/s"),
        "{refused}"
    );
    // And sixteen kibibytes.
    say("3", Some("bob"), 1, 160 << 10).await.unwrap();
    let refused = say("4", Some("bob"), 1, 150 << 10)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("'chat_bytes' of user 'bob' is 16KiB/s"),
        "{refused}"
    );
    // Other users are not affected.
    for author in [Some("carl"), Some(""), None] {
        say("5", author, 1, 1).await.unwrap();
    }
}
