//! The flags of every command and daemon for certificates, trust and logins.

use crate::{
    failure::{Exit, Failure},
    units::duration,
};
use clap::Args;
use pyroxene_client::{ClientConfig, Credentials};
use pyroxene_common::{
    endpoint::Endpoint,
    identity::looks_like_token,
    private_file,
    reload::{Reload, reload_on_hangup},
    tls::{ClientAuth, KeyPairFiles, TlsClient, TlsFileError, TlsServer},
};
use pyroxene_nameserver::CertificatePolicy;
use std::{
    env, fs,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    time::Duration,
};

/// The environment variable that holds a token, if it is not in a file.
pub(crate) const TOKEN_VARIABLE: &str = "PYROXENE_TOKEN";

/// The largest size of a token file, in bytes.
const MAX_TOKEN_FILE: u64 = 4096;

/// The certificate of this process, and the authorities that it trusts.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct TlsArguments {
    /// The certificate of this process, with those between it and the authority (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "PYROXENE_TLS_CERT",
        requires = "tls_key"
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of that certificate (PEM)
    #[arg(
        long,
        value_name = "FILE",
        env = "PYROXENE_TLS_KEY",
        requires = "tls_cert"
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// The authorities whose certificates are trusted (PEM); turns TLS on for outgoing connections
    #[arg(long, value_name = "FILE", env = "PYROXENE_TLS_CA")]
    pub(crate) tls_ca: Option<PathBuf>,
}

/// The user to log in as.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct LoginArguments {
    /// The user to log in as; the token comes from --token-file, PYROXENE_TOKEN or a prompt
    #[arg(long, value_name = "NAME", env = "PYROXENE_USER")]
    pub(crate) user: Option<String>,
    /// The file that holds the user's token
    #[arg(
        long,
        value_name = "FILE",
        env = "PYROXENE_TOKEN_FILE",
        requires = "user"
    )]
    pub(crate) token_file: Option<PathBuf>,
}

/// Whether daemons require certificates of clients.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct ClientAuthArguments {
    /// Whether clients need certificates: none, optional or required
    #[arg(
        long,
        value_name = "WHO",
        env = "PYROXENE_TLS_CLIENT_AUTH",
        default_value_t
    )]
    pub(crate) tls_client_auth: ClientAuth,
}

/// How a name server authenticates users.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Security")]
pub(crate) struct UsersArguments {
    /// The file with the users who may log in; turns authentication on
    #[arg(long, value_name = "FILE", env = "PYROXENE_USERS")]
    pub(crate) users: Option<PathBuf>,
    /// Whose certificates are accepted with --users: those of names in the file ('listed'), or also those of
    /// others ('any'), with the role in the certificate, unless 'pyroxene users revoke NAME --certificate'
    /// has revoked the name
    #[arg(
        long,
        value_name = "WHOSE",
        env = "PYROXENE_CERTIFICATES",
        default_value = "listed"
    )]
    pub(crate) certificates: CertificatePolicy,
    /// How long a login is valid; clients renew it by themselves
    #[arg(long, value_name = "TIME", env = "PYROXENE_TICKET_LIFE", default_value = "10m", value_parser = ticket_life)]
    pub(crate) ticket_life: Duration,
}

fn ticket_life(text: &str) -> Result<Duration, String> {
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(24 * 60 * 60));
    let life = duration(text)?;
    if (least..=most).contains(&life) {
        return Ok(life);
    }
    Err("it is not between 1s and 24h".to_owned())
}

impl TlsArguments {
    fn own_key_pair(&self) -> Option<KeyPairFiles> {
        let (certificate, key) = (self.tls_cert.clone()?, self.tls_key.clone()?);
        Some(KeyPairFiles { certificate, key })
    }

    /// The settings for outgoing connections with TLS, if it is on.
    pub(crate) fn client(&self) -> Result<Option<TlsClient>, Failure> {
        match &self.tls_ca {
            Some(authorities) => Ok(Some(TlsClient::new(
                authorities.clone(),
                self.own_key_pair(),
            )?)),
            None => Ok(None),
        }
    }

    /// The settings for incoming connections with TLS, if it is on.
    pub(crate) fn server(
        &self,
        demand: &ClientAuthArguments,
    ) -> Result<Option<TlsServer>, Failure> {
        let client_auth = demand.tls_client_auth;
        let asks = client_auth != ClientAuth::None;
        match self.own_key_pair() {
            None if asks => Err(Failure::usage(format!(
                "--tls-client-auth {client_auth} needs TLS"
            ))
            .hint("add --tls-cert FILE and --tls-key FILE")),
            None => Ok(None),
            Some(_) if asks && self.tls_ca.is_none() => Err(Failure::usage(format!(
                "--tls-client-auth {client_auth} needs the authorities whose certificates are trusted"
            ))
            .hint("add --tls-ca FILE")),
            Some(own) => Ok(Some(TlsServer::new(own, self.tls_ca.clone(), client_auth)?)),
        }
    }
}

