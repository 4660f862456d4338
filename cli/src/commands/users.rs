//! `pyroxene users`: who may log in at a name server.

use crate::{
    failure::{Exit, Failure},
    flags::{YesOrNo, one_of},
    messages::write_message,
    output::{print, print_json},
    table::table,
};
use clap::Subcommand;
use pyroxene_common::{
    identity::{Pattern, Patterns, Role, Token},
    limits::{LimitChange, LimitOverrides},
};
use pyroxene_gateway::views::rfc3339;
use pyroxene_nameserver::users::{User, Users, replace_domain_key};
use serde::Serialize;
use serde_json::json;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::NamedTempFile;

/// Manage the users who may log in
///
/// 'pyroxene nameserver --users FILE' reads the users file; all name servers of one broker need the same. The
/// file contains no tokens, only the public keys that verify them. Beside it, in FILE.key, is the domain key,
/// which signs tickets: keep it secret.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct UsersCommandArguments {
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    Add(UserAddArguments),
    Set(UserSetArguments),
    List(UserListArguments),
    Remove(UserRemoveArguments),
    Rotate(UserRotateArguments),
    Revoke(UserRevokeArguments),
    RotateKey(UserRotateKeyArguments),
}

/// Add a user and print its token
///
/// Only the token is printed, or it is written to the file of --token-out. It is kept nowhere else: give it
/// to its holder. A missing users file is created, and only its owner may read it. --json prints {"added":
/// NAME, "token", "token_file"}; "token" or "token_file" is null if it does not apply.
///
/// With --certificate the user has no token, and logs in with a certificate of the same name. Every user in
/// the file may log in like this. A certificate of another name is only accepted if the name server runs with
/// '--certificates any'.
///
/// Roles: an admin may do everything, a worker may host objects, a user may call them, and an observer may
/// only list and describe them. Without --allow users and workers may use every object, and observers only
/// see that tasks exist. With --allow observers also see the arguments and results of those objects' tasks,
/// and workers may use topics: 'topic:NAME' allows one topic. An admin cannot be restricted.
#[derive(Debug, clap::Args)]
// The line break makes the usage fit a narrow terminal too.
#[command(
    override_usage = "pyroxene users add [OPTIONS] --users <FILE>\n       --role <ROLE> <NAME>"
)]
struct UserAddArguments {
    #[command(flatten)]
    place: UsersFileArguments,
    /// The name: letters, digits, '.', '_' and '-'
    name: String,
    /// The role, which decides which kinds of requests the user may make
    #[arg(long, value_name = "ROLE", env = "PYROXENE_USERS_ROLE", value_parser = one_of::<Role>(Role::ALL.map(Role::name)))]
    role: Role,
    /// The objects to which the role applies, separated by commas, such as 'calculator', 'accounts.query' for
    /// one method, or 'accounts.q*'; may be given more than once [default: *, and nothing for an observer]
    #[arg(
        long,
        value_name = "PATTERN",
        env = "PYROXENE_USERS_ALLOW",
        value_delimiter = ','
    )]
    allow: Vec<Pattern>,
    /// A limit, such as 'tasks=1000' or 'task_bytes=1GiB'; may be given more than once [default: the limits
    /// that 'pyroxene limits' shows]
    #[arg(
        long,
        value_name = "LIMIT",
        env = "PYROXENE_USERS_LIMIT",
        value_delimiter = ','
    )]
    limit: Vec<LimitChange>,
    /// Make no token: the user logs in with a certificate of the same name
    #[arg(long, env = "PYROXENE_USERS_CERTIFICATE", value_parser = YesOrNo)]
    certificate: bool,
    #[command(flatten)]
    token: TokenOutputArguments,
}

/// The destination of the token.
#[derive(Debug, clap::Args)]
struct TokenOutputArguments {
    /// Write the token to this file, which only you may read, instead of printing it
    #[arg(long, value_name = "FILE", env = "PYROXENE_USERS_TOKEN_OUT")]
    token_out: Option<PathBuf>,
}

