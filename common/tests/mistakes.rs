//! Mistakes in `interface!`: what the compiler says of them, and of which line.
//!
//! A user sees the macro's errors through the compiler, so it is what these tests ask, with the libraries that they were
//! built with. A text of the compiler's own may change with its version: of those, the part that matters is expected.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets a surprise should end"
)]

use serde::Deserialize;
use std::{
    env, fs,
    io::Write,
    iter,
    path::PathBuf,
    process::{Command, Stdio},
    sync::LazyLock,
};

/// What stands before each program here.
const BEGIN: &str = "#![allow(dead_code, unused_imports)]
use pyroxene_common::{Stream, interface};
use serde::{Deserialize, Serialize};
";

/// A message of the compiler, in its JSON.
#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    message: String,
    code: Option<Code>,
    spans: Vec<Span>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    line_start: usize,
    is_primary: bool,
    expansion: Option<Box<Expansion>>,
}

/// The call of the macro in which a span is.
#[derive(Deserialize)]
struct Expansion {
    span: Span,
}

impl Span {
    /// The number of its line in the program.
    fn line(&self) -> Option<usize> {
        match &self.expansion {
            _ if self.file_name == "<anon>" => Some(self.line_start),
            Some(expansion) => expansion.span.line(),
            None => None,
        }
    }
}

impl Diagnostic {
    /// Its line of the program, its text and its code.
    fn show(&self, program: &str) -> String {
        let primary = self.spans.iter().find(|span| span.is_primary);
        let number = primary.and_then(Span::line);
        let line = number.and_then(|number| program.lines().nth(number - 1));
        let code = self.code.as_ref().map_or("", |code| &code.code);
        let (line, level) = (line.unwrap_or_default().trim(), &self.level);
        format!("{line} => {level}: {} {code}", self.message)
    }
}

/// The folder of the libraries that this test was built with.
fn libraries() -> PathBuf {
    env::current_exe().unwrap().parent().unwrap().to_owned()
}

/// The builds of a library by this compiler, the newest first: there is one for each set of its features.
fn builds(library: &str) -> Vec<String> {
    let prefix = format!("lib{library}-");
    let is_build = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with(&prefix) && name.ends_with(".rlib")
    };
    let folder = libraries();
    let files = fs::read_dir(&folder).unwrap();
    let mut builds: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(is_build)
        .collect();
    builds.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().modified().unwrap()));
    let mut builds: Vec<String> = builds
        .iter()
        .map(|path| format!("--extern={library}={}", path.display()))
        .collect();
    let program = format!("extern crate {library};");
    builds.retain(|build| {
        let said = compile(&program, std::slice::from_ref(build));
        // The code of "compiled by an incompatible version of rustc".
        !said.iter().any(|said| said.ends_with("E0514"))
    });
    assert!(
        !builds.is_empty(),
        "{} has no build of {library} by {}",
        folder.display(),
        compiler().display()
    );
    builds
}

/// The compiler that has built this test: that of the `cargo` that runs it, unless another one is named.
fn compiler() -> PathBuf {
    let named = env::var_os("RUSTC").map(PathBuf::from);
    let beside_cargo = || {
        let cargo = PathBuf::from(env::var_os("CARGO")?);
        let compiler = cargo.with_file_name(format!("rustc{}", env::consts::EXE_SUFFIX));
        compiler.is_file().then_some(compiler)
    };
    named.or_else(beside_cargo).unwrap_or("rustc".into())
}

fn is_error(said: &str) -> bool {
    said.contains(" => error: ")
}

/// A program without mistakes.
const CORRECT: &str = r#"
#[derive(Debug, Serialize, Deserialize)]
struct Inner;
interface! {
    /// Greets.
    #[name = "Example.Greeter"]
    #[version = 2]
    trait Greeter in greeter {
        /// A greeting.
        #[idempotent]
        async fn hello(name: String, #[since = 2] title: Option<String>) -> Result<String, Vec<u16>>;
        #[deprecated(note = "use hello")]
        #[since = 2]
        async fn lines(texts: Stream<String>) -> Stream<String>;
    }
}
fn is_serialized<T: Serialize>(_: T) {}
fn check() { is_serialized(greeter::GreeterRequest::Hello { name: String::new(), title: None }); }
"#;

/// The libraries of a user's program. The newest build of our own has the macro as it is now; of the others those that
/// belong to it.
static EXTERNS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let own = builds("pyroxene_common").swap_remove(0);
    let (tarpc, serde) = (builds("tarpc"), builds("serde"));
    let mut said = Vec::new();
    for (tarpc, serde) in tarpc
        .iter()
        .flat_map(|tarpc| iter::repeat(tarpc).zip(&serde))
    {
        let externs = [&own, tarpc, serde].map(String::clone).to_vec();
        said = compile_user(CORRECT, &externs);
        if !said.iter().any(|said| is_error(said)) {
            return externs;
        }
    }
    panic!("no libraries fit the newest {own}: {said:#?}");
});

