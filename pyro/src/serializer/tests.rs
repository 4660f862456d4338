use super::*;
use crate::{
    limits::{MAX_DEPTH, MAX_DIGITS},
    wire::{HEADER_LEN, Header, Message},
};
use std::time::{Duration, Instant};

const GOLDEN: &str = include_str!("../../tests/golden/messages.txt");

fn messages() -> Vec<Vec<u8>> {
    let lines = GOLDEN.lines().filter_map(|line| {
        let (side, digits) = line.split_once(' ')?;
        matches!(side, "client" | "server").then_some(digits)
    });
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    lines
        .map(|digits| digits.as_bytes().chunks(2).map(byte).collect())
        .collect()
}

fn parse(bytes: &[u8]) -> Message {
    let (head, body) = bytes.split_first_chunk::<HEADER_LEN>().unwrap();
    Message::from_body(Header::parse(head).unwrap(), body.to_vec(), 1 << 18).unwrap()
}

#[test]
fn every_message_that_pyro_sent_is_read_and_written_back_byte_for_byte() {
    let messages = messages();
    assert!(messages.len() > 150, "{}", messages.len());
    for bytes in messages {
        let message = parse(&bytes);
        let is_compressed = bytes[9] & 2 != 0;
        if !is_compressed {
            assert_eq!(message.to_bytes(), bytes);
        }
        let Some(serializer) = Serializer::from_number(message.header.serializer) else {
            continue;
        };
        let value = serializer.read(&message.payload).unwrap();
        let spaced = message.payload.windows(8).any(|part| part == b"'data': ");
        if serializer != Serializer::Marshal && !spaced {
            let written = serializer.write(&value).unwrap();
            assert_eq!(
                String::from_utf8_lossy(&written),
                String::from_utf8_lossy(&message.payload)
            );
        }
        if message.header.kind == 4 {
            let payload = Bytes::from(message.payload);
            let call = serializer.read_invocation(&payload).unwrap();
            let written = serializer.write_invocation(call).unwrap().into();
            let call = |bytes| format!("{:?}", serializer.read_invocation(bytes));
            assert_eq!(call(&written), call(&payload));
        }
    }
}

fn serpent(text: &str) -> Result<PyValue, String> {
    Serializer::Serpent
        .read(text.as_bytes())
        .map_err(|error| error.0)
}

