//! `pyroxene certs`: a small certificate authority.

use crate::{
    failure::Failure,
    flags::{YesOrNo, one_of},
    output::{print, print_json},
    table::labelled,
};
use clap::Subcommand;
use pyroxene_certs::{
    CertificateAuthority, CertificateInfo, CertificateRequest, CertificateRole, CertsError,
    DEFAULT_DAYS, MAX_DAYS, San, inspect, read,
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

/// Make and show certificates for TLS
///
/// 'init' makes an authority, 'issue' makes a certificate for a name server, a worker or a person. Give
/// ca.crt to everyone who is to trust the certificates, and each .key file only to its holder.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct CertsArguments {
    #[command(subcommand)]
    command: CertsCommand,
}

#[derive(Debug, Subcommand)]
enum CertsCommand {
    Init(CertsInitArguments),
    Issue(CertsIssueArguments),
    Show(CertsShowArguments),
}

/// Make a certificate authority
///
/// Writes ca.crt, which others trust, and ca.key, which signs certificates and must stay secret, and prints
/// the paths of both. The authority is valid for ten years. An existing authority is never overwritten.
///
/// --json prints {"certificate", "key"}, the paths of the two files.
#[derive(Debug, clap::Args)]
struct CertsInitArguments {
    #[command(flatten)]
    place: CertsDirectoryArguments,
}

/// Make a key and a certificate
///
/// Writes NAME.crt and NAME.key, which must stay secret, and prints the paths of both. The certificate is
/// valid for both ends of a connection. Its subject has the name as common name (CN) and the role as
/// organizational unit (OU). The broker reads the holder's name and role from there.
///
/// --json prints {"certificate", "key"}, the paths of the two files.
#[derive(Debug, clap::Args)]
struct CertsIssueArguments {
    #[command(flatten)]
    place: CertsDirectoryArguments,
    /// The holder's name: letters, digits, '.', '_' and '-'
    #[arg(long, value_name = "NAME", env = "PYROXENE_CERTS_NAME")]
    name: String,
    /// The role of the holder; without a role the certificate is valid for a server, and proves only a name
    #[arg(long, value_name = "ROLE", env = "PYROXENE_CERTS_ROLE", value_parser = one_of::<CertificateRole>(CertificateRole::ALL.map(CertificateRole::name)))]
    role: Option<CertificateRole>,
    /// The hosts that the holder serves on, instead of localhost, 127.0.0.1, ::1 and the name; users and
    /// observers serve on no host
    #[arg(
        long,
        value_name = "HOST,IP",
        env = "PYROXENE_CERTS_SAN",
        value_delimiter = ','
    )]
    san: Vec<San>,
    /// The number of days for which the certificate is valid
    #[arg(long, value_name = "N", env = "PYROXENE_CERTS_DAYS", default_value_t = DEFAULT_DAYS, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_DAYS)))]
    days: u32,
    /// Overwrite an existing key and certificate of that name
    #[arg(long, env = "PYROXENE_CERTS_FORCE", value_parser = YesOrNo)]
    force: bool,
}

/// Show what is in a certificate
///
/// If the file has several certificates, the first one is shown. The authority's signature is not checked.
/// --json prints {"subject", "name", "role", "is_authority", "hosts": […], "not_before", "not_after",
/// "issuer", "serial", "sha256"}. "name" and "role" are null if the certificate has none.
#[derive(Debug, clap::Args)]
struct CertsShowArguments {
    /// The certificate, as PEM
    file: PathBuf,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct CertsDirectoryArguments {
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    json: bool,
    /// The authority's directory
    #[arg(
        long,
        value_name = "DIR",
        env = "PYROXENE_CERTS_DIR",
        default_value = "certs"
    )]
    dir: PathBuf,
}

pub(crate) fn run(arguments: CertsArguments) -> Result<(), Failure> {
    match arguments.command {
        CertsCommand::Init(init) => {
            let written = CertificateAuthority::in_memory()?.save(&init.place.dir)?;
            print_paths(&written, init.place.json)
        }
        CertsCommand::Issue(issue) => issue.run(),
        CertsCommand::Show(show) => show.run(SystemTime::now()),
    }
}

