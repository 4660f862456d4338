//! The objects of Pyro5's own tests, in Rust: what those tests call has to behave as Python's objects do.

use crate::harness::seconds;
use futures::{future::BoxFuture, stream};
use pyroxene_common::host::{Host, HostConfig};
use pyroxene_pyro::{
    PyValue,
    exception::PyException,
    server::{CallError, Members, PyroAnswer, PyroCall, PyroItems, PyroObjects, PyroProtocol},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;

/// The largest message, in bytes.
const MAX_MESSAGE: usize = 16 << 20;

/// Serves the objects on a port of this process.
pub(super) async fn serve() -> Host {
    let protocol = PyroProtocol::new(Arc::new(TestObjects::default()), MAX_MESSAGE);
    let mut config = HostConfig::new("127.0.0.1:0".parse().unwrap(), "tests");
    config.protocols.push(Arc::new(protocol));
    Host::bind(config, HashMap::new()).await.unwrap()
}

/// An object `something-N` for each test, and the echo server.
#[derive(Debug, Default)]
struct TestObjects {
    /// The attribute `value` of each object.
    values: Mutex<HashMap<String, PyValue>>,
}

const ECHO: &str = "test.echoserver";

const METHODS: [&str; 20] = [
    "getDict",
    "getDictAttr",
    "multiply",
    "divide",
    "ping",
    "echo",
    "blob",
    "oneway_delay",
    "delay",
    "delayAndId",
    "testargs",
    "nonserializableException",
    "oneway_multiply",
    "iterator",
    "generator",
    "response_annotation",
    "new_test_object",
    "__len__",
    "__iter__",
    "__getitem__",
];

const ECHO_METHODS: [&str; 6] = [
    "echo",
    "error",
    "error_with_text",
    "oneway_echo",
    "generator",
    "shutdown",
];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

impl PyroObjects for TestObjects {
    fn ids(&self) -> Vec<String> {
        vec![ECHO.to_owned()]
    }

    fn members(&self, object: &str) -> Option<Arc<Members>> {
        let members = match object {
            ECHO => Some(Members {
                methods: names(&ECHO_METHODS),
                oneway: names(&["oneway_echo"]),
                ..Members::default()
            }),
            _ => object.starts_with("something").then(|| Members {
                methods: names(&METHODS),
                oneway: names(&["oneway_delay", "oneway_multiply"]),
                attributes: names(&["value", "dictionary"]),
            }),
        };
        members.map(Arc::new)
    }

    fn call(&self, call: PyroCall) -> BoxFuture<'static, Result<PyroAnswer, CallError>> {
        let mut values = self.values.lock().unwrap();
        let value = values
            .entry(call.object.clone())
            .or_insert(PyValue::Int(12345));
        if call.method == "__setattr__" {
            *value = call.positional[1].clone();
        }
        let value = value.clone();
        drop(values);
        Box::pin(async move { Ok(answer(call, value).await?) })
    }
}

fn items(texts: &[&str]) -> PyroAnswer {
    let texts: Vec<_> = texts.iter().map(|&text| Ok(PyValue::str(text))).collect();
    PyroAnswer::Items(PyroItems::new(stream::iter(texts)))
}

async fn pause(time: &PyValue) {
    sleep(match time {
        PyValue::Float(time) => Duration::from_secs_f64(*time),
        PyValue::Int(time) => seconds((*time).try_into().unwrap()),
        other => panic!("no time: {other}"),
    })
    .await;
}

fn number(key: &str, number: i64) -> PyValue {
    PyValue::dict([(key, PyValue::Int(number))])
}

