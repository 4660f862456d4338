use super::*;
use serde_json::json;

/// A method with one parameter of each kind.
fn description(parameters: &Value) -> Description {
    let parameters: Vec<Value> = parameters
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, schema)| json!({"name": name, "schema": schema}))
        .collect();
    serde_json::from_value(json!({
        "interface": "Test", "version": 1, "doc": "",
        "methods": [{
            "name": "work", "doc": "", "repeatable": true, "fallible": false,
            "parameters": parameters, "result": true,
        }],
        "$defs": {"Name": {"type": "string"}}
    }))
    .unwrap()
}

fn no_reading(_: ArgumentSource<'_>) -> io::Result<Vec<u8>> {
    Err(io::Error::other("nothing is to be read"))
}

/// The arguments as they are sent to the object.
fn sent(arguments: &ArgumentValues) -> Value {
    serde_json::to_value(arguments).unwrap()
}

fn words(parameters: Value, words: &[&str]) -> Result<Value, Failure> {
    words_reading(parameters, words, no_reading)
}

fn words_reading(
    parameters: Value,
    words: &[&str],
    read: impl FnMut(ArgumentSource<'_>) -> io::Result<Vec<u8>>,
) -> Result<Value, Failure> {
    let description = description(&parameters);
    let signature = MethodSignature::find(&description, "tester", "work")?;
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    signature.read_words(&words, read).map(|read| sent(&read))
}

fn line(parameters: Value, line: Value) -> Result<Value, Failure> {
    let description = description(&parameters);
    let signature = MethodSignature::find(&description, "tester", "work")?;
    signature.read_json(line).map(|read| sent(&read))
}

fn sentence(result: Result<Value, Failure>) -> String {
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, crate::failure::Exit::Usage);
    failure.message.unwrap()
}

/// The value that a parameter of this schema reads from a text.
fn value(schema: Value, text: &str) -> Value {
    words(json!({"x": schema}), &[&format!("x={text}")]).unwrap()["x"].clone()
}

