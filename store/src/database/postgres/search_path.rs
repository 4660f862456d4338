//! The schema that an address names, as `options[search_path]=NAME` or `options=-c search_path=NAME`.
//!
//! The parameter is not sent to the server: every connection sets its path itself, because poolers refuse
//! `options`.

use crate::database::InvalidStoreUrl;

/// The longest name; PostgreSQL truncates longer ones.
const MAX_NAME_LENGTH: usize = 63;

/// A parameter of an address without the schema that it names, and that schema.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SplitParameter {
    /// The rest of the value, if there is any.
    pub(super) rest: Option<String>,
    pub(super) schema: Option<String>,
}

/// Takes the schema out of a parameter, if the parameter names one.
pub(super) fn split(name: &str, value: &str) -> Result<SplitParameter, InvalidStoreUrl> {
    let setting = name.strip_prefix("options[");
    match setting.and_then(|rest| rest.strip_suffix(']')) {
        Some(setting) if is_search_path(setting) => Ok(SplitParameter {
            rest: None,
            schema: Some(checked(value)?),
        }),
        _ if name == "options" => split_options(value),
        _ => Ok(SplitParameter {
            rest: Some(value.to_owned()),
            schema: None,
        }),
    }
}

/// Takes `-c search_path=NAME` and `--search_path=NAME` out of options.
fn split_options(options: &str) -> Result<SplitParameter, InvalidStoreUrl> {
    let mut rest = Vec::new();
    let mut schema = None;
    let mut words = words(options).into_iter();
    while let Some(word) = words.next() {
        let next = if word == "-c" { words.next() } else { None };
        let setting = next
            .or_else(|| word.strip_prefix("-c"))
            .or_else(|| word.strip_prefix("--"));
        match setting.and_then(|setting| setting.split_once('=')) {
            Some((name, value)) if is_search_path(name) => {
                set_once(&mut schema, checked(value)?)?;
            }
            _ => rest.extend([Some(word), next].into_iter().flatten()),
        }
    }
    let rest = (!rest.is_empty()).then(|| rest.join(" "));
    Ok(SplitParameter { rest, schema })
}

/// Words end at white space that no backslash escapes.
fn words(text: &str) -> Vec<&str> {
    let mut is_escaped = false;
    let words = text.split(|character: char| {
        let ends = character.is_ascii_whitespace() && !is_escaped;
        is_escaped = character == '\\' && !is_escaped;
        ends
    });
    words.filter(|word| !word.is_empty()).collect()
}

fn is_search_path(name: &str) -> bool {
    let name = name.replace('-', "_");
    name.eq_ignore_ascii_case("search_path")
}

/// Stores the schema, unless one is stored already.
pub(super) fn set_once(kept: &mut Option<String>, schema: String) -> Result<(), InvalidStoreUrl> {
    match kept.replace(schema) {
        None => Ok(()),
        Some(_) => Err(InvalidStoreUrl::new(
            "the PostgreSQL address names a search_path twice",
        )),
    }
}

/// A name that means the same with and without quotes, and is not one of PostgreSQL's own.
fn checked(name: &str) -> Result<String, InvalidStoreUrl> {
    let begins = |first: char| first.is_ascii_lowercase() || first == '_';
    let goes_on = |next: char| begins(next) || next.is_ascii_digit();
    let is_plain = name.starts_with(begins) && name.chars().all(goes_on);
    let is_reserved = name.starts_with("pg_") || name == "information_schema";
    match is_plain && !is_reserved && name.len() <= MAX_NAME_LENGTH {
        true => Ok(name.to_owned()),
        false => Err(InvalidStoreUrl::new(
            "search_path in the PostgreSQL address names the one schema that holds everything: \
             lower-case letters, digits and '_', up to 63 of them, and not PostgreSQL's own",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, value: &str) -> (Option<String>, Option<String>) {
        let SplitParameter { rest, schema } = split(name, value).unwrap();
        (rest, schema)
    }

    #[test]
    fn a_schema_is_taken_out_of_options_however_it_is_spelt() {
        let (a, none) = (Some("a".to_owned()), None::<String>);
        assert_eq!(of("options[search_path]", "a"), (None, a.clone()));
        for options in [
            "-c search_path=a",
            "-csearch_path=a",
            "--Search-Path=a",
            "  -c  search_path=a ",
        ] {
            assert_eq!(of("options", options), (None, a.clone()), "{options}");
        }
        let rest = Some("-c work_mem=1MB -c x=a\\ b".to_owned());
        let options = "-c work_mem=1MB -c search_path=a -c x=a\\ b";
        assert_eq!(of("options", options), (rest, a));
        let other = "-c statement_timeout=5s";
        assert_eq!(of("options", other), (Some(other.to_owned()), none.clone()));
        let work = (Some("1MB".to_owned()), none);
        assert_eq!(of("options[work_mem]", "1MB"), work);
    }

    #[test]
    fn anything_but_one_plain_name_is_refused() {
        let long = "a".repeat(64);
        for name in [
            "",
            "a,b",
            "\"$user\"",
            "A",
            "1a",
            "a b",
            "pg_temp",
            "information_schema",
            "a\\",
            &long,
        ] {
            let error = split("options[search_path]", name).unwrap_err();
            assert!(error.to_string().contains("search_path"), "{name}: {error}");
        }
        split("options", "-c search_path=a,b").unwrap_err();
        split("options", "-c search_path=a --search_path=b").unwrap_err();
    }
}
