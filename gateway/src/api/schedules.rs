//! `/v1/schedules`: calls that become tasks at the times of a cron pattern.

use super::{
    PathParts, answered, json,
    submissions::{NewTask, submission, time},
};
use crate::{
    body::{EmptyBody, JsonText},
    caller::short_context,
    extract::Caller,
    problem::Problem,
    query::{NoQuery, Query},
    views::{ScheduleHistoryJson, ScheduleJson},
};
use axum::{
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use pyroxene_common::interfaces::schedules::{MissedPolicy, NewSchedule, OverlapPolicy};
use serde::Deserialize;
use serde_json::{json as value, value::RawValue};
use uuid::Uuid;

/// A schedule as it is added.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewScheduleJson<'a> {
    name: String,
    cron: String,
    #[serde(default)]
    time_zone: Option<String>,
    #[serde(default)]
    jitter: Option<String>,
    #[serde(default)]
    missed: MissedPolicy,
    #[serde(default)]
    overlap: OverlapPolicy,
    object: String,
    method: String,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    deadline: Option<String>,
    #[serde(default)]
    max_attempts: Option<u32>,
    #[serde(default)]
    backoff: Option<String>,
    #[serde(default)]
    run_limit: Option<String>,
    #[serde(default)]
    worker: Option<String>,
}

pub(crate) async fn add(
    Caller(caller): Caller,
    NoQuery: NoQuery,
    body: JsonText,
) -> Result<Response, Problem> {
    let new: NewScheduleJson<'_> = body.parse()?;
    let task = NewTask {
        object: new.object,
        method: new.method,
        args: new.args,
        priority: new.priority,
        delay: None,
        deadline: new.deadline,
        max_attempts: new.max_attempts,
        key: None,
        backoff: new.backoff,
        run_limit: new.run_limit,
        worker: new.worker,
    };
    let schedule = NewSchedule {
        name: new.name,
        cron: new.cron,
        time_zone: new.time_zone.unwrap_or_else(|| "UTC".to_owned()),
        jitter_ms: time("jitter", &new.jitter)?.unwrap_or(0),
        missed: new.missed,
        overlap: new.overlap,
        task: submission(&caller, task).await?,
    };
    let service = caller.nameserver()?.schedules();
    let added = answered(service.add(short_context(), Box::new(schedule)).await)??;
    json(StatusCode::CREATED, &ScheduleJson::new(&added))
}

pub(crate) async fn list(Caller(caller): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::read(&uri, &["after"])?;
    let after = query.text("after").unwrap_or_default().to_owned();
    let service = caller.nameserver()?.schedules();
    let listed = answered(service.list(short_context(), after).await)??;
    let listed: Vec<_> = listed.iter().map(ScheduleJson::new).collect();
    json(StatusCode::OK, &listed)
}

pub(crate) async fn show(
    Caller(caller): Caller,
    PathParts([name]): PathParts<1>,
    NoQuery: NoQuery,
) -> Result<Response, Problem> {
    let service = caller.nameserver()?.schedules();
    let shown = answered(service.show(short_context(), name).await)??;
    json(StatusCode::OK, &ScheduleHistoryJson::new(&shown))
}

pub(crate) async fn pause(
    Caller(caller): Caller,
    PathParts([name]): PathParts<1>,
    NoQuery: NoQuery,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let service = caller.nameserver()?.schedules();
    let paused = answered(service.pause(short_context(), name).await)??;
    json(StatusCode::OK, &ScheduleJson::new(&paused))
}

pub(crate) async fn resume(
    Caller(caller): Caller,
    PathParts([name]): PathParts<1>,
    NoQuery: NoQuery,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let service = caller.nameserver()?.schedules();
    let resumed = answered(service.resume(short_context(), name).await)??;
    json(StatusCode::OK, &ScheduleJson::new(&resumed))
}

pub(crate) async fn run_now(
    Caller(caller): Caller,
    PathParts([name]): PathParts<1>,
    NoQuery: NoQuery,
    EmptyBody: EmptyBody,
) -> Result<Response, Problem> {
    let service = caller.nameserver()?.schedules();
    let key = Uuid::now_v7().simple().to_string();
    let id = answered(service.run_now(short_context(), name, key).await)??;
    json(StatusCode::CREATED, &value!({"id": id}))
}

pub(crate) async fn remove(
    Caller(caller): Caller,
    PathParts([name]): PathParts<1>,
    NoQuery: NoQuery,
) -> Result<Response, Problem> {
    let service = caller.nameserver()?.schedules();
    answered(service.remove(short_context(), name).await)??;
    Ok(StatusCode::NO_CONTENT.into_response())
}
