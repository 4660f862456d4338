use super::*;
use std::{collections::BTreeMap, sync::Mutex};

/// Names in memory.
#[derive(Debug, Default)]
struct Remembered(Mutex<BTreeMap<String, NameEntry>>);

impl Names for Remembered {
    fn find(&self, name: String) -> BoxFuture<'_, Result<Option<NameEntry>, PyException>> {
        let found = self.0.lock().unwrap().get(&name).cloned();
        Box::pin(async { Ok(found) })
    }

    fn all(&self, prefix: String) -> BoxFuture<'_, Result<Vec<NameEntry>, PyException>> {
        let names = self.0.lock().unwrap();
        let found = names
            .values()
            .filter(|entry| entry.name.starts_with(&prefix))
            .cloned();
        let found = found.collect();
        Box::pin(async { Ok(found) })
    }

    fn register(
        &self,
        name: String,
        uri: String,
        tags: Vec<String>,
    ) -> BoxFuture<'_, Result<(), PyException>> {
        let entry = NameEntry {
            name: name.clone(),
            instances: vec![NamedInstance {
                uri,
                tags,
                is_live: true,
                load: 0,
            }],
            is_registered: true,
        };
        self.0.lock().unwrap().insert(name, entry);
        Box::pin(async { Ok(()) })
    }

    fn set_tags(&self, name: String, tags: Vec<String>) -> BoxFuture<'_, Result<(), PyException>> {
        if let Some(entry) = self.0.lock().unwrap().get_mut(&name) {
            entry.instances[0].tags = tags;
        }
        Box::pin(async { Ok(()) })
    }

    fn remove(&self, name: String) -> BoxFuture<'_, Result<bool, PyException>> {
        let was_there = self.0.lock().unwrap().remove(&name).is_some();
        Box::pin(async move { Ok(was_there) })
    }
}

fn server() -> (PyroNameServer, Arc<Remembered>) {
    let names = Arc::new(Remembered::default());
    let server = PyroNameServer::new(Arc::clone(&names) as Arc<dyn Names>);
    server.listens_at("127.0.0.1:9090".parse().unwrap());
    (server, names)
}

fn text(value: &str) -> PyValue {
    PyValue::str(value)
}

fn texts(values: &[&str]) -> PyValue {
    PyValue::List(values.iter().map(|value| PyValue::str(*value)).collect())
}

impl PyroNameServer {
    async fn ask(
        &self,
        method: &str,
        positional: Vec<PyValue>,
        named: Vec<(&str, PyValue)>,
    ) -> String {
        let named = named
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        let call = PyroCall {
            object: OBJECT.to_owned(),
            method: method.to_owned(),
            positional,
            named: named.collect(),
            caller: Arc::default(),
        };
        match PyroObjects::call(self, call).await {
            Ok(PyroAnswer::Value(value)) => value.to_string(),
            Ok(PyroAnswer::Items(_)) => "items".to_owned(),
            Err(CallError::Raised(raised)) => raised.to_string(),
            Err(CallError::Hangup) => "hangup".to_owned(),
        }
    }
}

#[tokio::test]
async fn names_are_registered_found_and_removed_as_in_pyro() {
    let (server, _) = server();
    let uri = text("PYRO:o@host:1234");
    assert_eq!(server.ask("ping", vec![], vec![]).await, "None");
    let named = vec![("safe", PyValue::Bool(false)), ("metadata", texts(&["t"]))];
    assert_eq!(
        server
            .ask("register", vec![text("a"), uri.clone()], named)
            .await,
        "None"
    );
    let found = "{'__class__': 'Pyro5.core.URI', 'state': ('PYRO', 'o', None, 'host', 1234)}";
    // The delay of `resolve` comes in the place of `return_metadata`.
    let lookup = server
        .ask("lookup", vec![text("a"), PyValue::Float(0.0)], vec![])
        .await;
    assert_eq!(lookup, found);
    let with = vec![("return_metadata", PyValue::Bool(true))];
    let lookup = server.ask("lookup", vec![text("a")], with.clone()).await;
    assert_eq!(lookup, format!("({found}, {{'t'}})"));
    let listed = server.ask("list", vec![], with.clone()).await;
    assert_eq!(
        listed,
        "{'Pyro.NameServer': ('PYRO:Pyro.NameServer@127.0.0.1:9090', \
         {'class:Pyro5.nameserver.NameServer'}), 'a': ('PYRO:o@host:1234', {'t'})}"
    );
    for (all, answer) in [
        (texts(&["t"]), "{'a': ('PYRO:o@host:1234', {'t'})}"),
        (texts(&["t", "u"]), "{}"),
        (texts(&[]), "{}"),
    ] {
        assert_eq!(
            server
                .ask("yplookup", vec![], vec![("meta_all", all)])
                .await,
            answer
        );
    }
    let any = vec![text("x"), PyValue::None, PyValue::Bool(false)];
    assert_eq!(
        server.ask("yplookup", any, vec![]).await,
        "TypeError: metadata_all should not be a str, but another iterable (set, list, etc)"
    );
    let any = vec![PyValue::None, texts(&["t", "u"]), PyValue::Bool(false)];
    assert_eq!(
        server.ask("yplookup", any, vec![]).await,
        "{'a': 'PYRO:o@host:1234'}"
    );
    assert_eq!(server.ask("count", vec![], vec![]).await, "2");
    let safe = vec![text("a"), uri, PyValue::Bool(true)];
    assert_eq!(
        server.ask("register", safe, vec![]).await,
        "Pyro5.errors.NamingError: name already registered: a"
    );
    assert_eq!(
        server
            .ask("set_metadata", vec![text("a"), texts(&["n"])], vec![])
            .await,
        "None"
    );
    let tags = server.ask("lookup", vec![text("a")], with).await;
    assert!(tags.ends_with("{'n'})"), "{tags}");
    assert_eq!(server.ask("remove", vec![text("a")], vec![]).await, "1");
    assert_eq!(server.ask("remove", vec![text("a")], vec![]).await, "0");
    assert_eq!(server.ask("remove", vec![text(OBJECT)], vec![]).await, "0");
    assert_eq!(
        server.ask("lookup", vec![text("a")], vec![]).await,
        "Pyro5.errors.NamingError: unknown name: a"
    );
}