/// Change the limits of a user
///
/// Name servers read the new limits within a second, or on SIGHUP. 'pyroxene limits NAME' shows them. --json
/// prints {"set": NAME, "limits": {…}}, with the limits that are not the defaults now.
#[derive(Debug, clap::Args)]
// The line break makes the usage fit a narrow terminal too.
#[command(
    override_usage = "pyroxene users set [OPTIONS] --users <FILE>\n       --limit <LIMIT> <NAME>"
)]
struct UserSetArguments {
    #[command(flatten)]
    place: UsersFileArguments,
    /// The name
    name: String,
    /// A limit, such as 'tasks=1000', 'task_bytes=1GiB', 'polls=unlimited' or 'tasks=default'; may be
    /// given more than once
    #[arg(
        long,
        required = true,
        value_name = "LIMIT",
        env = "PYROXENE_USERS_LIMIT",
        value_delimiter = ','
    )]
    limit: Vec<LimitChange>,
}

/// Show the users
///
/// --json prints [{"name", "role", "allow": […], "limits": {…}, "certificate", "issued", "revoked"}].
/// "limits" are those that are not the defaults. "certificate" is whether the user has no token and logs in
/// only with a certificate. "issued" is when the last token was made or the user was added. "revoked" is when
/// the user was revoked, or null.
#[derive(Debug, clap::Args)]
struct UserListArguments {
    #[command(flatten)]
    place: UsersFileArguments,
}

/// Remove a user
///
/// This ends the user's token and tickets, as 'revoke' does. Certificates with the name are not accepted
/// either, until a user of that name is added again. --json prints {"removed": NAME}.
#[derive(Debug, clap::Args)]
struct UserRemoveArguments {
    #[command(flatten)]
    place: UsersFileArguments,
    /// The name
    name: String,
}

/// Give a user a new token and print it
///
/// The old token is not valid any more. A user who was revoked may log in again. A user who logged in only
/// with a certificate has a token from then on. --json prints {"rotated": NAME, "token", "token_file"};
/// "token" or "token_file" is null.
#[derive(Debug, clap::Args)]
struct UserRotateArguments {
    #[command(flatten)]
    place: UsersFileArguments,
    /// The name
    name: String,
    #[command(flatten)]
    token: TokenOutputArguments,
}

/// End a user's token and tickets
///
/// The user stays in the file; 'rotate' lets the user log in again. --json prints {"revoked": NAME}.
///
/// With --certificate the name need not be in the file: certificates with the name are not accepted until
/// 'users add' adds a user of that name. This matters for name servers that run with '--certificates any',
/// which accept certificates of names that are not in the file.
#[derive(Debug, clap::Args)]
struct UserRevokeArguments {
    #[command(flatten)]
    place: UsersFileArguments,
    /// The name
    name: String,
    /// Revoke the certificates with this name, even if no user has it
    #[arg(long, env = "PYROXENE_USERS_CERTIFICATE", value_parser = YesOrNo)]
    certificate: bool,
}

/// Replace the domain key
///
/// Do this if the key was or may have been stolen. Name servers use the new key within a second, and tell
/// their workers. Everything that the old key signed is invalid at once, and all clients and workers log in
/// again by themselves. If name servers have copies of the users file, copy FILE.key to all of them. --json
/// prints {"rotated_key": FILE.key}.
#[derive(Debug, clap::Args)]
struct UserRotateKeyArguments {
    #[command(flatten)]
    place: UsersFileArguments,
}

#[derive(Debug, clap::Args)]
struct UsersFileArguments {
    /// The users file
    #[arg(long, value_name = "FILE", env = "PYROXENE_USERS")]
    users: PathBuf,
    /// Print the documented JSON
    #[arg(long, env = "PYROXENE_JSON", value_parser = YesOrNo)]
    json: bool,
}

impl UsersFileArguments {
    /// Prints what was done with `--json`, and nothing without it.
    fn report_done(&self, what: &impl Serialize) -> Result<(), Failure> {
        match self.json {
            true => print_json(what),
            false => Ok(()),
        }
    }
}

