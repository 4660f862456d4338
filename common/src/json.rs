//! Conversion of requests and responses from and to JSON, for any interface.
//!
//! tarpc's request enum has one variant per method with the parameters as its fields, so
//! `{"Hello": {"name": "Ana"}}` is a request in serde's JSON, and `{"Hello": "Hi, Ana"}` its
//! response.

mod reading;
mod writing;

use crate::{
    interface::{Interface, Method, Outcome},
    interfaces::invoke::InvokeError,
};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The request that calls `method` with a JSON object of arguments.
///
/// ```
/// use pyroxene_common::{interfaces::tasks::{Tasks, tasks::TasksRequest}, json};
///
/// let request = json::request::<Tasks>("cancel", r#"{"id": "0198f3c2"}"#)?;
/// assert!(matches!(request, TasksRequest::Cancel { id } if id.0 == "0198f3c2"));
/// let error = json::request::<Tasks>("cancel", r#"{"task": "0198f3c2"}"#).unwrap_err();
/// assert!(error.to_string().contains("cancel has no parameter 'task'; it has id"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn request<I: Interface>(method: &str, arguments: &str) -> Result<I::Request, InvokeError> {
    let known = I::METHODS
        .iter()
        .find(|candidate| candidate.name == method)
        .ok_or_else(|| InvokeError::UnknownMethod {
            method: method.to_owned(),
            interface: I::NAME.to_owned(),
            known: I::METHODS.iter().map(|m| m.name.to_owned()).collect(),
        })?;
    // A stream can be taken once, and so read once.
    if !known.streams()
        && let Some(request) = reading::request::<I>(known, arguments)
    {
        return Ok(request);
    }
    let bad = |message: String| InvokeError::BadArguments { sentence: message };
    let given: BTreeMap<String, &RawValue> = serde_json::from_str(arguments)
        .map_err(|error| bad(format!("the arguments are not a JSON object: {error}")))?;
    if let Some(unknown) = given
        .keys()
        .find(|name| !known.parameters.contains(&name.as_str()))
    {
        let parameters = match known.parameters {
            [] => "it has none".to_owned(),
            names => format!("it has {}", names.join(", ")),
        };
        return Err(bad(format!(
            "{method} has no parameter '{unknown}'; {parameters}"
        )));
    }
    let missing = |error: &str| {
        // A parameter that may be null may be left out; only serde knows which.
        let mut missing = known.parameters.iter();
        missing.find(|name| error == format!("missing field `{name}`"))
    };
    serde_json::from_str(&format!("{{\"{}\":{arguments}}}", known.variant)).map_err(|error| {
        let error = without_position(&error);
        bad(match missing(&error) {
            Some(missing) => format!("{method} needs the argument '{missing}'"),
            None => format!("{method}: {error}"),
        })
    })
}

/// The error without its line and column, which refer to a text that the caller never saw, and with the bounds of
/// an integer in the place of its Rust type.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let message = text
        .rsplit_once(" at line ")
        .map_or(&*text, |(message, _)| message);
    let named = message.rsplit_once(", expected ");
    let bounds = named.and_then(|(found, kind)| Some((found, integer_bounds(kind)?)));
    match bounds {
        Some((found, bounds)) => format!("{found}, expected an integer {bounds}"),
        None => message.to_owned(),
    }
}

/// The bounds of an integer of this Rust type.
fn integer_bounds(kind: &str) -> Option<String> {
    let (is_signed, bits) = match kind.split_at_checked(1)? {
        ("u", bits) => (false, bits),
        ("i", bits) => (true, bits),
        _ => return None,
    };
    let bits: u32 = bits
        .parse()
        .ok()
        .filter(|bits| matches!(bits, 8 | 16 | 32 | 64))?;
    let most = u64::MAX >> (64 - bits + u32::from(is_signed));
    Some(match is_signed {
        true => format!("from -{} to {most}", most + 1),
        false => format!("from 0 to {most}"),
    })
}

