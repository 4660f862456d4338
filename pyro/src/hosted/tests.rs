#![allow(deprecated)] // A parameter that is a list of bytes is tested.

use super::*;
use crate::{PyValue, envelope::Envelope, server::PyroItem};
use futures::{StreamExt, TryStreamExt, stream};
use pyroxene_common::{channel::Stream, interface};
use std::sync::atomic::{AtomicU32, Ordering};

interface! {
    /// A shop for these tests.
    #[name = "Test.Shop"]
    #[version = 1]
    pub(super) trait Shop in shop {
        /// Buys.
        async fn buy(item: String, count: u32) -> Result<Vec<String>, ShopError>;
        /// Counts down.
        async fn count_down(from: u32) -> Stream<u32>;
        /// Weighs goods one after the other.
        async fn weigh(goods: Stream<String>) -> Result<u64, String>;
        /// Counts the visits, from 0 on: an object that is empty at first.
        async fn visit() -> u32;
        /// What came beside the arguments; it answers beside the answer.
        async fn beside(about: Vec<u32>) -> String;
        /// Looks.
        async fn look(at: Option<Vec<u8>>) -> Option<Vec<u8>>;
    }
}

#[derive(
    Clone, Debug, serde::Serialize, serde::Deserialize, schemars::JsonSchema, thiserror::Error,
)]
pub(super) enum ShopError {
    #[error("there is no {item}")]
    UnknownItem { item: String },
}

#[derive(Clone, Default)]
struct Small {
    visits: Arc<AtomicU32>,
}

impl shop::Shop for Small {
    async fn buy(self, _: Context, item: String, count: u32) -> Result<Vec<String>, ShopError> {
        match &*item {
            "tea" => Ok(vec![item; count as usize]),
            _ => Err(ShopError::UnknownItem { item }),
        }
    }

    async fn count_down(self, _: Context, from: u32) -> Stream<u32> {
        let numbers = (0..=from).rev().map(|number| match number {
            0 => Err("nothing is left"),
            number => Ok(number),
        });
        Stream::fallible(stream::iter(numbers.collect::<Vec<_>>()))
    }

    async fn weigh(self, _: Context, goods: Stream<String>) -> Result<u64, String> {
        let goods = goods.map(|item| item.map_err(|broken| broken.failure.to_string()));
        goods
            .try_fold(0, async |sum, item| Ok(sum + item.len() as u64))
            .await
    }

    async fn visit(self, _: Context) -> u32 {
        self.visits.fetch_add(1, Ordering::Relaxed)
    }

    async fn beside(self, _: Context, about: Vec<u32>) -> String {
        let envelope = Envelope::current().unwrap();
        envelope.answer_with(*b"BACK", b"yes".to_vec());
        let blob = envelope.blob.clone().unwrap_or_default();
        let sent = envelope.annotation(*b"SENT").unwrap().to_vec();
        format!("{blob} {about:?} {}", String::from_utf8(sent).unwrap())
    }

    async fn look(self, _: Context, at: Option<Vec<u8>>) -> Option<Vec<u8>> {
        at
    }
}

async fn ask(method: &str, positional: Vec<PyValue>, named: Vec<(&str, PyValue)>) -> String {
    let objects = HostedObjects::new([(
        "shop".to_owned(),
        HostedObject::from_service::<Shop, _>(Small::default()),
    )]);
    let named = named
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    let call = PyroCall {
        object: "shop".to_owned(),
        method: method.to_owned(),
        positional,
        named: named.collect(),
        caller: Arc::default(),
        envelope: Arc::default(),
        sessions: Arc::default(),
    };
    match objects.call(call).await {
        Ok(PyroAnswer::Value(value)) => value.to_string(),
        Ok(PyroAnswer::Items(items)) => {
            let items: Vec<PyroItem> = items.into_stream().collect().await;
            let shown = items.into_iter().map(|item| match item {
                Ok(item) => item.to_string(),
                Err(raised) => raised.to_string(),
            });
            format!("stream of {}", shown.collect::<Vec<_>>().join(", "))
        }
        Err(CallError::Raised(raised)) => raised.to_string(),
        Err(CallError::Hangup) => "hangup".to_owned(),
    }
}

