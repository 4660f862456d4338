//! `pyroxene limits`: the limits of a user, and how much of them is in use.

use crate::{
    failure::{Exit, Failure},
    flags::ClientArguments,
    nameservers::{ask_nameservers, successful_answers},
    output::{print_json, print_text},
    table::table,
};
use pyroxene_common::{
    interfaces::access::{AccessError, LimitInUse, LimitsReport},
    limits::Limit,
};
use serde_json::{Map, Value, json};

/// Show your limits, and how much of them is in use
///
/// Tasks and their bytes are counted over all name servers of the store. Each name server counts everything
/// else for itself. A rate, such as 10/s, allows short bursts of ten times that number. A request beyond a
/// limit is refused with exit code 4, and the message names the limit.
///
/// 'pyroxene users set' changes the limits of one user, 'pyroxene nameserver --limit' those of all users.
///
/// --json prints an array with one entry per name server that answers: {"nameserver", "user", "limits":
/// {"tasks": {"value", "used", "total", "total_used"}, …}}. "total" is the limit of all users together. A
/// value is null if it is not limited, not counted, or not visible to you.
#[derive(Debug, clap::Args)]
pub(crate) struct LimitsCommandArguments {
    /// Show the limits of this user instead; only for admins
    #[arg(value_name = "USER")]
    whose: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) async fn run(arguments: LimitsCommandArguments) -> Result<(), Failure> {
    let client = arguments.client.client()?;
    let answers = ask_nameservers(&client, |nameserver, context| {
        let user = arguments.whose.clone();
        async move { nameserver.access().limits(context, user).await }
    });
    let answers = answers.await.into_iter().map(|(nameserver, answer)| {
        let report = answer.and_then(|report| report.map_err(|error| failure(&error)));
        (nameserver, report)
    });
    let reports = successful_answers(answers.collect())?;
    if arguments.client.json {
        let entries: Vec<Value> = reports
            .iter()
            .map(|(at, report)| entry(&at.endpoint().to_string(), report))
            .collect();
        return print_json(&entries);
    }
    let texts: Vec<String> = reports
        .iter()
        .map(|(at, report)| text(&at.endpoint().to_string(), report))
        .collect();
    print_text(&texts.join("\n\n"))
}

fn failure(error: &AccessError) -> Failure {
    let exit = match error {
        AccessError::NotAdmin | AccessError::Denied => Exit::Refused,
        AccessError::UnknownUser { .. } => Exit::Usage,
        AccessError::Unavailable(_) => Exit::Unavailable,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn entry(nameserver: &str, report: &LimitsReport) -> Value {
    let limits: Map<String, Value> = report
        .limits
        .iter()
        .map(|one| {
            let LimitInUse {
                limit,
                value,
                used,
                total,
                total_used,
            } = one;
            let shown =
                json!({"value": value, "used": used, "total": total, "total_used": total_used});
            (limit.name().to_owned(), shown)
        })
        .collect();
    json!({"nameserver": nameserver, "user": report.user, "limits": limits})
}

fn text(nameserver: &str, report: &LimitsReport) -> String {
    let user = match &report.user {
        Some(user) => format!("user {user}"),
        None => "users without a name".to_owned(),
    };
    let rows: Vec<[String; 6]> = report.limits.iter().map(row).collect();
    let headings = ["LIMIT", "VALUE", "USED", "OF ALL", "USED BY ALL", "ABOUT"];
    format!("{nameserver}: {user}\n{}", table(headings, &rows))
}

fn row(one: &LimitInUse) -> [String; 6] {
    let limit = one.limit;
    [
        limit.name().to_owned(),
        limit_text(limit, one.value),
        one.used.map(|used| used.to_string()).unwrap_or_default(),
        limit_text(limit, one.total),
        one.total_used
            .map(|used| used.to_string())
            .unwrap_or_default(),
        limit.about().to_owned(),
    ]
}

/// The value of a limit for people.
pub(crate) fn limit_text(limit: Limit, value: Option<u64>) -> String {
    value.map_or_else(
        || "unlimited".to_owned(),
        |value| limit.display_value(value),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_limited_and_not_counted_is_null() {
        let report = LimitsReport {
            user: None,
            limits: vec![LimitInUse {
                limit: Limit::TaskBytes,
                value: Some(1 << 30),
                used: Some(5),
                total: None,
                total_used: None,
            }],
        };
        let expected = json!({"nameserver": "a:1", "user": null, "limits": {"task_bytes":
            {"value": 1 << 30, "used": 5, "total": null, "total_used": null}}});
        assert_eq!(entry("a:1", &report), expected);
        let text = text("a:1", &report);
        assert!(text.starts_with("a:1: users without a name\n"), "{text}");
        assert!(
            text.contains("1GiB") && text.contains("unlimited"),
            "{text}"
        );
    }
}