async fn answer(call: PyroCall, value: PyValue) -> Result<PyroAnswer, PyException> {
    let raised = |class: &str, text: &str| Err(PyException::builtin(class, text));
    let (first, second) = (call.positional.first(), call.positional.get(1));
    let first = || first.cloned().unwrap_or_default();
    let second = || second.cloned().unwrap_or_default();
    Ok(match (&*call.method, &*call.object) {
        ("__setattr__" | "ping" | "shutdown", _) => PyValue::None.into(),
        ("__getattr__", _) => match first().as_str() {
            Some("value") => value.into(),
            _ => number("number", 42).into(),
        },
        ("getDict", _) => number("number", 42).into(),
        ("getDictAttr", _) => number("number2", 43).into(),
        ("echo" | "oneway_echo", _) => first().into(),
        ("multiply" | "oneway_multiply", _) => multiply(first(), second())?.into(),
        ("divide", _) => match (first(), second()) {
            (PyValue::Int(_), PyValue::Int(0)) => {
                return raised("ZeroDivisionError", "integer division or modulo by zero");
            }
            (PyValue::Int(x), PyValue::Int(y)) => PyValue::Int(x.div_euclid(y)).into(),
            _ => return raised("TypeError", "unsupported operand type(s) for //"),
        },
        ("blob", _) => {
            let info = call.envelope.blob.clone().unwrap_or_default();
            PyValue::List(vec![info, first()]).into()
        }
        ("response_annotation", _) => {
            let sent = call.envelope.annotation(*b"XYZZ");
            if sent != Some(b"data from proxy via new api") {
                return raised("ValueError", "XYZZ annotation has wrong data");
            }
            let answer = b"daemon annotation via new api".to_vec();
            call.envelope.answer_with(*b"ANN2", answer);
            let sent = PyValue::Bytes(sent.unwrap_or_default().to_vec().into());
            PyValue::dict([("annotations_in_daemon", PyValue::dict([("XYZZ", sent)]))]).into()
        }
        ("oneway_delay" | "delay", _) => {
            pause(&first()).await;
            PyValue::str(format!("slept {} seconds", first())).into()
        }
        ("delayAndId", _) => {
            pause(&first()).await;
            PyValue::str(format!("slept for {}", second())).into()
        }
        ("testargs", _) => {
            let mut others = call.positional;
            let x = others.remove(0);
            let named = call.named.into_iter();
            let named = named.map(|(name, value)| (PyValue::Str(name), value));
            let named = PyValue::Dict(named.collect());
            PyValue::List(vec![x, PyValue::List(others), named]).into()
        }
        ("nonserializableException", _) => {
            return Err(PyException::new("support.NonserializableError", "xantippe"));
        }
        ("iterator", _) => items(&["one", "two", "three"]),
        ("generator", ECHO) => items(&["one", "two", "three"]),
        ("generator", _) => items(&["one", "two", "three", "four", "five"]),
        ("error", _) => {
            let text = "this is the generated error from echoserver echo() method";
            return raised("ValueError", text);
        }
        ("error_with_text", _) => return raised("ValueError", "the message of the error"),
        ("__len__", _) => PyValue::Int(6).into(),
        ("__iter__", _) => items(&["q", "w", "e", "r", "t", "y"]),
        ("__getitem__", _) => match first() {
            PyValue::Int(at @ 0..=5) => {
                let letter = "qwerty".chars().nth(usize::try_from(at).unwrap());
                PyValue::str(letter.unwrap()).into()
            }
            _ => return raised("IndexError", "list index out of range"),
        },
        _ => return raised("NotImplementedError", &call.method),
    })
}

/// What `x * y` is in Python.
fn multiply(x: PyValue, y: PyValue) -> Result<PyValue, PyException> {
    match (x, y) {
        (PyValue::Int(x), PyValue::Int(y)) => Ok(PyValue::Int(x * y)),
        (PyValue::Str(text), PyValue::Int(times)) => {
            Ok(PyValue::Str(text.repeat(times.try_into().unwrap())))
        }
        _ => Err(PyException::builtin(
            "TypeError",
            "can't multiply sequence by non-int of type 'str'",
        )),
    }
}