#[tokio::test]
async fn methods_take_positional_and_named_arguments() {
    let tea = || PyValue::str("tea");
    let two = || PyValue::Int(2);
    assert_eq!(
        ask("buy", vec![tea(), two()], vec![]).await,
        "['tea', 'tea']"
    );
    assert_eq!(
        ask("buy", vec![tea()], vec![("count", two())]).await,
        "['tea', 'tea']"
    );
    let bytes = PyValue::Bytes(vec![7, 0].into());
    assert_eq!(ask("look", vec![bytes], vec![]).await, "b'\\x07\\x00'");
    assert_eq!(ask("look", vec![], vec![]).await, "None");
}

#[tokio::test]
async fn errors_are_those_that_python_would_raise() {
    let tea = || PyValue::str("tea");
    for (positional, named, error) in [
        (
            vec![PyValue::str("ale"), PyValue::Int(1)],
            vec![],
            "KeyError: 'there is no ale'",
        ),
        (
            vec![tea()],
            vec![],
            "TypeError: shop.buy() missing 1 required positional argument: 'count'",
        ),
        (
            vec![tea(), tea(), tea()],
            vec![],
            "TypeError: shop.buy() takes 3 positional arguments but 4 were given",
        ),
        (
            vec![tea()],
            vec![("zz", tea())],
            "TypeError: shop.buy() got an unexpected keyword argument 'zz'",
        ),
        (
            vec![tea()],
            vec![("item", tea())],
            "TypeError: shop.buy() got multiple values for argument 'item'",
        ),
        (
            vec![tea(), tea()],
            vec![],
            "TypeError: buy: invalid type: string \"tea\", expected an integer from 0 to 4294967295",
        ),
    ] {
        assert_eq!(ask("buy", positional, named).await, error);
    }
    assert_eq!(
        ask("sell", vec![], vec![]).await,
        "AttributeError: 'shop' object has no attribute 'sell'"
    );
}

#[tokio::test]
async fn streams_are_answers_and_lists_are_streams() {
    assert_eq!(
        ask("count_down", vec![PyValue::Int(2)], vec![]).await,
        "stream of 2, 1, RuntimeError: nothing is left"
    );
    let goods = || PyValue::Tuple(vec![PyValue::str("tea"), PyValue::str("rice")]);
    assert_eq!(ask("weigh", vec![goods()], vec![]).await, "7");
    assert_eq!(ask("weigh", vec![], vec![("goods", goods())]).await, "7");
    assert_eq!(
        ask("weigh", vec![PyValue::Int(1)], vec![]).await,
        "TypeError: shop.weigh() argument 'goods': it takes a list of items, not int"
    );
    let unfit = PyValue::List(vec![PyValue::None]);
    let said = ask("weigh", vec![unfit], vec![]).await;
    assert!(
        said.starts_with("ValueError: item 1 does not fit"),
        "{said}"
    );
}

#[tokio::test]
async fn a_method_finds_what_came_beside_its_arguments() {
    let objects = HostedObjects::new([(
        "shop".to_owned(),
        HostedObject::from_service::<Shop, _>(Small::default()),
    )]);
    let annotations = vec![(*b"SENT", b"hello".to_vec())];
    let envelope = Arc::new(Envelope::new(None, annotations, Some("name".into())));
    let call = PyroCall {
        object: "shop".to_owned(),
        method: "beside".to_owned(),
        positional: vec![PyValue::List(vec![PyValue::Int(1), PyValue::Int(2)])],
        named: Vec::new(),
        caller: Arc::default(),
        envelope: Arc::clone(&envelope),
        sessions: Arc::default(),
    };
    let Ok(PyroAnswer::Value(said)) = objects.call(call).await else {
        panic!("no value");
    };
    assert_eq!(said, "'name' [1, 2] hello".into());
    assert_eq!(envelope.take_answered(), [(*b"BACK", b"yes".to_vec())]);
}

#[tokio::test]
async fn an_object_is_one_value_for_all_calls() {
    let objects = HostedObjects::new([(
        "shop".to_owned(),
        HostedObject::from_service::<Shop, _>(Small::default()),
    )]);
    for count in 0..3 {
        let call = PyroCall {
            object: "shop".to_owned(),
            method: "visit".to_owned(),
            positional: Vec::new(),
            named: Vec::new(),
            caller: Arc::default(),
            envelope: Arc::default(),
            sessions: Arc::default(),
        };
        let Ok(PyroAnswer::Value(said)) = objects.call(call).await else {
            panic!("no value");
        };
        assert_eq!(said, PyValue::Int(count));
    }
}