/// What the compiler says of a user's program.
fn compile_user(program: &str, externs: &[String]) -> Vec<String> {
    compile(&format!("{BEGIN}{program}"), externs)
}

/// What the compiler says of a program.
fn compile(program: &str, externs: &[String]) -> Vec<String> {
    let out = tempfile::tempdir().unwrap();
    let mut compiler = Command::new(compiler())
        .args(["--edition=2024", "--crate-type=lib", "--crate-name=user"])
        .args(["--emit=metadata", "--error-format=json"])
        .arg(format!("-Ldependency={}", libraries().display()))
        .args(externs)
        .arg("--out-dir")
        .arg(out.path())
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = compiler.stdin.take().unwrap();
    input.write_all(program.as_bytes()).unwrap();
    drop(input);
    let output = compiler.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said}")))
        // The others only count the errors.
        .filter(|said: &Diagnostic| !said.spans.is_empty())
        .map(|said| said.show(program))
        .collect()
}

/// The compiler says so much of a program, and no more: of each line that is expected, in this order, a text that has all
/// of these words.
fn says(program: &str, expected: &[(&str, &[&str])]) {
    let said = compile_user(program, &EXTERNS);
    let matches = |(said, (line, words)): (&String, &(&str, &[&str]))| {
        said.starts_with(&format!("{line} => ")) && words.iter().all(|words| said.contains(words))
    };
    let is_expected = said.len() == expected.len() && said.iter().zip(expected).all(matches);
    assert!(
        is_expected,
        "expected {expected:#?}, of {program}\nbut it says {said:#?}"
    );
}

/// The same of an interface, in whose macro is one error.
fn refuses(interface: &str, text: &str) {
    let program = format!("interface! {{ {interface} }}");
    let first = program.lines().next().unwrap();
    says(&program, &[(first, &["error: ", text])]);
}

/// The same of these methods of an interface of version 2.
fn refuses_method(methods: &str, text: &str) {
    let head = r#"#[name = "Example.Greeter"] #[version = 2] trait Greeter in greeter"#;
    refuses(&format!("{head} {{ {methods} }}"), text);
}

#[test]
fn a_program_without_mistakes_is_compiled() {
    says(CORRECT, &[]);
}

#[test]
fn the_head_of_an_interface_says_what_is_missing() {
    let hello = "async fn hello(name: String) -> String;";
    refuses(
        &format!("#[name = \"A.B\"] #[version = 1] trait Greeter {{ {hello} }}"),
        "interface!: the module is missing: `trait Greeter in MODULE`",
    );
    refuses(
        &format!("#[name = \"A.B\"] trait Greeter in greeter {{ {hello} }}"),
        "interface!: `#[version = 1]` is missing after `#[name = …]`",
    );
    let begins = "interface!: an interface begins with `#[name = \"Example.Greeter\"] #[version = 1] \
                  pub trait Greeter in greeter`";
    refuses(
        &format!("#[version = 1] trait Greeter in greeter {{ {hello} }}"),
        begins,
    );
    refuses(
        &format!("#[version = 1] #[name = \"A.B\"] trait Greeter in greeter {{ {hello} }}"),
        begins,
    );
}

#[test]
fn a_method_that_cannot_be_read_is_named_and_told_why() {
    let form = ": a method is `async fn name(parameter: Type) -> Type;`";
    for (method, what) in [
        (
            "async fn hello(&self, name: String);",
            "is declared without `&self`",
        ),
        ("async fn hello(&mut self);", "is declared without `&self`"),
        ("async fn hello(self) -> u8;", "is declared without `self`"),
        ("async fn hello<T>(name: T) -> T;", "has no generics"),
        (
            "fn hello(name: String) -> String;",
            "begins with `async fn`",
        ),
        (
            "async fn hello() -> u8 { 1 }",
            "has no body, but a semicolon at its end",
        ),
        (
            "async fn hello(#[sinse = 2] name: Option<u8>);",
            "has parameters with an attribute other than one `#[since = 2]` each",
        ),
        ("async fn hello(name);", "cannot be read"),
        ("pub async fn hello();", "is declared without `pub`"),
        ("pub(crate) fn hello();", "is declared without `pub`"),
    ] {
        let others = format!("#[idempotent] async fn good(name: String) -> u64; {method}");
        refuses_method(&others, &format!("interface!: `hello` {what}{form}"));
    }
    refuses_method(
        "type Hello;",
        "interface!: an interface has only methods, such as",
    );
}

