//! Reads arguments without the description of the method: a task may be submitted while no worker hosts its
//! object.

use super::{ArgumentSource, ArgumentWord};
use crate::failure::Failure;
use pyroxene_common::interface::POSITIONAL;
use serde_json::value::{RawValue, to_raw_value};
use std::{collections::BTreeMap, io};

/// Reads the words of a command line without knowing the parameters of `object`'s method. Every word has the
/// form `NAME=VALUE`. VALUE is JSON, with all its digits, if it parses as JSON, and a string otherwise.
pub(crate) fn read_untyped(
    object: &str,
    words: &[String],
    mut read: impl FnMut(ArgumentSource<'_>) -> io::Result<Vec<u8>>,
) -> Result<BTreeMap<String, Box<RawValue>>, Failure> {
    let mut arguments = BTreeMap::new();
    let mut stdin_read = false;
    for word in words {
        let Some((name, value)) = word.split_once('=').filter(|(name, _)| is_name(name)) else {
            let sentence = format!(
                "'{word}' has no parameter name, and no live worker hosts {object} to describe its parameters"
            );
            return Err(Failure::usage(sentence).hint("write it as NAME=VALUE"));
        };
        let value = match ArgumentWord::of(value) {
            ArgumentWord::Text(text) => text.to_owned(),
            ArgumentWord::Source(source) => {
                if source == ArgumentSource::Stdin && std::mem::replace(&mut stdin_read, true) {
                    let sentence = "standard input can be read for one argument only";
                    return Err(Failure::usage(sentence));
                }
                source.text(name, &mut read)?
            }
        };
        let value = match RawValue::from_string(value.trim().to_owned()) {
            Ok(json) => json,
            Err(_) => to_raw_value(&value).map_err(|error| Failure::usage(error.to_string()))?,
        };
        if arguments.insert(name.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("argument '{name}' is given twice")));
        }
    }
    Ok(arguments)
}

/// Reads the words of a command line for a method that takes any arguments. A word that is not `NAME=VALUE` is
/// a positional argument.
pub(super) fn read_any(
    method: &str,
    words: &[String],
    read: impl FnMut(ArgumentSource<'_>) -> io::Result<Vec<u8>>,
) -> Result<BTreeMap<String, Box<RawValue>>, Failure> {
    let is_named = |word: &&String| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    let (named, positional): (Vec<_>, Vec<_>) = words.iter().partition(is_named);
    let named: Vec<String> = named.into_iter().cloned().collect();
    let mut arguments = read_untyped(method, &named, read)?;
    if positional.is_empty() {
        return Ok(arguments);
    }
    let texts = positional.into_iter().map(|word| {
        let json = RawValue::from_string(word.trim().to_owned());
        json.or_else(|_| to_raw_value(word))
    });
    let texts: Result<Vec<_>, _> = texts.collect();
    let list = texts.and_then(|texts| to_raw_value(&texts));
    let list = list.map_err(|error| Failure::usage(error.to_string()))?;
    arguments.insert(POSITIONAL.to_owned(), list);
    Ok(arguments)
}

/// Whether the part of a word before `=` has the form of a parameter's name.
pub(super) fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    first.is_some_and(|first| first.is_alphabetic() || first == '_')
        && characters.all(|next| next.is_alphanumeric() || next == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn words(words: &[&str]) -> Result<Value, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let read = |source: ArgumentSource<'_>| match source {
            ArgumentSource::File("poem.txt") => Ok(b"two words".to_vec()),
            ArgumentSource::File("list.json") => Ok(b"[1, 2]\n".to_vec()),
            ArgumentSource::File(_) => Err(io::Error::other("no such file")),
            ArgumentSource::Stdin => Ok(b"7".to_vec()),
        };
        read_untyped("shop", &words, read)
            .map(|arguments| serde_json::to_value(arguments).unwrap())
            .map_err(|failure| failure.message.unwrap())
    }

    #[test]
    fn values_are_json_if_they_can_be_and_strings_otherwise() {
        let read = words(&[
            "n=30",
            "who=Ana",
            "items=[1,2]",
            "code=012",
            "a=b=c",
            "empty=",
        ]);
        let expected = json!({
            "n": 30, "who": "Ana", "items": [1, 2], "code": "012", "a": "b=c", "empty": ""
        });
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn words_without_a_name_are_positional() {
        let words = ["a", "n=3", "[1]"].map(str::to_owned);
        let read = read_any("take", &words, |_| Ok(Vec::new())).unwrap();
        let read = serde_json::to_value(read).unwrap();
        assert_eq!(read, json!({"*": ["a", [1]], "n": 3}));
    }

    #[test]
    fn numbers_keep_every_digit() {
        let words = ["amount=123456789012345678901234567890.10".to_owned()];
        let read = read_untyped("accounts", &words, |_| unreachable!()).unwrap();
        let text = serde_json::to_string(&read).unwrap();
        assert_eq!(text, r#"{"amount":123456789012345678901234567890.10}"#);
    }

    #[test]
    fn values_are_read_from_where_they_stand() {
        let read = words(&["a=@poem.txt", "b=@list.json", "c=-", "d=@@home"]);
        let expected = json!({"a": "two words", "b": [1, 2], "c": 7, "d": "@home"});
        assert_eq!(read, Ok(expected));
        let sentence = words(&["a=@nowhere"]).unwrap_err();
        assert_eq!(
            sentence,
            "cannot read nowhere for argument 'a': no such file"
        );
        let sentence = words(&["a=-", "b=-"]).unwrap_err();
        assert_eq!(sentence, "standard input can be read for one argument only");
    }

    #[test]
    fn values_without_a_name_are_refused() {
        let expected =
            "has no parameter name, and no live worker hosts shop to describe its parameters";
        for word in ["30", "=5", "[1]=2", "-3=x"] {
            let sentence = words(&["n=1", word]).unwrap_err();
            assert_eq!(sentence, format!("'{word}' {expected}"));
        }
        let sentence = words(&["n=1", "n=2"]).unwrap_err();
        assert_eq!(sentence, "argument 'n' is given twice");
    }
}