#[test]
fn a_value_is_json_if_the_schema_wants_that_type_else_a_string() {
    let string = json!({"type": "string"});
    assert_eq!(value(string.clone(), "123"), json!("123"));
    assert_eq!(value(string.clone(), "true"), json!("true"));
    assert_eq!(value(string.clone(), "[1]"), json!("[1]"));
    assert_eq!(value(string.clone(), ""), json!(""));
    assert_eq!(value(string.clone(), "a=b"), json!("a=b"));
    assert_eq!(value(string, r#""quoted""#), json!("quoted"));
    assert_eq!(value(json!({"type": "integer"}), "-7"), json!(-7));
    assert_eq!(value(json!({"type": "number"}), "7"), json!(7));
    assert_eq!(value(json!({"type": "number"}), "7.5e1"), json!(75.0));
    let numbers = json!({"type": "array", "items": {"type": "number"}});
    assert_eq!(value(numbers, "[1, 2.5]"), json!([1, 2.5]));
}

#[test]
fn an_open_schema_takes_json_and_texts() {
    for (text, expected) in [
        ("5", json!(5)),
        (r#"{"a": [null]}"#, json!({"a": [null]})),
        ("hello", json!("hello")),
        ("{broken", json!("{broken")),
    ] {
        assert_eq!(value(json!(true), text), expected);
        assert_eq!(value(json!({}), text), expected);
    }
}

#[test]
fn a_parameter_that_may_be_null_takes_null_and_may_be_left_out() {
    let schema = json!({"anyOf": [{"$ref": "#/$defs/Name"}, {"type": "null"}]});
    assert_eq!(value(schema.clone(), "null"), json!(null));
    assert_eq!(value(schema.clone(), "5"), json!("5"));
    assert_eq!(words(json!({"x": schema}), &[]), Ok(json!({"x": null})));
}

#[test]
fn positional_values_fill_the_parameters_that_are_not_named() {
    let parameters = json!({"a": {"type": "integer"}, "b": {"type": "string"}});
    for given in [
        &["1", "two"][..],
        &["a=1", "two"],
        &["two", "a=1"],
        &["b=two", "1"],
    ] {
        let made = words(parameters.clone(), given);
        assert_eq!(made, Ok(json!({"a": 1, "b": "two"})), "{given:?}");
    }
}

#[test]
fn a_name_that_no_parameter_has_is_refused() {
    let text = json!({"text": {"type": "string"}});
    let failure = words(text.clone(), &["txt=b"]).unwrap_err();
    assert_eq!(failure.message.unwrap(), "work has no parameter 'txt'");
    assert_eq!(failure.hint.unwrap(), "did you mean 'text'?");
    let failure = words(text.clone(), &["a=b"]).unwrap_err();
    assert_eq!(
        failure.hint.unwrap(),
        "work(text: string) -> any; a value that contains '=' needs its name: 'text=a=b'"
    );
    assert_eq!(
        words(text.clone(), &["text=a=b"]),
        Ok(json!({"text": "a=b"}))
    );
    // A word is a value if the part before `=` cannot be a name.
    let address = "http://a/?b=c";
    assert_eq!(words(text, &[address]), Ok(json!({"text": address})));
    let failure = line(json!({"text": true, "n": true}), json!({"txt": 1})).unwrap_err();
    assert_eq!(failure.hint.unwrap(), "did you mean 'text'?");
}

#[test]
fn a_file_for_bytes_is_taken_as_it_is() {
    let read = |_: ArgumentSource<'_>| Ok(vec![0, 255, b'[']);
    let bytes = json!({"type": "array", "items": {"type": "integer", "format": "uint8"}});
    let made = words_reading(json!({"data": bytes}), &["data=@photo.png"], read);
    assert_eq!(made, Ok(json!({"data": [0, 255, 91]})));
    assert_eq!(value(bytes, "[1,2]"), json!([1, 2]));
}

#[test]
fn a_line_that_is_no_json_is_text_where_the_one_parameter_takes_text() {
    let read = |parameters: &Value, line: &str| {
        let description = description(parameters);
        let signature = MethodSignature::find(&description, "tester", "work").unwrap();
        signature.read_line(line.as_bytes()).map(|read| sent(&read))
    };
    let text = json!({"text": {"type": "string"}});
    for (line, expected) in [
        ("hello there\n", "hello there"),
        ("\"quoted\"\n", "quoted"),
        ("012\r\n", "012"),
        ("12\n", "12"),
        ("true", "true"),
        (r#"{"text": "x"}"#, "x"),
    ] {
        assert_eq!(read(&text, line), Ok(json!({"text": expected})), "{line}");
    }
    let wrong = sentence(read(&json!({"n": {"type": "integer"}}), "hello"));
    // As on the command line.
    let expected = r#"argument 'n' of work wants an integer, got the string "hello""#;
    assert_eq!(wrong, expected);
    let wrong = sentence(read(&json!({"n": {"type": "integer"}}), r#"{"n": "#));
    assert!(wrong.starts_with("not JSON: "), "{wrong}");
}

#[test]
fn any_json_keeps_every_digit() {
    let open = json!({"data": true});
    let description = description(&open);
    let signature = MethodSignature::find(&description, "tester", "work").unwrap();
    let long = r#"{"a":[123456789012345678901234567890,-0.0,1.10]}"#;
    let words = [format!("data={long}")];
    let read = signature.read_words(&words, no_reading).unwrap();
    let expected = format!(r#"{{"data":{long}}}"#);
    assert_eq!(serde_json::to_string(&read).unwrap(), expected);
    for line in [
        long.to_owned(),
        format!("[{long}]"),
        format!(r#"{{"data": {long}}}"#),
    ] {
        let read = signature.read_line(line.as_bytes()).unwrap();
        let text = serde_json::to_string(&read).unwrap();
        // A parameter that accepts any value takes an array as the value itself.
        let expected = expected.replace(long, if line.starts_with('[') { &line } else { long });
        assert_eq!(text, expected);
    }
}

#[test]
fn wrong_types_name_the_parameter_what_it_wants_and_what_it_got() {
    let integer = json!({"n": {"type": "integer", "format": "uint32"}});
    assert_eq!(
        sentence(words(integer.clone(), &["n=many"])),
        r#"argument 'n' of work wants an integer, got the string "many""#
    );
    assert_eq!(
        sentence(words(integer.clone(), &["1.5"])),
        "argument 'n' of work wants an integer, got the number 1.5"
    );
    let failure = words(integer, &["m=3"]).unwrap_err();
    assert_eq!(failure.message.unwrap(), "work has no parameter 'm'");
    let numbers = json!({"values": {"type": "array", "items": {"type": "number"}}});
    assert_eq!(
        sentence(words(numbers.clone(), &[r#"[1, "x"]"#])),
        r#"argument 'values[1]' of work wants a number, got the string "x""#
    );
    assert_eq!(
        sentence(words(numbers, &["5"])),
        "argument 'values' of work wants an array, got the number 5"
    );
}

#[test]
fn too_few_too_many_and_repeated_arguments_are_refused() {
    let parameters = json!({"a": {"type": "integer"}});
    assert_eq!(
        sentence(words(parameters.clone(), &[])),
        "work needs the argument 'a'"
    );
    assert_eq!(
        sentence(words(parameters.clone(), &["1", "2"])),
        "work has no parameter for '2'"
    );
    assert_eq!(
        sentence(words(parameters, &["a=1", "a=2"])),
        "argument 'a' is given twice"
    );
    assert_eq!(
        sentence(words(json!({"any": true}), &[])),
        "work needs the argument 'any'"
    );
}

#[test]
fn files_and_standard_input_are_read() {
    let read = |source: ArgumentSource<'_>| {
        Ok(match source {
            ArgumentSource::File("data.json") => b"[1, 2]\n".to_vec(),
            ArgumentSource::File(other) => panic!("{other}"),
            ArgumentSource::Stdin => b"\"text\"\n".to_vec(),
        })
    };
    let parameters = json!({"list": {"type": "array"}, "text": {"type": "string"}});
    let made = words_reading(parameters, &["list=@data.json", "text=-"], read);
    assert_eq!(made, Ok(json!({"list": [1, 2], "text": "\"text\"\n"})));
    let made = words_reading(json!({"list": true}), &["@data.json"], read);
    assert_eq!(made, Ok(json!({"list": [1, 2]})));
}

#[test]
fn content_for_a_text_stays_as_it_is() {
    let read = |_: ArgumentSource<'_>| Ok(b"12\n".to_vec());
    for schema in [
        json!({"type": "string"}),
        json!({"$ref": "#/$defs/Name"}),
        json!({"type": ["string", "null"]}),
    ] {
        let made = words_reading(json!({"x": schema}), &["x=@f"], read);
        assert_eq!(made, Ok(json!({"x": "12\n"})));
    }
    let made = words_reading(json!({"x": {"type": "integer"}}), &["x=@f"], read);
    assert_eq!(made, Ok(json!({"x": 12})));
}

#[test]
fn two_at_signs_stand_for_one() {
    assert_eq!(value(json!({"type": "string"}), "@@home"), json!("@home"));
}

#[test]
fn what_cannot_be_read_is_a_usage_failure() {
    let text = json!({"x": {"type": "string"}, "y": {"type": "string"}});
    assert_eq!(
        sentence(words(text.clone(), &["@gone"])),
        "cannot read gone for argument 'x': nothing is to be read"
    );
    let latin = |_: ArgumentSource<'_>| Ok(vec![0xe9]);
    let failed = sentence(words_reading(text.clone(), &["-", "a"], latin));
    assert!(failed.starts_with("cannot read standard input for argument 'x'"));
    let read = |_: ArgumentSource<'_>| Ok(Vec::new());
    assert_eq!(
        sentence(words_reading(text, &["-", "-"], read)),
        "standard input can be read for one argument only"
    );
}

#[test]
fn an_unknown_method_hints_at_the_nearest() {
    let description = description(&json!({}));
    let failure = MethodSignature::find(&description, "tester", "wrok").unwrap_err();
    assert_eq!(failure.message.unwrap(), "unknown method 'wrok' of tester");
    assert_eq!(failure.hint.unwrap(), "did you mean 'work'?");
    let failure = MethodSignature::find(&description, "tester", "elsewhere").unwrap_err();
    assert_eq!(failure.hint.unwrap(), "it has work");
}

#[test]
fn a_line_is_an_object_an_array_or_a_bare_value() {
    let two = json!({"a": {"type": "integer"}, "b": {"type": "string"}});
    let expected = json!({"a": 1, "b": "x"});
    assert_eq!(
        line(two.clone(), json!({"b": "x", "a": 1})).unwrap(),
        expected
    );
    assert_eq!(line(two.clone(), json!([1, "x"])).unwrap(), expected);
    assert_eq!(
        sentence(line(two.clone(), json!(5))),
        "work has 2 parameters, so a line is an object or an array, not the number 5"
    );
    assert_eq!(
        sentence(line(two.clone(), json!([1]))),
        "work needs the argument 'b'"
    );
    assert_eq!(
        sentence(line(two.clone(), json!([1, "x", 3]))),
        "work has no parameter for '3'"
    );
    assert_eq!(
        sentence(line(two, json!({"a": 1, "c": 2}))),
        "work has no parameter 'c'"
    );
    assert_eq!(line(json!({}), json!([])), Ok(json!({})));
}

#[test]
fn a_single_parameter_takes_its_line_whole() {
    let number = json!({"n": {"type": "integer"}});
    for given in [json!(5), json!([5]), json!({"n": 5})] {
        assert_eq!(line(number.clone(), given), Ok(json!({"n": 5})));
    }
    let list = json!({"values": {"type": "array", "items": {"type": "number"}}});
    for given in [json!([1, 2]), json!([[1, 2]]), json!({"values": [1, 2]})] {
        assert_eq!(line(list.clone(), given), Ok(json!({"values": [1, 2]})));
    }
    assert_eq!(
        sentence(line(list, json!(["x"]))),
        r#"argument 'values[0]' of work wants a number, got the string "x""#
    );
    let open = json!({"data": true});
    assert_eq!(
        line(open.clone(), json!({"a": 1})),
        Ok(json!({"data": {"a": 1}}))
    );
    assert_eq!(
        line(open.clone(), json!({"data": 1})),
        Ok(json!({"data": 1}))
    );
    assert_eq!(line(open, json!([[1]])), Ok(json!({"data": [[1]]})));
    let text = json!({"text": {"type": "string"}});
    assert_eq!(
        sentence(line(text, json!(5))),
        "argument 'text' of work wants a string, got the number 5"
    );
}

#[test]
fn a_number_whose_every_digit_counts_keeps_them_all() {
    let amount = json!({"type": ["string", "number"]});
    assert_eq!(value(amount.clone(), "12.5"), json!(12.5));
    assert_eq!(value(amount.clone(), "12.50"), json!("12.50"));
    let long = "1234567890.00000001";
    assert_eq!(value(amount.clone(), long), json!(long));
    // A parameter that accepts any JSON takes a number as a number.
    assert_eq!(value(json!(true), "12.50"), json!(12.5));

    let parameters = json!({"name": {"type": "string"}, "amount": amount, "x": true});
    let description = description(&parameters);
    let signature = MethodSignature::find(&description, "tester", "work").unwrap();
    for line in [
        format!(r#"{{"amount": {long}, "name": "ana", "x": {long}}}"#),
        format!(r#"["ana", {long}, {long}]"#),
    ] {
        let read = signature.read_line(line.as_bytes()).unwrap();
        let text = serde_json::to_string(&read).unwrap();
        assert!(text.contains(&format!(r#""amount":"{long}""#)), "{text}");
        assert!(text.contains(&format!(r#""x":{long}"#)), "{text}");
    }
}
