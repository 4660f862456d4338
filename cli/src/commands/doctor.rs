//! `pyroxene doctor`: what is wrong with a broker, and what to do about it.

mod bundle;
mod clock;
mod examine;

use crate::{
    commands::check::Health,
    failure::Failure,
    flags::ClientArguments,
    messages::{note, one_line},
    output::{print_json, print_text},
};
use examine::Examined;
use pyroxene_common::clean;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Look at a broker and this machine, and say what is wrong and what to do
///
/// Looks at the name servers (whether they answer, their versions, their clocks), the store, the workers (whether
/// they can be reached from here), the files of --tls-ca and --tls-cert (whether they end within 30 days), and this
/// machine's limit of open files. Each finding is one line that begins with OK, WARNING or CRITICAL.
///
/// The exit code is that of the worst finding, as 'pyroxene check' has it: 0 (ok), 1 (warning), 2 (critical). --json
/// prints {"status", "exit", "findings": [{"status", "subject", "message", "advice"}]}. "subject" is nameserver, clock,
/// store, worker, certificate or machine; "advice" may be null.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArguments {
    /// Also write a new file for a bug report: the findings, versions, name servers, workers and objects; no tokens,
    /// keys, passwords or values of environment variables
    #[arg(long, value_name = "FILE", env = "PYROXENE_DOCTOR_BUNDLE")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    health: Health,
    subject: &'static str,
    message: String,
    /// What to do about it.
    advice: Option<String>,
}

impl Finding {
    fn new(health: Health, subject: &'static str, message: impl Into<String>) -> Self {
        Self {
            health,
            subject,
            message: message.into(),
            advice: None,
        }
    }

    #[must_use]
    fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn to_json(&self) -> Value {
        json!({
            "status": self.health.name(),
            "subject": self.subject,
            "message": self.message,
            "advice": self.advice,
        })
    }

    /// The finding as one line.
    fn line(&self) -> String {
        let mark = self.health.name().to_uppercase();
        let advice = self.advice.iter().map(|advice| format!("; {advice}"));
        let text = format!("{}{}", self.message, advice.collect::<String>());
        // A name server has written some of it.
        format!("{mark}: {}", clean::line(&one_line(&text)))
    }
}

pub(crate) async fn run(arguments: DoctorArguments) -> Result<(), Failure> {
    let examined = Examined::of(&arguments.client).await;
    let findings = &examined.findings;
    let worst = findings.iter().map(|finding| finding.health).max();
    let worst = worst.unwrap_or(Health::Ok);
    if let Some(path) = &arguments.bundle {
        bundle::write(path, &examined)?;
    }
    if arguments.client.json {
        let entries: Vec<Value> = findings.iter().map(Finding::to_json).collect();
        print_json(&json!({
            "status": worst.name(),
            "exit": worst.exit() as u8,
            "findings": entries,
        }))?;
    } else {
        let lines: Vec<String> = findings.iter().map(Finding::line).collect();
        print_text(&lines.join("\n"))?;
        if let Some(path) = &arguments.bundle {
            note(&format!(
                "the bundle is in {}; read it before you pass it on",
                path.display()
            ));
        }
    }
    worst.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_what_to_do() {
        let finding = Finding::new(Health::Warning, "worker", "w1 cannot be reached");
        assert_eq!(finding.line(), "WARNING: w1 cannot be reached");
        let finding = finding.advice("start it");
        assert_eq!(finding.line(), "WARNING: w1 cannot be reached; start it");
        let forged = Finding::new(Health::Critical, "store", "broken\nOK: the store answers");
        assert_eq!(forged.line(), "CRITICAL: broken OK: the store answers");
    }
}
