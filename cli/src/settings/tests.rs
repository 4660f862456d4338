use super::*;
use clap::Args;
use std::io::Write;

#[derive(Debug, Args)]
struct Flags {
    #[arg(long, env = "PYROXENE_LISTEN")]
    listen: Option<String>,
    #[arg(long)]
    workers: Option<u16>,
    #[arg(long)]
    insecure: bool,
    #[arg(long, value_parser = clap::builder::BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pyro: Option<bool>,
    #[arg(long, value_delimiter = ',')]
    tag: Vec<String>,
    #[arg(long, num_args = 0..=1, default_missing_value = "0.0.0.0:9091")]
    broadcast: Option<String>,
    #[arg(long, hide_env_values = true)]
    store: Option<String>,
    #[arg(long, requires = "workers")]
    share: Option<u16>,
    #[arg(long, hide = true)]
    internal: bool,
}

fn command() -> Command {
    Flags::augment_args(Command::new("daemon"))
}

fn file(text: &str) -> SettingsText {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    SettingsText::read(file.path()).unwrap()
}

/// The words of the settings in a text, or the first thing wrong.
fn words(text: &str) -> Result<Vec<String>, String> {
    let file = file(text);
    let table = file.parse().map_err(|mistake| mistake.sentence)?;
    let mut words = Vec::new();
    for (key, value) in &table {
        let setting = file.setting(key.get_ref(), value, &command());
        let setting = setting.ok_or_else(|| format!("no {}", key.get_ref()))?;
        words.extend(setting.map_err(|mistake| mistake.sentence)?.words);
    }
    Ok(words)
}

#[test]
fn each_kind_of_value_is_the_words_of_its_flag() {
    for (text, expected) in [
        ("listen = '127.0.0.1:1'", &["--listen=127.0.0.1:1"][..]),
        ("workers = 3", &["--workers=3"]),
        ("workers = '3'", &["--workers=3"]),
        ("insecure = true", &["--insecure"]),
        ("insecure = false", &[]),
        ("pyro = false", &["--pyro=false"]),
        ("pyro = 'off'", &["--pyro=off"]),
        ("tag = ['a', 'b']", &["--tag=a", "--tag=b"]),
        ("tag = 'a'", &["--tag=a"]),
        ("broadcast = true", &["--broadcast"]),
        ("broadcast = '0.0.0.0:1'", &["--broadcast=0.0.0.0:1"]),
        ("share = 4", &["--share=4"]),
    ] {
        assert_eq!(words(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn a_wrong_value_is_a_sentence_with_its_key() {
    for (text, expected) in [
        (
            "listen = true",
            "listen: it is a boolean, but has to be a string or a number",
        ),
        (
            "insecure = 'yes'",
            "insecure: it is a string, but has to be true or false",
        ),
        (
            "pyro = []",
            "pyro: it is an array, but has to be true or false",
        ),
        (
            "tag = [1, {}]",
            "tag: it is a table, but has to be a string, or an array of strings",
        ),
        (
            "listen = ''",
            "listen: it is empty; give it a value, or remove the line",
        ),
        (
            "tag = []",
            "tag: it is empty; give it a value, or remove the line",
        ),
        ("internal = true", "no internal"),
        (
            "store = 'postgres:/u:secret@h/d'",
            "store: a database is given as sqlite:FILE or postgres://USER@HOST/DATABASE; a store can also be memory:",
        ),
    ] {
        assert_eq!(words(text).unwrap_err(), expected, "{text}");
    }
    let token = format!("prx_{}", "A".repeat(43));
    let error = words(&format!("listen = '{token}'")).unwrap_err();
    assert!(error.starts_with("listen: it is a token; "), "{error}");
    assert!(!error.contains(&token), "{error}");
    let error = words("workers = 70000").unwrap_err();
    assert!(
        error.starts_with("workers: invalid value '70000'"),
        "{error}"
    );
}

#[test]
fn a_mistake_in_the_syntax_does_not_quote_the_line() {
    let text = file("\nstore = 'postgres://u:secret@h/d");
    let mistake = text.parse().unwrap_err();
    assert_eq!(mistake.line, Some(2));
    assert!(!mistake.sentence.contains("secret"), "{mistake:?}");
}

#[test]
fn a_file_that_others_can_write_is_refused_and_one_with_a_password_that_they_can_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "store = 'postgres://u:secret@h/d'").unwrap();
    let set_mode = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(file.path(), mode).unwrap();
    };
    set_mode(0o660);
    let failure = SettingsText::read(file.path()).err().unwrap();
    assert!(failure.message.unwrap().contains("can write"));
    for (mode, is_accepted) in [(0o644, false), (0o600, true)] {
        set_mode(mode);
        let text = SettingsText::read(file.path()).unwrap();
        let table = text.parse().unwrap();
        let settings = table.iter().map(|(key, value)| {
            let setting = text.setting(key.get_ref(), value, &command());
            setting.unwrap().unwrap()
        });
        let settings: Vec<_> = settings.collect();
        let checked = text.check_passwords(&settings);
        assert_eq!(checked.is_ok(), is_accepted, "{mode:o}: {checked:?}");
    }
}

#[test]
fn flags_and_variables_override_settings_and_a_token_stays_with_its_user() {
    let client = || {
        Command::new("client")
            .arg(Arg::new("listen").long("listen"))
            .arg(Arg::new("user").long("user"))
            .arg(Arg::new("token_file").long("token-file"))
            .arg(Arg::new("tls_cert").long("tls-cert"))
            .arg(Arg::new("tls_key").long("tls-key"))
    };
    let setting = |id: &str, word: &str| Setting {
        id: id.to_owned(),
        line: 1,
        words: vec![word.to_owned()],
        holds_password: false,
    };
    let file = FileSettings {
        path: PathBuf::new(),
        settings: vec![
            setting("listen", "--listen=a"),
            setting("user", "--user=ana"),
            setting("token_file", "--token-file=ana.token"),
            setting("tls_cert", "--tls-cert=c"),
            setting("tls_key", "--tls-key=k"),
        ],
    };
    let words = |line: &[&str], has_token: bool| {
        let given = client().get_matches_from([&["client"], line].concat());
        let variable = |name: &str| (has_token && name == TOKEN_VARIABLE).then(|| "t".into());
        file.clone().counting(&given, &variable).words()
    };
    let pair = ["--tls-cert=c", "--tls-key=k"];
    let login = ["--listen=a", "--user=ana", "--token-file=ana.token"];
    let with_pair = |words: &[&'static str]| [words, &pair].concat();
    assert_eq!(words(&[], false), with_pair(&login));
    assert_eq!(words(&["--listen=b"], false), with_pair(&login[1..]));
    assert_eq!(words(&["--user=bob"], false), with_pair(&login[..1]));
    assert_eq!(words(&[], true), with_pair(&login[..2]));
    assert_eq!(words(&["--token-file=x"], false), with_pair(&login[..2]));
    // A key is that of its certificate.
    assert_eq!(words(&["--tls-cert=other"], false), login);
    assert_eq!(words(&["--tls-key=other"], false), login);
}