#[test]
fn serpent_reads_what_pythons_parser_of_literals_takes() {
    for (text, shown) in [
        ("# serpent utf-8 python3.2\n( 1 , )", "(1,)"),
        ("(1)", "1"),
        ("()", "()"),
        ("{1, 2,}", "{1, 2}"),
        ("set()", "set()"),
        ("{}", "{}"),
        ("{'a' : [None,True,False]}", "{'a': [None, True, False]}"),
        ("0x1f", "31"),
        ("1_000", "1000"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1180591620717411303424", "1180591620717411303424"),
        ("1e30000", "inf"),
        ("-1e30000", "-inf"),
        (".5", "0.5"),
        ("(1.0-2.5j)", "(1.0-2.5j)"),
        ("2j", "(0.0+2.0j)"),
        ("b'a\\xff'", "b'a\\xff'"),
        ("'a' \"b\"", "'ab'"),
        ("r'\\n'", "'\\\\n'"),
        ("'\\x41\\u00e9\\U0001F600\\101\\\nz'", "'Aé😀Az'"),
        ("[1, # one\n 2]", "[1, 2]"),
        ("{'__class__':'float','value':'nan'}", "nan"),
    ] {
        assert_eq!(
            serpent(text).map(|value| value.to_string()).as_deref(),
            Ok(shown),
            "{text}"
        );
    }
}

#[test]
fn serpent_refuses_what_is_no_literal() {
    for text in [
        "",
        "[",
        "[1",
        "[1 2]",
        "{1:2, 3}",
        "{3, 1:2}",
        "{[]: 1}",
        "{{}}",
        "{(1, [])}",
        "'a",
        "'a\nb'",
        "b'é'",
        "__import__('os')",
        "1 + 2",
        "f'x'",
        "inf",
        "nan",
        "1__",
        "'\\ud800'",
        "'\\x4'",
        "1 2",
        "-'a'",
        "0xg",
        "\0",
        "[,]",
        "(,)",
        "1e",
        "--1",
    ] {
        assert!(serpent(text).is_err(), "{text:?}: {:?}", serpent(text));
    }
}

#[test]
fn depth_digits_and_lengths_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let digits = |count: usize| "9".repeat(count);
    for serializer in [Serializer::Serpent, Serializer::Json] {
        let read = |text: String| serializer.read(text.as_bytes());
        assert!(read(nested(MAX_DEPTH)).is_ok());
        assert!(read(nested(MAX_DEPTH + 1)).is_err());
        assert!(read("[".repeat(1 << 18)).is_err());
        assert!(read(digits(MAX_DIGITS)).is_ok());
        assert!(read(digits(MAX_DIGITS + 1)).is_err());
    }
    assert!(Serializer::Msgpack.read(&[0x91].repeat(1 << 18)).is_err());
    assert!(
        Serializer::Marshal
            .read(&b"[\x01\0\0\0".repeat(1 << 18))
            .is_err()
    );
    // Lengths that are not there.
    assert!(
        Serializer::Msgpack
            .read(b"\xdd\xff\xff\xff\xff\x01")
            .is_err()
    );
    assert!(
        Serializer::Msgpack
            .read(b"\xc6\xff\xff\xff\xff\x01")
            .is_err()
    );
    assert!(Serializer::Marshal.read(b"[\xff\xff\xff\xffN").is_err());
    // References to references that double their size each time.
    let mut bomb = b"\xdb\x02\0\0\0NN".to_vec();
    for place in 0..40_u8 {
        bomb = [
            b"\xdb\x02\0\0\0".as_slice(),
            &bomb,
            b"r",
            &[place + 1, 0, 0, 0],
        ]
        .concat();
    }
    assert!(Serializer::Marshal.read(&bomb).is_err());
}

#[test]
fn bytes_that_are_keys_are_literals() {
    let text = "{b'k':{'data': 'AAE=', 'encoding': 'base64'},(1,b'x'):{b'y'}}";
    let value = serpent("{b'k':b'\\0\\1',(1,b'x'):{b'y'}}").unwrap();
    let written = Serializer::Serpent.write(&value).unwrap();
    let (_, body) = std::str::from_utf8(&written)
        .unwrap()
        .split_once('\n')
        .unwrap();
    assert_eq!(body, text);
    assert!(serpent(body).is_ok());
}

