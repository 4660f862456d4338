//! Errors of the API: RFC 9457 `application/problem+json`.

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use pyroxene_client::{CallError, DynamicError};
use pyroxene_common::{
    channel::{AttemptError, StreamError, StreamFailure},
    interfaces::{
        access::AccessError, batches::BatchesError, directory::DirectoryError, invoke::InvokeError,
        schedules::SchedulesError, tasks::TasksError, topics::TopicsError,
    },
    message::RefusalReason,
};
use serde_json::{Value, json, value::RawValue};

/// The kinds of errors. Each has its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    BadRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    Failed,
    Limited,
    Internal,
    MayHaveRun,
    Unavailable,
    Deadline,
}

impl ProblemKind {
    pub(crate) const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Failed,
        Self::Limited,
        Self::Internal,
        Self::MayHaveRun,
        Self::Unavailable,
        Self::Deadline,
    ];

    /// The status, the last word of the type, and the title.
    pub(crate) fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad-request",
                "The request is not valid",
            ),
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "Credentials are missing or wrong",
            ),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "This is not allowed"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "The path does not have this method",
            ),
            Self::Conflict => (
                StatusCode::CONFLICT,
                "conflict",
                "The state does not allow it",
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "The body is too large",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported-media-type",
                "The body is not application/json",
            ),
            Self::Failed => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "failed",
                "The object answered an error",
            ),
            Self::Limited => (
                StatusCode::TOO_MANY_REQUESTS,
                "limited",
                "A limit is reached",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "The call broke off",
            ),
            Self::MayHaveRun => (
                StatusCode::BAD_GATEWAY,
                "may-have-run",
                "The call may have run, and its answer was lost",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Nobody to call",
            ),
            Self::Deadline => (
                StatusCode::GATEWAY_TIMEOUT,
                "deadline",
                "The deadline passed",
            ),
        }
    }
}

/// An error that is sent to the caller.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ProblemKind,
    pub(crate) detail: String,
    attempts: Vec<Value>,
    /// The object's own error.
    error: Option<Box<RawValue>>,
    /// When another attempt makes sense, in seconds.
    retry_after_s: Option<u64>,
    /// Whether the browser should ask for a name and a token by itself.
    asks: bool,
    /// The methods that the path has.
    allow: Option<&'static str>,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            attempts: Vec::new(),
            error: None,
            retry_after_s: match kind {
                ProblemKind::Unavailable | ProblemKind::Limited => Some(1),
                _ => None,
            },
            asks: false,
            allow: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::BadRequest, detail)
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::NotFound, detail)
    }

    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(ProblemKind::Internal, detail)
    }

    /// The error of a path that has these methods alone.
    pub(crate) fn method_not_allowed(method: &Method, allowed: &'static str) -> Self {
        let detail = format!("this path does not have the method {method}; it has {allowed}");
        Self {
            allow: Some(allowed),
            ..Self::new(ProblemKind::MethodNotAllowed, detail)
        }
    }

    /// The error of a caller without credentials.
    pub(crate) fn unauthenticated(detail: impl Into<String>, asks: bool) -> Self {
        Self {
            asks,
            ..Self::new(ProblemKind::Unauthenticated, detail)
        }
    }
}

impl Problem {
    /// The body of its response.
    pub(crate) fn body(&self) -> Value {
        let (status, name, title) = self.kind.parts();
        let mut body = json!({
            "type": format!("urn:pyroxene:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "detail": self.detail,
        });
        if let Some(fields) = body.as_object_mut() {
            if !self.attempts.is_empty() {
                fields.insert("attempts".to_owned(), self.attempts.clone().into());
            }
            if let Some(error) = &self.error {
                let error = serde_json::from_str(error.get()).unwrap_or(Value::Null);
                fields.insert("error".to_owned(), error);
            }
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, ..) = self.kind.parts();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, self.body().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, kind);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.kind == ProblemKind::Unauthenticated {
            let asked = match self.asks {
                true => "Basic realm=\"pyroxene\", charset=\"UTF-8\"",
                // RFC 9110 wants one; browsers do not know this scheme and so do not ask for a password.
                false => "Bearer",
            };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(asked));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        let log = error.attempt_log();
        let last = log.attempts.last().map(|attempt| &attempt.error);
        let refusal = match last {
            Some(AttemptError::Refused(refusal)) => Some(refusal.reason),
            _ => None,
        };
        let kind = match (&error, last) {
            (CallError::NotSent(_), Some(AttemptError::TooLarge { .. })) => ProblemKind::TooLarge,
            (CallError::NotSent(_), _) => ProblemKind::BadRequest,
            (CallError::MaybeRan(_) | CallError::SessionLost(_) | CallError::Gone(_), _) => {
                ProblemKind::MayHaveRun
            }
            (CallError::Failed(_), _) => ProblemKind::Internal,
            (CallError::DeadlineExceeded(_), _) => ProblemKind::Deadline,
            (CallError::Refused(_), _) => match refusal {
                Some(RefusalReason::Limited) => ProblemKind::Limited,
                Some(RefusalReason::Unauthenticated) => ProblemKind::Unauthenticated,
                _ => ProblemKind::Forbidden,
            },
            (CallError::Unavailable(_), _) => ProblemKind::Unavailable,
        };
        let attempts = log.attempts.iter().map(|attempt| {
            json!({
                "worker": attempt.worker,
                "endpoint": attempt.endpoint,
                "ended_after_ms": attempt.ended_after.as_secs_f64() * 1000.0,
                "reason": attempt.error.to_string(),
            })
        });
        let detail = match kind {
            ProblemKind::Forbidden | ProblemKind::Limited => error.last_reason(),
            _ => error.to_string(),
        };
        Self {
            attempts: attempts.collect(),
            ..Self::new(kind, detail)
        }
    }
}

