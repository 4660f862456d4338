//! Decides who may do what with tasks.

use pyroxene_common::{
    access::denials,
    identity::{Identity, Role},
    interfaces::tasks::{Submission, Task, TaskFailure, TaskStatus, TasksError},
    message::Progress,
};
use pyroxene_store::SCHEDULE_KEYS;
use std::fmt::Display;

/// Which methods of the object a role may call.
pub(crate) fn may_call(role: Role, method: &str) -> bool {
    match role {
        Role::Admin | Role::User => true,
        Role::Observer => matches!(method, "wait" | "ended" | "show" | "list" | "counts"),
        Role::Worker => false,
    }
}

/// Refuses a submission of a call that the caller itself may not make, and keys that only schedules give.
pub(crate) fn check_submission(
    caller: Option<&Identity>,
    submission: &Submission,
) -> Result<(), TasksError> {
    let Submission {
        object,
        method,
        key,
        ..
    } = submission;
    if key.starts_with(SCHEDULE_KEYS) {
        let sentence =
            format!("a key that begins with '{SCHEDULE_KEYS}' is one of a schedule's task");
        return Err(TasksError::Invalid { sentence });
    }
    let Some(Identity { name, role, .. }) =
        caller.filter(|caller| !caller.may_call(object, method))
    else {
        return Ok(());
    };
    let (object, method) = (denials::shortened(object), denials::shortened(method));
    if denials::may_log(name) {
        tracing::warn!(user = name, %role, object, method, "submission denied");
    }
    let sentence = format!("'{name}' ({role}) may not call {object}.{method}");
    Err(TasksError::Denied { sentence })
}

/// Refuses to show a task or batch to a caller that may not see it. `what` names it.
pub(super) fn check_read(
    caller: Option<&Identity>,
    what: impl Display,
    submitter: &str,
) -> Result<(), TasksError> {
    match caller {
        Some(identity) if identity.role == Role::Observer => Ok(()),
        caller => check_change(caller, what, submitter),
    }
}

/// Refuses a change of a task or batch to a caller that did not submit it.
pub(super) fn check_change(
    caller: Option<&Identity>,
    what: impl Display,
    submitter: &str,
) -> Result<(), TasksError> {
    let Some(Identity { name, role, .. }) = caller else {
        return Ok(());
    };
    if *role == Role::Admin || submitter == *name {
        return Ok(());
    }
    let sentence = format!("{what} was not submitted by '{name}' ({role})");
    Err(TasksError::Denied { sentence })
}

/// How much of a task a caller sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskVisibility {
    Everything,
    /// That the task exists, its submitter, its worker and its progress.
    Outline,
}

/// Stands in the place of an error that is not shown.
const HIDDEN: &str = "the reason is shown to observers whom the users file allows the object";

impl TaskVisibility {
    /// The part of a task of this object and method that the caller sees. An observer's patterns name the
    /// objects and methods whose content it may see.
    pub(crate) fn of(caller: Option<&Identity>, object: &str, method: &str) -> Self {
        let is_narrow = caller.is_some_and(|identity| {
            identity.role == Role::Observer && !identity.allow.allows(object, Some(method))
        });
        match is_narrow {
            true => Self::Outline,
            false => Self::Everything,
        }
    }

    pub(super) fn status(self, mut status: TaskStatus) -> TaskStatus {
        if self == Self::Outline {
            status.result = None;
            status.error = status.error.map(|_| hidden());
            status.progress = status.progress.map(without_note);
        }
        status
    }

    pub(crate) fn task(self, mut task: Task) -> Task {
        if self == Self::Outline {
            (task.arguments, task.result) = (None, None);
            task.error = task.error.map(|_| hidden());
            task.progress = task.progress.map(without_note);
            for attempt in &mut task.attempts {
                attempt.reason = None;
            }
        }
        task
    }
}

fn hidden() -> TaskFailure {
    TaskFailure {
        sentence: HIDDEN.to_owned(),
        value: None,
    }
}

fn without_note(progress: Progress) -> Progress {
    Progress {
        note: String::new(),
        ..progress
    }
}

/// The submitter whose tasks alone a caller sees in a list; none if it sees all tasks.
pub(crate) fn visible_submitter(caller: Option<&Identity>) -> Option<&str> {
    caller
        .filter(|identity| !matches!(identity.role, Role::Admin | Role::Observer))
        .map(|identity| &*identity.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::fixture;

    fn somebody(role: Role, allow: &[&str]) -> Identity {
        let allow: Vec<_> = allow.iter().map(|text| text.parse().unwrap()).collect();
        Identity {
            name: "ana".to_owned(),
            role,
            allow: allow.try_into().unwrap(),
        }
    }

    fn submission(object: &str, method: &str) -> Submission {
        Submission {
            key: "k".to_owned(),
            ..fixture::submission(object, method)
        }
    }

    #[test]
    fn the_keys_of_schedules_are_theirs() {
        let mut echo = submission("echo", "sleep");
        for (key, is_free) in [("schedule", true), ("schedule:1:a:now:k", false)] {
            key.clone_into(&mut echo.key);
            assert_eq!(check_submission(None, &echo).is_ok(), is_free, "{key}");
        }
    }

    #[test]
    fn what_one_may_not_call_one_may_not_submit() {
        let echo = submission("echo", "sleep");
        assert_eq!(check_submission(None, &echo), Ok(()));
        let may = |role, allow: &[&str]| check_submission(Some(&somebody(role, allow)), &echo);
        assert_eq!(may(Role::Admin, &[]), Ok(()));
        assert_eq!(may(Role::User, &["echo"]), Ok(()));
        assert_eq!(may(Role::User, &["echo.sleep"]), Ok(()));
        for denied in [
            may(Role::User, &["echo.whoami", "text"]),
            may(Role::Worker, &["*"]),
            may(Role::Observer, &["*"]),
        ] {
            let sentence = denied.unwrap_err().to_string();
            assert!(sentence.ends_with("may not call echo.sleep"), "{sentence}");
        }
    }

    #[test]
    fn users_see_their_own_tasks_and_observers_all() {
        assert_eq!(visible_submitter(None), None);
        assert_eq!(visible_submitter(Some(&somebody(Role::Admin, &[]))), None);
        assert_eq!(
            visible_submitter(Some(&somebody(Role::Observer, &[]))),
            None
        );
        assert_eq!(
            visible_submitter(Some(&somebody(Role::User, &["*"]))),
            Some("ana")
        );
        assert!(may_call(Role::Observer, "show") && !may_call(Role::Observer, "cancel"));
        assert!(!may_call(Role::Worker, "submit"));
    }

    #[test]
    fn an_observer_sees_the_content_of_what_it_is_allowed() {
        let view = |role, allow: &[&str]| {
            TaskVisibility::of(Some(&somebody(role, allow)), "echo", "sleep")
        };
        assert_eq!(view(Role::Observer, &[]), TaskVisibility::Outline);
        assert_eq!(
            view(Role::Observer, &["text", "echo.echo"]),
            TaskVisibility::Outline
        );
        assert_eq!(view(Role::Observer, &["echo"]), TaskVisibility::Everything);
        assert_eq!(
            view(Role::Observer, &["echo.s*"]),
            TaskVisibility::Everything
        );
        assert_eq!(view(Role::User, &[]), TaskVisibility::Everything);
        assert_eq!(view(Role::Admin, &[]), TaskVisibility::Everything);
        assert_eq!(
            TaskVisibility::of(None, "echo", "sleep"),
            TaskVisibility::Everything
        );
    }
}