pub(crate) fn run(arguments: UsersCommandArguments) -> Result<(), Failure> {
    let now_ms = unix_ms(SystemTime::now())?;
    match arguments.command {
        UsersCommand::Add(add) => add.run(now_ms),
        UsersCommand::Set(set) => set.run(),
        UsersCommand::List(list) => list.run(),
        UsersCommand::Remove(UserRemoveArguments { place, name }) => {
            Users::edit(&place.users, |users| users.remove(&name, now_ms))?;
            place.report_done(&json!({"removed": name}))
        }
        UsersCommand::Rotate(UserRotateArguments { place, name, token }) => {
            let out = token.open(true)?;
            let token = Users::edit(&place.users, |users| users.rotate(&name, now_ms))?;
            out.deliver(&place, "rotated", &name, Some(&token))
        }
        UsersCommand::Revoke(revoke) => revoke.run(now_ms),
        UsersCommand::RotateKey(UserRotateKeyArguments { place }) => {
            replace_domain_key(&place.users)?;
            let mut key = place.users.clone().into_os_string();
            key.push(".key");
            place.report_done(&json!({"rotated_key": key.to_string_lossy()}))
        }
    }
}

impl UserSetArguments {
    fn run(self) -> Result<(), Failure> {
        let Self { place, name, limit } = self;
        let limits = Users::edit(&place.users, |users| {
            users.limit(&name, &limit)?;
            let user = users.iter().find(|(other, _)| *other == name);
            Ok(user.map(|(_, user)| user.limits().clone()))
        })?;
        place.report_done(&json!({"set": name, "limits": limits}))
    }
}

impl UserRevokeArguments {
    fn run(self, now_ms: u64) -> Result<(), Failure> {
        let Self { place, name, .. } = self;
        if self.certificate {
            Users::edit_or_create(&place.users, |users| {
                users.revoke_certificate(&name, now_ms)
            })?;
        } else {
            Users::edit(&place.users, |users| users.revoke(&name, now_ms))?;
        }
        place.report_done(&json!({"revoked": name}))
    }
}

impl UserAddArguments {
    fn run(self, now_ms: u64) -> Result<(), Failure> {
        let is_narrow = !self.allow.is_empty();
        let allow = if is_narrow {
            Patterns::try_from(self.allow).map_err(|error| Failure::usage(error.to_string()))?
        } else {
            Patterns::of_role(self.role)
        };
        let (name, role) = (self.name, self.role);
        if role == Role::Admin && is_narrow {
            return Err(
                Failure::usage("an admin may do everything: --allow cannot restrict it")
                    .hint("leave out --allow, or choose --role user, worker or observer"),
            );
        }
        let out = self.token.open(false)?;
        let token = Users::edit_or_create(&self.place.users, |users| {
            let token = if self.certificate {
                users.add_certificate(&name, role, allow, now_ms)?;
                None
            } else {
                Some(users.add(&name, role, allow, now_ms)?)
            };
            users.limit(&name, &self.limit)?;
            Ok(token)
        })?;
        if !is_narrow && let Some(verb) = restricted_action(role) {
            let note = format!("{name} may {verb} every object; --allow PATTERN restricts that");
            write_message("note", &note);
        }
        out.deliver(&self.place, "added", &name, token.as_ref())
    }
}

/// The file for a token, if one was asked for. It is made before the token, so that no token is lost because
/// its file cannot be made.
struct TokenOutput(Option<(NamedTempFile, PathBuf, bool)>);

