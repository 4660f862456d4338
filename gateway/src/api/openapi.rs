//! `GET /openapi.json`: OpenAPI 3.1 of the API and of every object that is registered now.

mod methods;
mod paths;
mod schemas;

use super::answered;
use crate::{
    caller::{context_of, short_context},
    compress,
    extract::Caller,
    problem::{Problem, ProblemKind},
    query::NoQuery,
};
use axum::{http::HeaderMap, response::Response};
use futures::{StreamExt, stream};
use pyroxene_client::Policy;
use pyroxene_common::interfaces::directory::ObjectFilter;
use serde_json::{Map, Value, json as value};
use std::time::Duration;

/// How long the description of one object may take. An object that does not answer is left out.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(3);

/// How many objects are asked at a time.
const CONCURRENT: usize = 16;

pub(crate) async fn openapi(
    Caller(caller): Caller,
    NoQuery: NoQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let directory = caller.nameserver()?.directory();
    let listed = directory
        .list(short_context(), ObjectFilter::default())
        .await;
    let listed = answered(listed)??;
    let described = listed.into_iter().map(|entry| {
        let caller = &caller;
        async move {
            let context = context_of(DESCRIBE_TIMEOUT);
            let object = caller.object(&entry.name, Policy::default(), context).await;
            object.ok().map(|object| (entry.name, object))
        }
    });
    // In the order of the names, so that the document changes only when an interface does.
    let described: Vec<_> = stream::iter(described).buffered(CONCURRENT).collect().await;
    let making = move || {
        let mut paths = paths::fixed();
        let mut schemas = schemas::fixed();
        for (name, object) in described.into_iter().flatten() {
            methods::add(&mut paths, &mut schemas, &name, object.description());
        }
        document(paths, schemas)
    };
    compress::json(&headers, &caller, making).await
}

fn document(paths: Map<String, Value>, schemas: Map<String, Value>) -> Value {
    let responses = ProblemKind::ALL.map(|kind| {
        let (_, name, title) = kind.parts();
        let content = value!({"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
        (name.to_owned(), value!({"description": title, "content": content}))
    });
    value!({
        "openapi": "3.1.0",
        "info": {
            "title": "Pyroxene",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Objects, tasks, topics and figures of a Pyroxene broker.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"basic": []}, {"bearer": []}, {"cookie": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": Map::from_iter(responses),
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "A user's name and token."},
                "bearer": {"type": "http", "scheme": "bearer", "description": "The ticket of POST /v1/login."},
                "cookie": {"type": "apiKey", "in": "cookie", "name": crate::extract::COOKIE},
            },
        },
    })
}

/// The answers of an operation: that of success, and every error.
fn responses(status: &str, success: Value) -> Value {
    let mut all = Map::from_iter([(status.to_owned(), success)]);
    for kind in ProblemKind::ALL {
        let (code, name, _) = kind.parts();
        let reference = value!({"$ref": format!("#/components/responses/{name}")});
        all.insert(code.as_str().to_owned(), reference);
    }
    Value::Object(all)
}

/// An answer in JSON.
fn json_answer(description: &str, schema: Value) -> Value {
    value!({"description": description, "content": {"application/json": {"schema": schema}}})
}

/// The schema of an object that always has all of these properties.
fn object(properties: Value) -> Value {
    let names = properties.as_object().into_iter().flat_map(Map::keys);
    let required: Vec<&String> = names.collect();
    value!({"type": "object", "properties": properties, "required": required})
}

fn reference(name: &str) -> Value {
    value!({"$ref": format!("#/components/schemas/{name}")})
}
