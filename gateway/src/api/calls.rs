//! `POST /v1/objects/{object}/{method}`: one call.

use super::{
    PathParts,
    integers::with_integers,
    json_text, objects,
    streams::{self, ItemFormat},
};
use crate::{
    body::JsonText,
    caller::{Principal, context_of},
    extract::Caller,
    problem::{Problem, ProblemKind},
    query::Query,
    sse,
    state::GatewayState,
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri},
    response::Response,
};
use pyroxene_client::{DynamicError, DynamicObject, Policy};
use pyroxene_common::{
    interface::{Description, MethodDescription},
    interfaces::invoke::InvokeError,
};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Instant};
use tarpc::context;

const WORKER: HeaderName = HeaderName::from_static("pyroxene-worker");
const ATTEMPTS: HeaderName = HeaderName::from_static("pyroxene-attempts");
const ELAPSED: HeaderName = HeaderName::from_static("pyroxene-elapsed-ms");

/// Calls a method. The call is cancelled if the client goes, because then this future is dropped.
pub(crate) async fn call(
    State(gateway): State<GatewayState>,
    Caller(caller): Caller,
    PathParts([name, method]): PathParts<2>,
    uri: Uri,
    headers: HeaderMap,
    body: JsonText,
) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["timeout", "policy"])?;
    let timeout = query.duration("timeout", objects::MAX_TIMEOUT)?;
    let context = context_of(timeout.unwrap_or(objects::DEFAULT_TIMEOUT));
    let policy = query.parsed::<Policy>("policy")?.unwrap_or_default();
    let began = Instant::now();
    let object = caller.object(&name, policy, context).await?;
    let described = find(object.description(), &method)?;
    let arguments = arguments(described, &body)?.into_owned();
    // The object may be gone, and then the next call should say so.
    let forget_if_gone = |problem: &Problem| {
        if problem.kind == ProblemKind::Unavailable {
            caller.forget(&name);
        }
    };
    if described.streams() {
        // Before the call: one that has run must not be answered as one that has not.
        let slot = described.answers_stream().then(|| sse::take_slot(&gateway));
        let slot = slot.transpose()?;
        let body = Arc::new(body);
        let called = streams::call(&object, context, described, &arguments, &body).await;
        let answered = called.inspect_err(forget_if_gone)?;
        let format = ItemFormat::accepted(&headers);
        let (streams, worker) = (answered.response, &answered.worker);
        let mut response = streams::respond(&gateway, &caller, format, slot, streams, worker);
        add_headers(&mut response, worker, answered.attempts, began);
        return Ok(response);
    }
    drop(body);
    let called = call_object(&caller, &name, &object, context, &method, arguments).await;
    let answered = called.inspect_err(forget_if_gone)?;
    let mut response = json_text(StatusCode::OK, answered.response);
    add_headers(&mut response, &answered.worker, answered.attempts, began);
    Ok(response)
}

/// Says who answered, after how many attempts and how much time.
fn add_headers(response: &mut Response, worker: &str, attempts: usize, began: Instant) {
    let headers = response.headers_mut();
    if let Ok(worker) = HeaderValue::from_str(worker) {
        headers.insert(WORKER, worker);
    }
    headers.insert(ATTEMPTS, attempts.into());
    let elapsed = format!("{:.3}", began.elapsed().as_secs_f64() * 1000.0);
    if let Ok(elapsed) = HeaderValue::from_str(&elapsed) {
        headers.insert(ELAPSED, elapsed);
    }
}

async fn call_object(
    caller: &Principal,
    name: &str,
    object: &DynamicObject,
    context: context::Context,
    method: &str,
    arguments: String,
) -> Result<pyroxene_client::Response<String>, Problem> {
    let call = |arguments| object.call_with_progress(context, method, arguments, None);
    match with_integers(&arguments, call).await {
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

fn find<'a>(description: &'a Description, method: &str) -> Result<&'a MethodDescription, Problem> {
    description.method(method).ok_or_else(|| {
        let interface = &description.interface;
        Problem::not_found(format!(
            "{interface} has no method '{}'",
            method.escape_debug()
        ))
    })
}

/// The arguments by name. Those in a list are taken in the order of the parameters.
fn arguments<'a>(method: &MethodDescription, body: &'a JsonText) -> Result<Cow<'a, str>, Problem> {
    let text = body.text()?;
    match text.bytes().next() {
        None => Ok(Cow::Borrowed("{}")),
        Some(b'{') => {
            // Parsed here too, so that text that is not JSON is always reported as the caller's error.
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