impl TokenOutputArguments {
    /// Makes the file under a temporary name. An existing file is only replaced if `may_replace` is set.
    fn open(self, may_replace: bool) -> Result<TokenOutput, Failure> {
        let Some(path) = self.token_out else {
            return Ok(TokenOutput(None));
        };
        let cannot = |error: io::Error| cannot_write_token(&path, &error);
        // A link exists even where it points to nothing.
        if !may_replace && path.symlink_metadata().is_ok() {
            let there = "there is a file of that name already";
            return Err(cannot(io::Error::new(io::ErrorKind::AlreadyExists, there)));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // `NamedTempFile` makes files with mode 0600.
        let draft = NamedTempFile::new_in(directory).map_err(cannot)?;
        Ok(TokenOutput(Some((draft, path, may_replace))))
    }
}

impl TokenOutput {
    /// Writes the token of a user, if there is one, to the file or to standard output.
    fn deliver(
        self,
        place: &UsersFileArguments,
        verb: &str,
        name: &str,
        token: Option<&Token>,
    ) -> Result<(), Failure> {
        let (Some((draft, path, may_replace)), Some(token)) = (self.0, token) else {
            return print_token(place, verb, name, token);
        };
        write_token(draft, &path, may_replace, token)?;
        place.report_done(&json!({verb: name, "token": null, "token_file": path.to_string_lossy()}))
    }
}

fn write_token(
    mut draft: NamedTempFile,
    path: &Path,
    may_replace: bool,
    token: &Token,
) -> Result<(), Failure> {
    let write = || {
        writeln!(draft, "{}", &*token.expose())?;
        draft.as_file().sync_all()?;
        match may_replace {
            true => draft.persist(path)?,
            false => draft.persist_noclobber(path)?,
        };
        Ok(())
    };
    write().map_err(|error: io::Error| {
        cannot_write_token(path, &error).hint("make another with 'pyroxene users rotate'")
    })
}

fn cannot_write_token(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    Failure::new(
        Exit::Failed,
        format!("cannot write the token to {path}: {error}"),
    )
}

/// The action that patterns restrict; `None` for a role that they do not restrict.
fn restricted_action(role: Role) -> Option<&'static str> {
    match role {
        Role::User => Some("call"),
        Role::Worker => Some("host"),
        Role::Admin | Role::Observer => None,
    }
}

/// Prints the token. One that could not be printed is lost, and the failure says so.
fn print_token(
    place: &UsersFileArguments,
    verb: &str,
    name: &str,
    token: Option<&Token>,
) -> Result<(), Failure> {
    let text = token.map(Token::expose);
    let text = text.as_ref().map(|text| text.as_str());
    let printed = match (place.json, text) {
        (true, _) => print_json(&json!({verb: name, "token": text, "token_file": null})),
        (false, Some(text)) => print(text),
        (false, None) => Ok(()),
    };
    match token {
        None => printed,
        Some(_) => printed.map_err(|_| {
            Failure::new(
                Exit::Failed,
                format!("the token of {name} could not be printed"),
            )
            .hint("make another with 'pyroxene users rotate'")
        }),
    }
}

/// A user as `--json` prints it. Times are RFC 3339.
#[derive(Serialize)]
struct UserJson<'a> {
    name: &'a str,
    role: Role,
    allow: &'a Patterns,
    limits: &'a LimitOverrides,
    certificate: bool,
    issued: String,
    revoked: Option<String>,
}

impl UserListArguments {
    fn run(&self) -> Result<(), Failure> {
        let users = Users::read(&self.place.users)?;
        if self.place.json {
            let shown: Vec<_> = users
                .iter()
                .map(|(name, user)| user_json(name, user))
                .collect();
            return print_json(&shown);
        }
        let rows: Vec<_> = users.iter().map(|(name, user)| row(name, user)).collect();
        print(&table(["NAME", "ROLE", "ALLOW", "LIMITS", "STATE"], &rows))
    }
}

fn user_json<'a>(name: &'a str, user: &'a User) -> UserJson<'a> {
    let revoked_ms = user.revoked_ms().filter(|_| !user.is_active());
    UserJson {
        name,
        role: user.role(),
        allow: user.allow(),
        limits: user.limits(),
        certificate: user.is_certificate_only(),
        issued: rfc3339(user.issued_ms()),
        revoked: revoked_ms.map(rfc3339),
    }
}

fn row(name: &str, user: &User) -> [String; 5] {
    let allow: Vec<_> = user.allow().iter().map(Pattern::to_string).collect();
    let limits = user.limits().iter();
    let limits: Vec<_> = limits
        .map(|(limit, value)| format!("{limit}={}", limit.display_value(value)))
        .collect();
    let state = if user.is_certificate_only() {
        "by certificate"
    } else if user.is_active() {
        "active"
    } else {
        "revoked"
    };
    [
        name.to_owned(),
        user.role().to_string(),
        allow.join(" "),
        limits.join(" "),
        state.to_owned(),
    ]
}

fn unix_ms(time: SystemTime) -> Result<u64, Failure> {
    let since = time.duration_since(UNIX_EPOCH).ok();
    since
        .and_then(|since| u64::try_from(since.as_millis()).ok())
        .ok_or_else(|| Failure::new(Exit::Failed, "the clock is before 1970"))
}