#[test]
fn an_attribute_that_no_method_has_is_named_once() {
    refuses_method(
        "#[idempotnt] async fn hello();",
        "interface!: a method has no attribute `idempotnt`; it has `idempotent`, `deprecated`, \
         `since = 2` and documentation",
    );
    for (name, value) in [
        ("deprecated", "(note = NOTE)"),
        ("deprecated", "(5)"),
        ("doc", "(hidden)"),
    ] {
        refuses_method(
            &format!("#[{name}{value}] async fn hello();"),
            &format!("interface!: a method has no attribute `{name}"),
        );
    }
    for since in ["since", "since(2)", "since = two"] {
        refuses_method(
            &format!("#[{since}] async fn hello();"),
            "interface!: a method that was added is marked `#[since = 2]`",
        );
    }
}

#[test]
fn marks_of_versions_that_the_wire_cannot_carry_are_refused() {
    for (methods, text) in [
        (
            "#[since = 3] async fn hello();",
            "`#[since]` names a version that the interface does not have yet",
        ),
        (
            "#[since = 1] async fn hello();",
            "`#[since = 1]` marks nothing",
        ),
        (
            "#[since = 2] async fn hello(); async fn goodbye();",
            "methods that were added come after those of earlier versions",
        ),
        (
            "async fn hello(#[since = 2] title: Option<u8>, name: String);",
            "parameters that were added come after those of earlier versions",
        ),
        (
            "async fn hello(#[since = 3] title: Option<u8>);",
            "`#[since]` of a parameter names a version from 2 to that of the interface",
        ),
        (
            "async fn hello(#[since = 2] title: String);",
            "a parameter that a later version added is an `Option`",
        ),
    ] {
        refuses_method(methods, &format!("interface!: {text}"));
    }
}

#[test]
fn a_type_that_cannot_travel_is_named() {
    let order = "#[derive(Debug, Serialize, Deserialize)] struct Order;";
    let interface = |method: &str| {
        format!(
            "{order}\ninterface! {{\n#[name = \"A.B\"] #[version = 1] trait Orders in orders {{\n{method}\n}}\n}}"
        )
    };
    // The number of these errors, and their order, are the compiler's.
    let lacks = |program: &str, line: &str, missing: &str| {
        let said = compile_user(program, &EXTERNS);
        let is_expected =
            |said: &String| is_error(said) && said.starts_with(line) && said.contains(missing);
        assert!(said.iter().any(is_expected), "{said:#?}");
    };
    let parameter = "async fn place(order: Order);";
    let schema = "`Order: schemars::JsonSchema`";
    lacks(&interface(parameter), parameter, schema);
    for result in [
        "async fn last() -> Order;",
        "async fn last() -> Result<Order, String>;",
    ] {
        lacks(&interface(result), "interface! {", schema);
    }
    let elsewhere = interface(parameter).replace(", Serialize, Deserialize", "");
    lacks(&elsewhere, parameter, "`Order: serde::Serialize`");
}

#[test]
fn a_list_of_bytes_is_warned_of_wherever_it_is_slow() {
    let interface = |methods: &str| {
        format!(
            "interface! {{ #[name = \"A.B\"] #[version = 1] trait Files in files {{ {methods} }} }}"
        )
    };
    for method in [
        "async fn write(bytes: Vec<u8>);",
        "async fn read() -> Vec<u8>;",
        "async fn write(bytes: Option<Vec<u8>>);",
        "async fn read() -> Result<Vec<u8>, String>;",
        "async fn read() -> Stream<Vec<u8>>;",
    ] {
        let program = interface(method);
        let warning = "`Vec<u8>` is sent byte by byte; `Blob` is many times as fast";
        says(&program, &[(&*program, &["warning: ", warning])]);
    }
    says(
        &interface("async fn sum(numbers: Vec<u16>) -> Vec<String>;"),
        &[],
    );
}
