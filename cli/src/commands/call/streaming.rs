//! Calls of methods with streams.

use super::{FoundObject, StreamOutput, read_source, result_text};
use crate::{
    arguments::{ArgumentSource, MethodSignature},
    commands::map::lines::LineInput,
    failure::Failure,
    output::{Output, milliseconds, to_json},
};
use futures::StreamExt;
use pyroxene_common::{
    Stream,
    interface::{Description, MethodDescription, ParameterDescription},
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::time::Instant;

/// Whether a source is standard input, or something that would be read on after the call, such as `/dev/tty`.
fn may_be_terminal(source: &str) -> bool {
    source == "-" || (Path::new(source).exists() && !Path::new(source).is_file())
}

/// How many lines of an input are read in advance.
const LINES_AHEAD: usize = 1024;

/// How many items that are ready are printed together.
const ITEMS_AT_ONCE: usize = 1024;

#[derive(Serialize)]
struct ItemJson<'a> {
    item: &'a RawValue,
}

#[derive(Serialize)]
struct DoneJson<'a> {
    done: bool,
    items: u64,
    worker: &'a str,
}

#[derive(Serialize)]
struct ResultJson<'a> {
    result: &'a RawValue,
    worker: &'a str,
    attempts: usize,
    elapsed_ms: f64,
}

/// Calls the method and prints what it answers.
pub(super) async fn run(
    found: &FoundObject,
    signature: MethodSignature<'_>,
    words: &[String],
    shown: &StreamOutput<'_>,
) -> Result<(), Failure> {
    let description = found.dynamic.description();
    let method = signature.method();
    let (sources, plain_words) = stream_sources(signature, words)?;
    let plain = MethodDescription {
        parameters: plain_parameters(method),
        ..method.clone()
    };
    let plain = MethodSignature::of(description, &plain);
    let read = |source: ArgumentSource<'_>| match (&source, shown.stdin) {
        (ArgumentSource::Stdin, Err(why)) => Err(io::Error::other(why)),
        _ => read_source(source),
    };
    let mut values = plain.read_words(&plain_words, read)?;
    let unreadable = Arc::new(Mutex::new(None));
    let mut inputs = Vec::new();
    for (parameter, source) in sources {
        if let Err(why) = shown.stdin
            && may_be_terminal(source)
        {
            let name = &parameter.name;
            let what = match source {
                "-" => "standard input",
                path => path,
            };
            let sentence = format!("cannot read {what} for argument '{name}': {why}");
            return Err(Failure::usage(sentence));
        }
        values.insert(parameter, Value::from(inputs.len()));
        inputs.push(lines(description, method, parameter, source, &unreadable)?);
    }
    let arguments = to_json(&values)?;
    let began = Instant::now();
    let called = found
        .dynamic
        .stream(found.context, &method.name, arguments, inputs);
    let called = called.await;
    // A line that cannot be read is the reason why the call has failed.
    let failure = unreadable
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(failure) = failure {
        return Err(failure);
    }
    let called = called?;
    let elapsed_ms = milliseconds(began.elapsed());
    let (worker, attempts) = (called.worker, called.attempts);
    if let Some(items) = called.response.items {
        return print_items(items, &worker, shown).await;
    }
    let answer = called.response.answer.unwrap_or_else(|| "null".to_owned());
    (shown.show)(&mut || {
        let mut output = Output::new();
        match shown.json {
            true => output.line(&to_json(&ResultJson {
                result: super::raw_json(&answer)?,
                worker: &worker,
                attempts,
                elapsed_ms,
            })?)?,
            false => output.result(&result_text(&answer))?,
        }
        output.flush()
    })
}

fn plain_parameters(method: &MethodDescription) -> Vec<ParameterDescription> {
    let parameters = method.parameters.iter();
    parameters
        .filter(|parameter| !parameter.is_stream())
        .cloned()
        .collect()
}

/// A parameter that is a stream, and the word that says where its items come from.
type StreamSource<'a> = (&'a ParameterDescription, &'a str);

