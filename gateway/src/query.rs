//! Query parameters: each is known, given once, and has a readable value.

use crate::{problem::Problem, state::GatewayState};
use axum::{
    extract::FromRequestParts,
    http::{Uri, request::Parts},
};
use std::{borrow::Cow, collections::BTreeMap, fmt::Display, str::FromStr, time::Duration};

/// The parameters of a request that are not taken yet.
pub(crate) struct Query<'a>(BTreeMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Query<'a> {
    /// Reads the parameters. Those that are not in `known` are refused, like those that are given twice.
    pub(crate) fn read(uri: &'a Uri, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        let text = uri.query().unwrap_or_default();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&&*name) {
                let known = match known {
                    [] => "there are none".to_owned(),
                    known => format!("there are {}", known.join(", ")),
                };
                return Err(Problem::bad_request(format!(
                    "unknown query parameter '{}'; {known}",
                    name.escape_debug()
                )));
            }
            if parameters.contains_key(&name) {
                let detail = format!("the query parameter '{name}' is given twice");
                return Err(Problem::bad_request(detail));
            }
            parameters.insert(name, value);
        }
        Ok(Self(parameters))
    }

    /// The text of a parameter; `None` if it is missing or empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(|value| &**value)
            .filter(|value| !value.is_empty())
    }

    /// A parameter that is a number or another value with a text form.
    pub(crate) fn parsed<T>(&self, name: &str) -> Result<Option<T>, Problem>
    where
        T: FromStr<Err: Display>,
    {
        let read = |text: &Cow<'_, str>| text.parse().map_err(|error| unreadable(name, &error));
        self.0.get(name).map(read).transpose()
    }

    /// A parameter that is a duration such as `10s`. A longer one than `most` counts as `most`.
    pub(crate) fn duration(&self, name: &str, most: Duration) -> Result<Option<Duration>, Problem> {
        let read = |text: &Cow<'_, str>| duration(text).map_err(|error| unreadable(name, &error));
        let read = self.0.get(name).map(read).transpose()?;
        Ok(read.map(|read| read.min(most)))
    }
}

/// A request without query parameters. One with any is refused.
pub(crate) struct NoQuery;

impl FromRequestParts<GatewayState> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &GatewayState) -> Result<Self, Problem> {
        Query::read(&parts.uri, &[]).map(|_| Self)
    }
}

fn unreadable(name: &str, error: &dyn Display) -> Problem {
    Problem::bad_request(format!("the query parameter '{name}': {error}"))
}

/// A duration such as `500ms`, `10s`, `5m` or `1h`: a number from 1 to 999999 and a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    /// The greatest number of digits.
    const MAX_DIGITS: usize = 6;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor_ms = match unit {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        _ => None,
    };
    let number = number.parse::<u64>().ok();
    let number = number.filter(|_| digits <= MAX_DIGITS && !text.starts_with('0'));
    let duration = number
        .zip(factor_ms)
        .map(|(number, factor)| number * factor);
    duration
        .map(Duration::from_millis)
        .ok_or("it is not a duration such as 500ms, 10s, 5m or 1h")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(uri: &str) -> String {
        let uri: Uri = uri.parse().unwrap();
        let read = Query::read(&uri, &["limit", "wait"]);
        match read.and_then(|query| query.duration("wait", Duration::from_secs(60))) {
            Ok(wait) => format!("{wait:?}"),
            Err(problem) => problem.detail,
        }
    }

    #[test]
    fn unknown_repeated_and_unreadable_parameters_are_refused() {
        assert_eq!(detail("/?wait=30s&limit=2"), "Some(30s)");
        assert_eq!(detail("/"), "None");
        assert!(detail("/?wiat=1").contains("there are limit, wait"));
        assert!(detail("/?limit=1&limit=2").contains("given twice"));
        assert!(detail("/?wait=soon").contains("not a duration"));
        assert_eq!(detail("/?wait=2m"), "Some(60s)");
        for text in ["", "0s", "01s", "5", "1000000s", "1d", "-1s", "1.5s"] {
            assert!(
                detail(&format!("/?wait={text}")).contains("not a duration"),
                "{text}"
            );
        }
    }
}