/// The answer of a response as JSON, or the object's own error.
pub fn response<I: Interface>(response: &I::Response) -> Result<String, InvokeError> {
    let unpresentable = |error: serde_json::Error| InvokeError::Unpresentable {
        sentence: error.to_string(),
    };
    let within = |layers: usize| writing::within(layers, response).map_err(unpresentable);
    match I::outcome(response) {
        Outcome::Plain => within(1),
        Outcome::Succeeded => within(2),
        Outcome::Failed(message) => Err(InvokeError::Failed {
            sentence: message,
            error: within(2)?,
        }),
    }
}

/// The arguments of a request, by name: a JSON object.
pub fn arguments<I: Interface>(request: &I::Request) -> Result<String, InvokeError> {
    let unpresentable = |error: serde_json::Error| InvokeError::Unpresentable {
        sentence: error.to_string(),
    };
    let text = serde_json::to_string(request).map_err(unpresentable)?;
    only_value(&text).map(str::to_owned).map_err(unpresentable)
}

/// An answer, or an object's own error, as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonAnswer<'a> {
    /// The answer of a method that cannot fail.
    Plain(&'a str),
    /// The success of a method that can fail.
    Succeeded(&'a str),
    /// The error of a method that can fail.
    Failed(&'a str),
}

/// The response that contains this answer of a method.
pub fn response_from_answer<I: Interface>(
    method: &Method,
    answer: JsonAnswer<'_>,
) -> Result<I::Response, InvokeError> {
    let variant = method.variant;
    let text = match answer {
        JsonAnswer::Plain(value) => format!("{{\"{variant}\":{value}}}"),
        JsonAnswer::Succeeded(value) => format!("{{\"{variant}\":{{\"Ok\":{value}}}}}"),
        JsonAnswer::Failed(value) => format!("{{\"{variant}\":{{\"Err\":{value}}}}}"),
    };
    serde_json::from_str(&text).map_err(|error| InvokeError::Unpresentable {
        sentence: format!("{}: {}", method.name, without_position(&error)),
    })
}

/// The value of the only entry of a JSON object, which is serde's form of an enum's variant.
fn only_value(text: &str) -> Result<&str, serde_json::Error> {
    let entries: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let value = entries.into_values().next();
    Ok(value.map_or("null", RawValue::get))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::Interface;

    crate::interface! {
        /// An interface for these tests.
        #[name = "Test.Shop"]
        #[version = 3]
        pub(super) trait Shop in shop {
            /// Buys.
            async fn buy(item: String, count: u32) -> Result<Vec<String>, String>;
            /// Looks.
            #[idempotent]
            async fn look_around() -> Option<u8>;
        }
    }
    use shop::{ShopRequest, ShopResponse};

    fn error_of(method: &str, arguments: &str) -> String {
        request::<Shop>(method, arguments).unwrap_err().to_string()
    }

    #[test]
    fn arguments_become_a_request() {
        let made = request::<Shop>("buy", r#"{"count": 2, "item": "tea"}"#).unwrap();
        assert!(matches!(made, ShopRequest::Buy { item, count: 2 } if item == "tea"));
        let made = request::<Shop>("look_around", "{}").unwrap();
        assert!(matches!(made, ShopRequest::LookAround {}));
        let made = request::<Shop>("buy", r#" {"\u0069tem": "\u0074ea", "count": 2} "#).unwrap();
        assert!(matches!(made, ShopRequest::Buy { item, count: 2 } if item == "tea"));
    }

    #[test]
    fn arguments_that_fit_are_read_once() {
        let buy = &Shop::METHODS[0];
        let read = |arguments: &str| reading::request::<Shop>(buy, arguments).is_some();
        assert!(read(r#"{"count": 2, "item": "tea"}"#));
        for other in [
            r#"{"count": 2, "item": "tea"} x"#,
            r#"{"count": 2, "item": "tea", "item": "tea"}"#,
            r#"{"count": 2, "item": "tea", "colour": 3}"#,
            r#"["tea", 2]"#,
            "null",
            "",
        ] {
            assert!(!read(other), "{other}");
            assert!(request::<Shop>("buy", other).is_err(), "{other}");
        }
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(error_of("sell", "{}"), "unknown method 'sell' of Test.Shop");
        assert_eq!(
            error_of("buy", r#"{"item": "tea"}"#),
            "buy needs the argument 'count'"
        );
        assert_eq!(
            error_of("buy", r#"{"item": "tea", "count": 1, "colour": 3}"#),
            "buy has no parameter 'colour'; it has item, count"
        );
        assert_eq!(
            error_of("buy", r#"{"item": "tea", "count": "two"}"#),
            "buy: invalid type: string \"two\", expected an integer from 0 to 4294967295"
        );
        assert_eq!(
            error_of("buy", r#"{"item": "tea", "count": -1}"#),
            "buy: invalid value: integer `-1`, expected an integer from 0 to 4294967295"
        );
        assert_eq!(integer_bounds("i8").unwrap(), "from -128 to 127");
        assert_eq!(integer_bounds("f64"), None);
        assert!(error_of("buy", "[]").starts_with("the arguments are not a JSON object"));
    }

    #[test]
    fn answers_and_errors_come_out_of_their_wrappings() {
        let bought = ShopResponse::Buy(Ok(vec!["tea".into()]));
        assert_eq!(response::<Shop>(&bought), Ok(r#"["tea"]"#.into()));
        let seen = ShopResponse::LookAround(Some(7));
        assert_eq!(response::<Shop>(&seen), Ok("7".into()));
        let failed = ShopResponse::Buy(Err("sold out".into()));
        assert_eq!(
            response::<Shop>(&failed),
            Err(InvokeError::Failed {
                sentence: "sold out".into(),
                error: r#""sold out""#.into(),
            })
        );
    }

    #[test]
    fn requests_and_responses_survive_a_journey_as_json() {
        let given = r#"{"item":"tea","count":2}"#;
        let buying = request::<Shop>("buy", given).unwrap();
        assert_eq!(arguments::<Shop>(&buying), Ok(given.into()));
        let looking = request::<Shop>("look_around", "{}").unwrap();
        assert_eq!(arguments::<Shop>(&looking), Ok("{}".into()));

        let [buy, look] = Shop::METHODS else {
            panic!("it has two methods")
        };
        let bought = response_from_answer::<Shop>(buy, JsonAnswer::Succeeded(r#"["tea"]"#));
        assert!(matches!(bought, Ok(ShopResponse::Buy(Ok(items))) if items == ["tea"]));
        let failed = response_from_answer::<Shop>(buy, JsonAnswer::Failed(r#""sold out""#));
        assert!(matches!(failed, Ok(ShopResponse::Buy(Err(error))) if error == "sold out"));
        let seen = response_from_answer::<Shop>(look, JsonAnswer::Plain("null"));
        assert!(matches!(seen, Ok(ShopResponse::LookAround(None))));
        let mixed_up = response_from_answer::<Shop>(look, JsonAnswer::Plain("\"x\"")).unwrap_err();
        assert_eq!(
            mixed_up.to_string(),
            "the answer cannot be shown as JSON: look_around: invalid type: string \"x\", expected an integer from 0 to 255"
        );
    }

    #[test]
    fn an_interface_describes_itself() {
        let description = Shop::describe();
        assert_eq!(
            (description.interface.as_str(), description.version),
            ("Test.Shop", 3)
        );
        let buy = description.method("buy").unwrap();
        assert_eq!(
            (buy.doc.as_str(), buy.fallible, buy.repeatable),
            ("Buys.", true, false)
        );
        assert_eq!(buy.result["type"], "array");
        assert_eq!(buy.parameters[1].schema["type"], "integer");
        let look = description.method("look_around").unwrap();
        assert!(look.repeatable && !look.fallible);
    }
}
