//! `POST /v1/objects/{object}/{method}`: one call.

use super::{PathParts, integers::normalised, json_text, objects};
use crate::{
    body::JsonText,
    caller::{Principal, context_of},
    extract::Caller,
    problem::{Problem, ProblemKind},
    query::Query,
};
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, Uri},
    response::Response,
};
use pyroxene_client::{DynamicError, DynamicObject, Policy};
use pyroxene_common::{
    interface::{Description, MethodDescription},
    interfaces::invoke::InvokeError,
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, time::Instant};
use tarpc::context;

const WORKER: HeaderName = HeaderName::from_static("pyroxene-worker");
const ATTEMPTS: HeaderName = HeaderName::from_static("pyroxene-attempts");
const ELAPSED: HeaderName = HeaderName::from_static("pyroxene-elapsed-ms");

/// Calls a method. The call is cancelled if the client goes, because then this future is dropped.
pub(crate) async fn call(
    Caller(caller): Caller,
    PathParts([name, method]): PathParts<2>,
    uri: Uri,
    body: JsonText,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["timeout", "policy"])?;
    let timeout = query.duration("timeout", objects::MAX_TIMEOUT)?;
    let context = context_of(timeout.unwrap_or(objects::DEFAULT_TIMEOUT));
    let policy = query.parsed::<Policy>("policy")?.unwrap_or_default();
    let began = Instant::now();
    let object = caller.object(&name, policy, context).await?;
    let arguments = arguments(object.description(), &method, &body)?.into_owned();
    drop(body);
    let called = call_object(&caller, &name, &object, context, &method, arguments).await;
    let answered = called.inspect_err(|problem| {
        // The object may be gone, and then the next call should say so.
        if problem.kind == ProblemKind::Unavailable {
            caller.forget(&name);
        }
    })?;
    let mut response = json_text(StatusCode::OK, answered.response);
    let headers = response.headers_mut();
    if let Ok(worker) = HeaderValue::from_str(&answered.worker) {
        headers.insert(WORKER, worker);
    }
    headers.insert(ATTEMPTS, answered.attempts.into());
    let elapsed = format!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
    if let Ok(elapsed) = HeaderValue::from_str(&elapsed) {
        headers.insert(ELAPSED, elapsed);
    }
    Ok(response)
}

async fn call_object(
    caller: &Principal,
    name: &str,
    object: &DynamicObject,
    context: context::Context,
    method: &str,
    arguments: String,
) -> Result<pyroxene_client::Response<String>, Problem> {
    let first = object
        .call_with_progress(context, method, arguments.clone(), None)
        .await;
    match first {
        Err(DynamicError::Object(InvokeError::BadArguments { sentence })) => {
            // A call with bad arguments has not run.
            let Cow::Owned(integers) = normalised(&arguments) else {
                return Err(Problem::bad_request(sentence));
            };
            let again = object.call_with_progress(context, method, integers, None);
            Ok(again.await?)
        }
        Err(DynamicError::Object(InvokeError::NotRepeatable { .. })) => {
            // The interface has changed since it was described.
            caller.forget(name);
            let object = caller.object(name, Policy::default(), context).await?;
            let again = object.call_with_progress(context, method, arguments, None);
            Ok(again.await?)
        }
        called => Ok(called?),
    }
}

/// The arguments by name. Those in a list are taken in the order of the parameters.
fn arguments<'a>(
    description: &Description,
    method: &str,
    body: &'a JsonText,
) -> Result<Cow<'a, str>, Problem> {
    let text = body.text()?;
    let method = description.method(method).ok_or_else(|| {
        let interface = &description.interface;
        Problem::not_found(format!(
            "{interface} has no method '{}'",
            method.escape_debug()
        ))
    })?;
    match text.bytes().next() {
        None => Ok(Cow::Borrowed("{}")),
        Some(b'{') => {
            // Read here too: what is no JSON is the caller's fault, whoever notices it.
            body.parse::<&RawValue>()?;
            Ok(Cow::Borrowed(text))
        }
        Some(b'[') => named(method, &body.parse::<Vec<&RawValue>>()?).map(Cow::Owned),
        Some(_) => {
            body.parse::<&RawValue>()?;
            let detail = "the body is neither an object of arguments by name nor a list of them";
            Err(Problem::bad_request(detail))
        }
    }
}

/// A list of arguments as an object.
pub(crate) fn named(method: &MethodDescription, values: &[&RawValue]) -> Result<String, Problem> {
    let parameters = &method.parameters;
    if values.len() > parameters.len() {
        return Err(Problem::bad_request(format!(
            "{} takes {} arguments, and {} are given",
            method.name,
            parameters.len(),
            values.len()
        )));
    }
    let names = parameters.iter().map(|parameter| &*parameter.name);
    let named: BTreeMap<&str, &RawValue> = names.zip(values.iter().copied()).collect();
    serde_json::to_string(&named).map_err(|error| Problem::bad_request(error.to_string()))
}
