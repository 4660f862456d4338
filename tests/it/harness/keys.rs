//! The files with which a broker is secured: users, tokens, certificates.

use super::Ran;
use pyroxene_certs::{
    CertificateAuthority, CertificateRequest, CertificateRole, IssuedCertificate,
};
use pyroxene_common::tls::{KeyPairFiles, TlsClient};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// The users file, its tokens, an authority and its certificates, in one directory: `users.toml`,
/// `NAME.token`, `ca.crt`, `NAME.crt`, `NAME.key`.
pub(crate) struct Keys {
    dir: PathBuf,
    authority: CertificateAuthority,
}

impl Keys {
    /// A directory with a new authority and no users.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self::of(dir, CertificateAuthority::in_memory().unwrap())
    }

    /// The same, with a certain authority.
    pub(crate) fn of(dir: &Path, authority: CertificateAuthority) -> Self {
        authority.save(dir).unwrap();
        Self {
            dir: dir.to_owned(),
            authority,
        }
    }

    /// A file in the directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().to_owned()
    }

    /// Runs `pyroxene users` on the users file.
    pub(crate) async fn users(&self, arguments: &[&str]) -> Ran {
        let all = [&["users"], arguments, &["--users", "users.toml"]].concat();
        Ran::in_dir(&self.dir, &all).await
    }

    /// Adds a user, who may use these patterns; all if there are none. Returns the token.
    pub(crate) async fn add(&self, name: &str, role: &str, allow: &[&str]) -> String {
        let mut arguments = vec!["add", name, "--role", role];
        for pattern in allow {
            arguments.extend(["--allow", pattern]);
        }
        self.keep_token(name, &self.users(&arguments).await)
    }

    /// Gives a user a new token, and returns it.
    pub(crate) async fn rotate(&self, name: &str) -> String {
        self.keep_token(name, &self.users(&["rotate", name]).await)
    }

    fn keep_token(&self, name: &str, ran: &Ran) -> String {
        let token = ran.out().to_owned();
        write_private(self.path(&format!("{name}.token")), &token);
        token
    }

    /// The token that a user was given last.
    pub(crate) fn token(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.token"))).unwrap()
    }

    /// Makes a certificate for everybody on this machine.
    pub(crate) fn issue(&self, name: &str, role: Option<CertificateRole>) {
        let mut request = CertificateRequest::new(name);
        request.role = role;
        self.issue_as(name, &request);
    }

    /// Makes a certificate as asked for, in the files of this name.
    pub(crate) fn issue_as(&self, files: &str, request: &CertificateRequest) {
        self.replace(files, &self.authority.issue(request).unwrap());
    }

    /// Puts a certificate, and its key, in the place of another.
    pub(crate) fn replace(&self, files: &str, issued: &IssuedCertificate) {
        issued.save(&self.dir, files, true).unwrap();
    }

    /// Flags that trust the authority.
    pub(crate) fn trust(&self) -> Vec<String> {
        vec!["--tls-ca".to_owned(), self.path("ca.crt")]
    }

    /// Flags that show a certificate.
    pub(crate) fn show(&self, name: &str) -> Vec<String> {
        let file = |extension| self.path(&format!("{name}.{extension}"));
        ["--tls-cert", &file("crt"), "--tls-key", &file("key")]
            .map(str::to_owned)
            .to_vec()
    }

    /// Flags that log a user in.
    pub(crate) fn log_in(&self, name: &str) -> Vec<String> {
        let file = self.path(&format!("{name}.token"));
        ["--user", name, "--token-file", &file]
            .map(str::to_owned)
            .to_vec()
    }

    /// What a library client needs to trust the authority, and to show a certificate if one is
    /// named.
    pub(crate) fn tls(&self, certificate: Option<&str>) -> TlsClient {
        let own = certificate.map(|name| KeyPairFiles {
            certificate: self.path(&format!("{name}.crt")).into(),
            key: self.path(&format!("{name}.key")).into(),
        });
        TlsClient::new(self.path("ca.crt").into(), own).unwrap()
    }
}

/// Writes a file that only this user may read: what holds a token has to be one.
pub(crate) fn write_private(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let mut file = pyroxene_common::private_file::create(path.as_ref()).unwrap();
    file.write_all(content.as_ref()).unwrap();
}
