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

fn no_reading(_: Source<'_>) -> io::Result<Vec<u8>> {
    Err(io::Error::other("nothing is to be read"))
}

fn words(parameters: Value, words: &[&str]) -> Result<Value, Failure> {
    words_reading(parameters, words, no_reading)
}

fn words_reading(
    parameters: Value,
    words: &[&str],
    read: impl FnMut(Source<'_>) -> io::Result<Vec<u8>>,
) -> Result<Value, Failure> {
    let description = description(&parameters);
    let signature = Signature::find(&description, "tester", "work")?;
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    signature.read_words(&words, read).map(Value::Object)
}

fn line(parameters: Value, line: Value) -> Result<Value, Failure> {
    let description = description(&parameters);
    let signature = Signature::find(&description, "tester", "work")?;
    signature.read_json(line).map(Value::Object)
}

fn sentence(result: Result<Value, Failure>) -> String {
    let failure = result.unwrap_err();
    assert_eq!(failure.exit, crate::failure::Exit::Usage);
    failure.sentence.unwrap()
}

/// What one parameter of this schema makes of a text.
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
fn a_word_with_an_equals_sign_is_positional_if_no_parameter_has_its_name() {
    let made = words(json!({"text": {"type": "string"}}), &["a=b"]);
    assert_eq!(made, Ok(json!({"text": "a=b"})));
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
    assert_eq!(failure.hint.unwrap(), "work(n: integer) -> any");
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
        "work takes no argument for '2'"
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
    let read = |source: Source<'_>| {
        Ok(match source {
            Source::File("data.json") => b"[1, 2]\n".to_vec(),
            Source::File(other) => panic!("{other}"),
            Source::Stdin => b"\"text\"\n".to_vec(),
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
    let read = |_: Source<'_>| Ok(b"12\n".to_vec());
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
    let latin = |_: Source<'_>| Ok(vec![0xe9]);
    let failed = sentence(words_reading(text.clone(), &["-", "a"], latin));
    assert!(failed.starts_with("cannot read standard input for argument 'x'"));
    let read = |_: Source<'_>| Ok(Vec::new());
    assert_eq!(
        sentence(words_reading(text, &["-", "-"], read)),
        "standard input can be read for one argument only"
    );
}

#[test]
fn an_unknown_method_hints_at_the_nearest() {
    let description = description(&json!({}));
    let failure = Signature::find(&description, "tester", "wrok").unwrap_err();
    assert_eq!(failure.sentence.unwrap(), "unknown method 'wrok' of tester");
    assert_eq!(failure.hint.unwrap(), "did you mean 'work'?");
    let failure = Signature::find(&description, "tester", "elsewhere").unwrap_err();
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
        "work takes no argument for '3'"
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
    // Where any JSON will do, a number is a number.
    assert_eq!(value(json!(true), "12.50"), json!(12.5));

    let parameters = json!({"name": {"type": "string"}, "amount": amount, "x": true});
    let description = description(&parameters);
    let signature = Signature::find(&description, "tester", "work").unwrap();
    for line in [
        format!(r#"{{"amount": {long}, "name": "ana", "x": {long}}}"#),
        format!(r#"["ana", {long}, {long}]"#),
    ] {
        let values = signature.read_json(serde_json::from_str(&line).unwrap());
        let values = signature.with_all_digits(line.as_bytes(), values.unwrap());
        assert_eq!(values["amount"], json!(long));
        assert_eq!(values["x"], json!(1234567890.0));
    }
}