impl From<InvokeError> for Problem {
    fn from(error: InvokeError) -> Self {
        let kind = match &error {
            InvokeError::UnknownMethod { .. } => ProblemKind::NotFound,
            InvokeError::BadArguments { .. } => ProblemKind::BadRequest,
            InvokeError::Failed { .. } => ProblemKind::Failed,
            InvokeError::NotRepeatable { .. } | InvokeError::Unpresentable { .. } => {
                ProblemKind::Internal
            }
        };
        let detail = error.to_string();
        let own = match error {
            InvokeError::Failed { error, .. } => RawValue::from_string(error).ok(),
            _ => None,
        };
        Self {
            error: own,
            ..Self::new(kind, detail)
        }
    }
}

impl From<DynamicError> for Problem {
    fn from(error: DynamicError) -> Self {
        match error {
            DynamicError::Call(error) => error.into(),
            DynamicError::Object(error) => error.into(),
            DynamicError::Stream(error) => error.into(),
            DynamicError::Unreadable(_) => Self::internal(error.to_string()),
        }
    }
}

impl From<StreamError> for Problem {
    fn from(error: StreamError) -> Self {
        let kind = match &error.failure {
            StreamFailure::DeadlineExceeded => ProblemKind::Deadline,
            _ => ProblemKind::MayHaveRun,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        let kind = match &error {
            DirectoryError::Invalid { .. } => ProblemKind::BadRequest,
            DirectoryError::Denied { .. } => ProblemKind::Forbidden,
            DirectoryError::Limited { .. } => ProblemKind::Limited,
            DirectoryError::UnknownName { .. }
            | DirectoryError::UnknownWorker { .. }
            | DirectoryError::UnknownSession => ProblemKind::NotFound,
            DirectoryError::Unavailable { .. } => ProblemKind::Unavailable,
            DirectoryError::TooOld
            | DirectoryError::NameTaken { .. }
            | DirectoryError::ObjectTaken { .. }
            | DirectoryError::Full { .. } => ProblemKind::Conflict,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<TasksError> for Problem {
    fn from(error: TasksError) -> Self {
        let kind = match &error {
            TasksError::Unknown { .. } => ProblemKind::NotFound,
            TasksError::Unavailable { .. } | TasksError::Broken { .. } => ProblemKind::Unavailable,
            TasksError::KeyTaken { .. } => ProblemKind::Conflict,
            TasksError::Denied { .. } => ProblemKind::Forbidden,
            TasksError::Limited { .. } => ProblemKind::Limited,
            TasksError::Invalid { .. } => ProblemKind::BadRequest,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<BatchesError> for Problem {
    fn from(error: BatchesError) -> Self {
        match error {
            BatchesError::Unknown { .. } => Self::not_found(error.to_string()),
            BatchesError::Differs { .. } => Self::new(ProblemKind::Conflict, error.to_string()),
            BatchesError::Tasks(error) => error.into(),
        }
    }
}

impl From<SchedulesError> for Problem {
    fn from(error: SchedulesError) -> Self {
        match error {
            SchedulesError::Unknown { .. } => Self::not_found(error.to_string()),
            SchedulesError::Exists { .. } => Self::new(ProblemKind::Conflict, error.to_string()),
            SchedulesError::Tasks(error) => error.into(),
        }
    }
}

impl From<TopicsError> for Problem {
    fn from(error: TopicsError) -> Self {
        let kind = match &error {
            TopicsError::Unavailable { .. } | TopicsError::Broken { .. } => {
                ProblemKind::Unavailable
            }
            TopicsError::Invalid { .. } => ProblemKind::BadRequest,
            TopicsError::Limited { .. } => ProblemKind::Limited,
            TopicsError::Denied { .. } => ProblemKind::Forbidden,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let kind = match &error {
            AccessError::Off => ProblemKind::Conflict,
            AccessError::WrongToken
            | AccessError::NoChallenge
            | AccessError::NoCertificate
            | AccessError::NoRole { .. }
            | AccessError::NotListed { .. }
            | AccessError::Revoked { .. } => ProblemKind::Unauthenticated,
            AccessError::TooManyAttempts { .. } | AccessError::Limited(_) => ProblemKind::Limited,
            AccessError::Denied | AccessError::NotAdmin => ProblemKind::Forbidden,
            AccessError::UnknownUser { .. } => ProblemKind::NotFound,
            AccessError::Unavailable(_) | AccessError::Broken(_) => ProblemKind::Unavailable,
        };
        let problem = Self::new(kind, error.to_string());
        match error {
            AccessError::TooManyAttempts { wait_ms } => Self {
                retry_after_s: Some(wait_ms.div_ceil(1000)),
                ..problem
            },
            _ => problem,
        }
    }
}