#[test]
fn serpent_is_read_in_linear_time() {
    let texts = [
        format!("[{}]", "1,".repeat(1 << 18)),
        format!("'{}'", "\\x41".repeat(1 << 17)),
        format!("[{}1]", "#x\n".repeat(1 << 17)),
        "'a' ".repeat(1 << 17),
        " ".repeat(1 << 19) + "1",
    ];
    for text in texts {
        let began = Instant::now();
        serpent(&text).unwrap();
        // A quadratic reader takes minutes.
        assert!(began.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_large_literal_is_read_in_linear_time() {
    // The benchmark `pyro` reads literals of 64 MiB.
    const SMALL: usize = 1 << 20;
    const LARGE: usize = 8 << 20;
    let filled = |open: &str, part: &str, close: &str, size: usize| {
        format!("{open}{}{close}", part.repeat(size / part.len()))
    };
    for (open, part, close) in [
        ("'", "0123456789abcdef", "'"),
        ("'", "\\x41", "'"),
        ("[", "123456789012345678,", "]"),
    ] {
        let took = |size: usize| {
            let text = filled(open, part, close, size);
            let began = Instant::now();
            serpent(&text).unwrap();
            began.elapsed()
        };
        let (small, large) = (took(SMALL), took(LARGE));
        // What is 8 times as long takes 8 times the time; in a quadratic reader 64 times, which is minutes.
        let limit = small * 24 + Duration::from_secs(5);
        assert!(large < limit, "{part}: {small:?}, {large:?}");
    }
}

#[test]
fn json_is_read_as_python_reads_it() {
    for (text, shown) in [
        ("[NaN, Infinity, -Infinity]", "[nan, inf, -inf]"),
        ("18446744073709551616", "18446744073709551616"),
        (r#""\ud83d\ude00\n\/""#, "'😀\\n/'"),
        (
            r#"{"a": {"b": [true, null]}}"#,
            "{'a': {'b': [True, None]}}",
        ),
        ("-0.0", "-0.0"),
        ("1e5", "100000.0"),
    ] {
        let value = Serializer::Json.read(text.as_bytes()).unwrap();
        assert_eq!(value.to_string(), shown);
    }
    for text in [
        "",
        "[1,]",
        "{\"a\" 1}",
        "{1: 2}",
        "\"\\ud800\"",
        "\"a",
        "tru",
        "1 2",
        "01x",
        "--1",
    ] {
        assert!(Serializer::Json.read(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn values_survive_each_serializer_that_has_a_form_for_them() {
    let value = PyValue::List(vec![
        PyValue::None,
        PyValue::Bool(true),
        PyValue::Int(i64::MIN),
        PyValue::Int(-33),
        PyValue::Int(200),
        PyValue::Int(70_000),
        PyValue::int_from_decimal("18446744073709551615"),
        PyValue::int_from_decimal("-1180591620717411303424"),
        PyValue::Float(0.1),
        PyValue::Float(f64::INFINITY),
        PyValue::str("é'\"\n\0"),
        PyValue::str("x".repeat(70_000)),
        PyValue::dict([("k", PyValue::List(vec![PyValue::Int(1); 40]))]),
    ]);
    for number in 1..=4 {
        let serializer = Serializer::from_number(number).unwrap();
        let written = serializer.write(&value).unwrap();
        assert_eq!(
            serializer.read(&written),
            Ok(value.clone()),
            "{serializer:?}"
        );
    }
    let bytes = PyValue::Bytes(vec![0, 255].into());
    for serializer in [Serializer::Msgpack, Serializer::Marshal] {
        let written = serializer.write(&bytes).unwrap();
        assert_eq!(serializer.read(&written), Ok(bytes.clone()));
    }
    let complex = PyValue::Complex(1.5, -2.0);
    for serializer in [
        Serializer::Serpent,
        Serializer::Msgpack,
        Serializer::Marshal,
    ] {
        let written = serializer.write(&complex).unwrap();
        assert_eq!(serializer.read(&written), Ok(complex.clone()));
    }
}

#[test]
fn dates_of_msgpack_become_texts() {
    let read = |bytes: &[u8]| Serializer::Msgpack.read(bytes).unwrap();
    let day = read(b"\xd7\x33\x92\x40\x0b\0\0\0\0\0");
    assert_eq!(day, PyValue::str("2020-01-02"));
    let mut time = vec![0xd7, 0x32];
    time.extend(1_577_934_245.5_f64.to_le_bytes());
    assert_eq!(read(&time), PyValue::str("2020-01-02T03:04:05.500000"));
    for (ordinal, text) in [
        (1_i64, "0001-01-01"),
        (730_179, "2000-02-29"),
        (3_652_059, "9999-12-31"),
    ] {
        let bytes = [b"\xd7\x33".as_slice(), &ordinal.to_le_bytes()].concat();
        assert_eq!(read(&bytes), PyValue::str(text));
    }
    assert!(
        Serializer::Msgpack
            .read(&[b"\xd7\x33".as_slice(), &[0xff; 8]].concat())
            .is_err()
    );
}
