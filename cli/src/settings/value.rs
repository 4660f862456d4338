//! Values in TOML, as words of a command line.

use clap::{Arg, ArgAction};
use pyroxene_common::identity::looks_like_token;
use pyroxene_store::StoreUrl;
use std::any::TypeId;
use toml::de::DeValue;

/// What is wrong with a value that would count as none: the default would take its place.
const EMPTY: &str = "it is empty; give it a value, or remove the line";

/// The words that give the value to the flag, or what is wrong with it.
pub(super) fn words(flag: &Arg, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let name = flag.get_long().unwrap_or_default();
    let takes_value = flag.get_action().takes_values();
    let may_be_alone = !takes_value || flag.get_num_args().is_some_and(|n| n.min_values() == 0);
    let is_list = matches!(flag.get_action(), ArgAction::Append);
    match value {
        DeValue::Boolean(true) if may_be_alone => Ok(vec![format!("--{name}")]),
        DeValue::Boolean(false) if may_be_alone => Ok(Vec::new()),
        DeValue::Array(items) if is_list && items.is_empty() => Err(EMPTY.to_owned()),
        DeValue::Array(items) if is_list => items
            .iter()
            .map(|item| word(flag, name, item.get_ref()))
            .collect(),
        value if takes_value => Ok(vec![word(flag, name, value)?]),
        value => Err(wrong_type(flag, value)),
    }
}

fn word(flag: &Arg, name: &str, value: &DeValue<'_>) -> Result<String, String> {
    let text = match value {
        DeValue::String(text) if text.is_empty() => {
            return Err(EMPTY.to_owned());
        }
        DeValue::String(text) if looks_like_token(text) => {
            return Err("it is a token; name the file that holds it with token-file".to_owned());
        }
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) if is_boolean(flag) => value.to_string(),
        value => return Err(wrong_type(flag, value)),
    };
    Ok(format!("--{name}={text}"))
}

fn is_boolean(flag: &Arg) -> bool {
    flag.get_value_parser().type_id() == TypeId::of::<bool>()
}

fn wrong_type(flag: &Arg, value: &DeValue<'_>) -> String {
    let wanted = match flag.get_action() {
        action if !action.takes_values() || is_boolean(flag) => "true or false",
        ArgAction::Append => "a string, or an array of strings",
        _ => "a string or a number",
    };
    format!("it is {}, but has to be {wanted}", kind(value))
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// Whether a flag with the address of a database has a password there. Fails if it is no such address: nobody knows
/// what is secret in it then.
pub(super) fn hold_password(words: &[String]) -> Result<bool, String> {
    let mut found = false;
    for word in words {
        let (_, address) = word.split_once('=').unwrap_or_default();
        let parsed = address.parse::<StoreUrl>();
        parsed.map_err(|error| error.to_string())?;
        found |= has_password(address);
    }
    Ok(found)
}

fn has_password(address: &str) -> bool {
    let Some((_, place)) = address.split_once("://") else {
        return false;
    };
    let login = place.rsplit_once('@').map(|(login, _)| login);
    login.is_some_and(|login| login.contains(':')) || place.contains("password=")
}