/// The source of each parameter that is a stream, and the other words.
fn stream_sources<'a>(
    signature: MethodSignature<'a>,
    words: &'a [String],
) -> Result<(Vec<StreamSource<'a>>, Vec<String>), Failure> {
    let streams = signature
        .parameters()
        .iter()
        .filter(|parameter| parameter.is_stream());
    let mut wanted: Vec<_> = streams.map(|parameter| (parameter, None)).collect();
    let mut others = Vec::new();
    for word in words {
        let named = word.split_once('=').and_then(|(name, source)| {
            let found = wanted
                .iter()
                .position(|(parameter, _)| parameter.name == name)?;
            Some((found, source))
        });
        let unnamed = || {
            let is_source = word == "-" || (word.starts_with('@') && !word.starts_with("@@"));
            let free = wanted.iter().position(|(_, source)| source.is_none());
            free.filter(|_| is_source).map(|free| (free, word.as_str()))
        };
        match named.or_else(unnamed) {
            Some((at, source)) => {
                if let Some((_, place)) = wanted.get_mut(at) {
                    *place = Some(source);
                }
            }
            None => others.push(word.clone()),
        }
    }
    let mut sources = Vec::new();
    for (parameter, source) in wanted {
        let source = match source {
            Some("-") => Some("-"),
            Some(source) => source.strip_prefix('@'),
            None => None,
        };
        let Some(source) = source else {
            let name = &parameter.name;
            let sentence = format!("argument '{name}' is a stream: give {name}=- or {name}=@FILE");
            return Err(signature.usage_failure(sentence));
        };
        sources.push((parameter, source));
    }
    Ok((sources, others))
}

/// The lines of a source, as items in JSON. A line that cannot be read is put into `unreadable`.
fn lines(
    description: &Description,
    method: &MethodDescription,
    parameter: &ParameterDescription,
    source: &str,
    unreadable: &Arc<Mutex<Option<Failure>>>,
) -> Result<Stream<String>, Failure> {
    let item = ParameterDescription {
        name: parameter.name.clone(),
        schema: parameter
            .schema
            .get("items")
            .cloned()
            .unwrap_or(Value::Bool(true)),
        since: parameter.since,
    };
    let (description, method) = (description.clone(), method.clone());
    let unreadable = Arc::clone(unreadable);
    let lines = LineInput::open(source)?.lines(LINES_AHEAD);
    Ok(Stream::fallible(lines.map(move |line| {
        let signature = MethodSignature::of(&description, &method);
        let read = line.content.and_then(|content| {
            let text = String::from_utf8_lossy(&content);
            to_json(&signature.text_value(&item, text.trim_end_matches(['\r', '\n']))?)
        });
        read.map_err(|failure| {
            let mut place = unreadable.lock().unwrap_or_else(PoisonError::into_inner);
            *place = Some(failure);
            format!("line {} cannot be read", line.number)
        })
    })))
}

/// Prints items as they come. Those that are ready are written together.
async fn print_items(
    items: Stream<String>,
    worker: &str,
    shown: &StreamOutput<'_>,
) -> Result<(), Failure> {
    let mut chunks = items.ready_chunks(ITEMS_AT_ONCE);
    let mut count = 0;
    while let Some(mut items) = chunks.next().await {
        // Nothing comes after an error.
        let broken = items.pop_if(|last| last.is_err());
        count += items.len();
        (shown.show)(&mut || {
            let mut output = Output::new();
            for item in items.iter().flatten() {
                match shown.json {
                    true => {
                        let item = super::raw_json(item)?;
                        output.line(&to_json(&ItemJson { item })?)?;
                    }
                    false => output.result(&result_text(item))?,
                }
            }
            output.flush()
        })?;
        if let Some(Err(error)) = broken {
            return Err(error.into());
        }
    }
    if !shown.json {
        return Ok(());
    }
    let done = to_json(&DoneJson {
        done: true,
        items: count as u64,
        worker,
    })?;
    (shown.show)(&mut || {
        let mut output = Output::new();
        output.line(&done)?;
        output.flush()
    })
}
