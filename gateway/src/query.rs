//! Query parameters: each is known, given once, and has a readable value.

use crate::problem::Problem;
use axum::http::Uri;
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
        let read = |text: &str| {
            text.parse().map_err(|error| {
                Problem::bad_request(format!("the query parameter '{name}': {error}"))
            })
        };
        self.text(name).map(read).transpose()
    }

    /// A parameter that is a duration such as `10s`, at most `most`.
    pub(crate) fn duration(&self, name: &str, most: Duration) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let read = duration(text, most);
        let read = read.map_err(|error| {
            Problem::bad_request(format!("the query parameter '{name}': {error}"))
        })?;
        Ok(Some(read))
    }
}

/// A duration such as `10s`, at most `most`.
pub(crate) fn duration(text: &str, most: Duration) -> Result<Duration, String> {
    let read = humantime::parse_duration(text)
        .map_err(|_| "it is not a duration such as 500ms, 10s or 5m".to_owned())?;
    if read > most {
        let most = humantime::format_duration(most);
        return Err(format!("it is longer than {most}"));
    }
    Ok(read)
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
        assert!(detail("/?wait=2m").contains("longer than 1m"));
    }
}