impl CertsIssueArguments {
    fn run(self) -> Result<(), Failure> {
        let mut request = CertificateRequest::new(self.name);
        (request.role, request.sans, request.days) = (self.role, self.san, self.days);
        let issued = CertificateAuthority::open(&self.place.dir)?.issue(&request)?;
        match issued.save(&self.place.dir, &request.name, self.force) {
            Ok(written) => print_paths(&written, self.place.json),
            Err(error @ CertsError::Exists { .. }) => {
                Err(Failure::from(error).hint("add --force to overwrite it"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl CertsShowArguments {
    fn run(&self, now: SystemTime) -> Result<(), Failure> {
        let info = inspect(&read(&self.file)?)
            .map_err(|error| Failure::from(error).with_context(&self.file.display().to_string()))?;
        if self.json {
            return print_json(&info);
        }
        print(&to_text(&info, now))
    }
}

fn print_paths((certificate, key): &(PathBuf, PathBuf), json: bool) -> Result<(), Failure> {
    let line = |path: &Path| path.display().to_string();
    if json {
        return print_json(&json!({"certificate": line(certificate), "key": line(key)}));
    }
    print(&format!("{}\n{}", line(certificate), line(key)))
}

fn to_text(info: &CertificateInfo, now: SystemTime) -> String {
    let state = if now < info.not_before {
        ", not yet valid"
    } else if now > info.not_after {
        ", expired"
    } else {
        ""
    };
    let role = match (info.role, info.is_authority) {
        (Some(role), _) => role.name(),
        (None, true) => "none, an authority",
        (None, false) => "none",
    };
    let hosts = match info.hosts.as_slice() {
        [] => "none".to_owned(),
        hosts => hosts.join(", "),
    };
    let time = humantime::format_rfc3339_seconds;
    let (from, to) = (time(info.not_before), time(info.not_after));
    labelled(
        "",
        &[
            ("subject", info.subject.clone()),
            ("role", role.to_owned()),
            ("hosts", hosts),
            ("valid", format!("{from} to {to}{state}")),
            ("issuer", info.issuer.clone()),
            ("serial", info.serial.clone()),
            ("sha256", info.sha256.clone()),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::Cli, failure::Exit};
    use clap::Parser;
    use std::time::Duration;

    fn run_with(dir: &Path, verb: &str, flags: &[&str]) -> Result<(), Failure> {
        let dir = format!("--dir={}", dir.display());
        let command = ["pyroxene", "certs", verb, &dir];
        let cli = Cli::try_parse_from(command.iter().chain(flags))
            .map_err(|error| crate::failure::from_clap(&error))?;
        let crate::cli::Command::Certs(arguments) = cli.command else {
            panic!("another command");
        };
        run(arguments)
    }

    #[test]
    fn init_and_issue_write_what_show_reads_and_overwrite_nothing_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("certs");
        let missing = run_with(&dir, "issue", &["--name=w1"]).unwrap_err();
        assert_eq!(missing.exit, Exit::Failed);
        assert!(missing.hint.unwrap().contains("pyroxene certs init"));

        run_with(&dir, "init", &[]).unwrap();
        assert_eq!(run_with(&dir, "init", &[]).unwrap_err().exit, Exit::Failed);
        let issue = ["--name=w1", "--role=worker", "--san=a.example,10.0.0.1"];
        run_with(&dir, "issue", &issue).unwrap();
        let info = inspect(&read(&dir.join("w1.crt")).unwrap()).unwrap();
        assert_eq!(info.role, Some(CertificateRole::Worker));
        assert_eq!(info.hosts, ["a.example", "10.0.0.1"]);
        let json = false;
        let file = |name: &str| dir.join(name);
        let show = |name: &str| {
            CertsShowArguments {
                file: file(name),
                json,
            }
            .run(SystemTime::now())
        };
        assert!(show("w1.crt").is_ok() && show("ca.crt").is_ok());
        let failure = show("w1.key").unwrap_err();
        assert!(failure.message.unwrap().contains("w1.key: it is not"));

        let exists = run_with(&dir, "issue", &["--name=w1"]).unwrap_err();
        assert_eq!(exists.exit, Exit::Failed);
        assert!(exists.message.unwrap().contains("w1.crt exists already"));
        assert!(exists.hint.unwrap().contains("--force"));
        run_with(&dir, "issue", &["--name=w1", "--force"]).unwrap();
        assert_eq!(inspect(&read(&file("w1.crt")).unwrap()).unwrap().role, None);
    }

    #[test]
    fn what_cannot_be_asked_for_is_a_usage_error() {
        let directory = tempfile::tempdir().unwrap();
        run_with(directory.path(), "init", &[]).unwrap();
        for flags in [
            &["--name=../w1"][..],
            &["--name=ca"],
            &["--name="],
            &["--name=w1", "--role=root"],
            &["--name=w1", "--san=a b"],
            &["--name=w1", "--san=a,,b"],
            &["--name=w1", "--days=0"],
            &["--name=w1", "--days=1826"],
            &[],
        ] {
            let failure = run_with(directory.path(), "issue", flags).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{flags:?}");
        }
    }

    #[test]
    fn text_says_whether_a_certificate_is_valid_now() {
        let authority = CertificateAuthority::in_memory().unwrap();
        let issued = authority.issue(&CertificateRequest::new("w1")).unwrap();
        let info = inspect(&issued.certificate_pem).unwrap();
        let now = SystemTime::now();
        let year = Duration::from_secs(366 * 86_400);
        let text = to_text(&info, now);
        assert!(text.starts_with("subject  CN=w1\nrole     none\nhosts    localhost, 127.0.0.1"));
        assert!(!text.contains("expired") && !text.contains("not yet"));
        assert!(to_text(&info, now + year).contains("Z, expired\n"));
        assert!(to_text(&info, now - year).contains("Z, not yet valid\n"));
        assert!(to_text(authority.info(), now).contains("none, an authority"));
    }
}
