use super::*;
use pyroxene_common::interface;

interface! {
    /// A shop for these tests.
    #[name = "Test.Shop"]
    #[version = 1]
    pub(super) trait Shop in shop {
        /// Buys.
        async fn buy(item: String, count: u32) -> Result<Vec<String>, ShopError>;
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

#[derive(Clone)]
struct Small;

impl shop::Shop for Small {
    async fn buy(self, _: Context, item: String, count: u32) -> Result<Vec<String>, ShopError> {
        match &*item {
            "tea" => Ok(vec![item; count as usize]),
            _ => Err(ShopError::UnknownItem { item }),
        }
    }

    async fn look(self, _: Context, at: Option<Vec<u8>>) -> Option<Vec<u8>> {
        at
    }
}

async fn ask(method: &str, positional: Vec<PyValue>, named: Vec<(&str, PyValue)>) -> String {
    let objects = HostedObjects::new([(
        "shop".to_owned(),
        HostedObject::from_service::<Shop, _>(Small),
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
    };
    match objects.call(call).await {
        Ok(value) => value.to_string(),
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
    let bytes = PyValue::Bytes(vec![7, 0]);
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
            "TypeError: buy: invalid type: string \"tea\", expected u32",
        ),
    ] {
        assert_eq!(ask("buy", positional, named).await, error);
    }
    assert_eq!(
        ask("sell", vec![], vec![]).await,
        "AttributeError: 'shop' object has no attribute 'sell'"
    );
}