#[tokio::test]
async fn prefixes_are_literal_and_regular_expressions_begin_at_the_start() {
    let (server, _) = server();
    for name in ["b", "bcd", "abc", "a_c"] {
        server
            .ask("register", vec![text(name), text("PYRO:o@h:1")], vec![])
            .await;
    }
    let names = async |key: &str, value: &str| {
        let listed = server.ask("list", vec![], vec![(key, text(value))]).await;
        let names: Vec<_> = listed
            .split('\'')
            .skip(1)
            .step_by(4)
            .map(str::to_owned)
            .collect();
        names.join(" ")
    };
    assert_eq!(names("regex", "b").await, "b bcd");
    assert_eq!(names("regex", ".*c$").await, "a_c abc");
    assert_eq!(names("prefix", "a_").await, "a_c");
    assert_eq!(names("prefix", "").await, "Pyro.NameServer a_c abc b bcd");
    let both = vec![("prefix", text("a")), ("regex", text("b"))];
    assert_eq!(
        server.ask("list", vec![], both).await,
        "ValueError: you can only filter on one thing at a time"
    );
    let bad = server.ask("list", vec![], vec![("regex", text("("))]).await;
    assert!(
        bad.starts_with("Pyro5.errors.NamingError: invalid regex: "),
        "{bad}"
    );
    let all = vec![("regex", text(".*"))];
    assert_eq!(server.ask("remove", vec![], all).await, "4");
    assert_eq!(server.ask("count", vec![], vec![]).await, "1");
}

#[tokio::test]
async fn wrong_arguments_have_the_errors_of_pyro() {
    let (server, _) = server();
    let uri = || text("PYRO:o@h:1");
    for (method, arguments, error) in [
        (
            "lookup",
            vec![PyValue::Int(5)],
            "TypeError: can only concatenate str (not \"int\") to str",
        ),
        (
            "lookup",
            vec![],
            "TypeError: NameServer.lookup() missing 1 required positional argument: 'name'",
        ),
        (
            "register",
            vec![PyValue::Int(5), uri()],
            "TypeError: name must be a str",
        ),
        (
            "register",
            vec![text("a"), PyValue::Int(5)],
            "TypeError: only URIs or strings can be registered",
        ),
        (
            "register",
            vec![text("a"), text("x")],
            "Pyro5.errors.PyroError: invalid uri",
        ),
        (
            "register",
            vec![text("a"), uri(), PyValue::Bool(false), text("t")],
            "TypeError: metadata should not be a str, but another iterable (set, list, etc)",
        ),
        (
            "register",
            vec![text("a"), uri(), PyValue::Bool(false), PyValue::Int(3)],
            "TypeError: 'int' object is not iterable",
        ),
        (
            "set_metadata",
            vec![text("a"), texts(&["t"])],
            "Pyro5.errors.NamingError: unknown name: a",
        ),
        (
            "ping",
            vec![PyValue::None],
            "TypeError: NameServer.ping() got 1 positional arguments too many",
        ),
    ] {
        assert_eq!(server.ask(method, arguments, vec![]).await, error);
    }
}

#[tokio::test]
async fn look_ups_spread_over_live_instances_in_turn() {
    let (server, names) = server();
    let instance = |port: u16, is_live, load| NamedInstance {
        uri: format!("PYRO:o@h:{port}"),
        tags: Vec::new(),
        is_live,
        load,
    };
    let instances = vec![
        instance(1, true, 0),
        instance(2, false, 0),
        instance(3, true, 3),
        instance(4, true, 50),
    ];
    let entry = NameEntry {
        name: "o".to_owned(),
        instances,
        is_registered: false,
    };
    names.0.lock().unwrap().insert("o".to_owned(), entry);
    let mut seen = Vec::new();
    for _ in 0..6 {
        let found = server.ask("lookup", vec![text("o")], vec![]).await;
        seen.push(
            found
                .rsplit(' ')
                .next()
                .unwrap()
                .trim_end_matches(")}")
                .to_owned(),
        );
    }
    seen.sort();
    assert_eq!(seen.join(""), "111333");
}