impl From<TlsFileError> for Failure {
    fn from(error: TlsFileError) -> Self {
        Self::usage(error.to_string())
    }
}

impl LoginArguments {
    /// The user and the token, if there is a user.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, Failure> {
        match &self.user {
            Some(user) => Ok(Some(Credentials::new(user, &self.token(user)?))),
            None => Ok(None),
        }
    }

    /// The token of the user, if there is one.
    pub(crate) fn token_for_children(&self) -> Result<Option<String>, Failure> {
        self.user.as_ref().map(|user| self.token(user)).transpose()
    }

    fn token(&self, user: &str) -> Result<String, Failure> {
        if looks_like_token(user) {
            let mixed_up = "--user has a token as its value, but needs the name of the user";
            return Err(Failure::usage(mixed_up).hint(format!(
                "give the token with --token-file FILE or {TOKEN_VARIABLE}"
            )));
        }
        let token = match &self.token_file {
            Some(path) => read_token(path)?,
            // It is not empty: that is an error of every command that logs in.
            None => match env::var(TOKEN_VARIABLE) {
                Ok(token) => token,
                Err(_) => ask_for_token(user)?,
            },
        };
        match token.trim() {
            "" => Err(Failure::usage(format!("the token of '{user}' is empty"))),
            token => Ok(token.to_owned()),
        }
    }
}

fn read_token(path: &Path) -> Result<String, Failure> {
    let unreadable = |error: io::Error| {
        let path = path.display();
        Failure::usage(format!("cannot read the token in {path}: {error}"))
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    private_file::check(path, &metadata).map_err(|error| Failure::usage(error.to_string()))?;
    let mut token = String::new();
    let read = file.take(MAX_TOKEN_FILE + 1).read_to_string(&mut token);
    match read.map_err(unreadable)? as u64 {
        ..=MAX_TOKEN_FILE => Ok(token),
        _ => Err(unreadable(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is too large for a token",
        ))),
    }
}

fn ask_for_token(user: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("there is no token for '{user}'")).hint(format!(
                "give --token-file FILE, or set {TOKEN_VARIABLE}; 'pyroxene users add' prints it"
            )),
        );
    }
    rpassword::prompt_password(format!("token of {user}: "))
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot ask for the token: {error}")))
}

/// The environment variable for a child process that needs a token.
pub(crate) fn token_variable(token: String) -> (&'static str, String) {
    (TOKEN_VARIABLE, token)
}

/// Adds TLS and the login to the configuration of a client.
pub(crate) fn with_security(
    config: ClientConfig,
    tls: &TlsArguments,
    login: &LoginArguments,
) -> Result<ClientConfig, Failure> {
    if tls.tls_cert.is_some() && tls.tls_ca.is_none() {
        return Err(
            Failure::usage("a certificate is of no use without TLS").hint("add --tls-ca FILE")
        );
    }
    let mut config = config;
    if let Some(tls) = tls.client()? {
        config = config.tls(tls);
    }
    if let Some(credentials) = login.credentials()? {
        config = config.credentials(credentials);
    }
    Ok(config)
}

/// The protection of a daemon's port.
pub(crate) struct PortProtection<'a> {
    pub(crate) tls: bool,
    pub(crate) authentication: bool,
    /// The flags that would turn authentication on.
    pub(crate) flags: &'a str,
}

impl PortProtection<'_> {
    /// Refuses an address that other machines can reach, unless the port is protected or `insecure` is set.
    pub(crate) fn check(&self, listen: &Endpoint, insecure: bool) -> Result<(), Failure> {
        let missing = match (self.tls, self.authentication) {
            _ if insecure || listen.is_local() => return Ok(()),
            (true, true) => return Ok(()),
            (false, false) => "TLS and authentication",
            (false, true) => "TLS",
            (true, false) => "authentication",
        };
        let mut flags = Vec::new();
        if !self.tls {
            flags.push("--tls-cert FILE --tls-key FILE");
        }
        if !self.authentication {
            flags.push(self.flags);
        }
        let sentence = format!("other machines could reach {listen} without {missing}");
        Err(Failure::usage(sentence).hint(format!(
            "add {}; or listen on 127.0.0.1; or add --insecure if everybody there may do everything",
            flags.join(" and ")
        )))
    }
}

/// Reads certificates and users again on SIGHUP, until the process ends.
pub(crate) fn watch_hangups(everything: Vec<Box<dyn Reload>>) {
    tokio::spawn(async {
        if let Err(error) = reload_on_hangup(everything).await {
            tracing::warn!(%error, "cannot listen for SIGHUP");
        }
    });
}
