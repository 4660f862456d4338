//! The modules without looks, called in the browser itself: reading numbers, JSON with large integers, words of
//! a shell, formats.

use super::window::open;
use crate::harness::{Broker, turn};
use serde_json::{Value, json};

/// What a script answers that has the modules at hand.
const SCRIPT: &str = "
    const done = arguments[arguments.length - 1];
    (async () => {
        const [numbers, json, command, format, schema] = await Promise.all(['numbers', 'json', 'command', 'format', 'schema'].map((name) => import(`/assets/lib/${name}.js`)));
        return {
            numbers: numbers.readNumbers('1, 2.5;3\\t-4e2\\n5'),
            not_numbers: numbers.readNumbers('1 two').reason,
            matrix: numbers.readMatrix('1,2\\n3,4\\n'),
            ragged: numbers.readMatrix('1 2\\n3').reason,
            matrix_in_json: numbers.readMatrix('[[1, 2], [3, 4]]'),
            large: json.write(json.parse('{\"n\": [18446744073709551615, 1.5, \"x\"]}')),
            quoted: command.quote(`it's \"so\"`),
            plain: command.quote('values=[1,2]'),
            words: command.argumentWords({ values: [1, 2], text: 'a b', left_out: undefined }),
            durations: [0.25, 12, 3400, 125000].map(format.duration),
            short: [0, 7, 1250, 12345, 2500000].map(format.short),
            bytes: [0, 512, 2048].map(format.bytes),
            optional: schema.shapeOf({ anyOf: [{ $ref: '#/$defs/Mode' }, { type: 'null' }] }, { Mode: { oneOf: [{ const: 'Fast' }, { const: 'Exact' }] } }),
            below: schema.check(-1, { type: 'integer', minimum: 0 }, {}),
            exact: ['12345678901234567890.12', '1,5'].map((amount) => schema.check(amount, { type: ['string', 'number'], pattern: '^[0-9]+(\\\\.[0-9]+)?$' }, {})),
        };
    })().then(done, (error) => done(String(error)));
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_modules_read_and_write_what_people_type() {
    let _turn = turn().await;
    let mut broker = Broker::start().await;
    let Some(window) = open(&mut broker).await else {
        return;
    };
    window.go("/domain").await;
    window.is_live().await;
    let answered = window.run_async(SCRIPT).await;
    let expected = [
        ("numbers", json!([1, 2.5, 3, -400, 5])),
        ("not_numbers", json!("\"two\", number 2, is not a number.")),
        ("matrix", json!([[1, 2], [3, 4]])),
        ("ragged", json!("Row 2 has 1 numbers, the first has 2.")),
        ("matrix_in_json", json!([[1, 2], [3, 4]])),
        ("large", json!("{\"n\":[18446744073709551615,1.5,\"x\"]}")),
        ("quoted", json!("'it'\\''s \"so\"'")),
        ("plain", json!("'values=[1,2]'")),
        ("words", json!(["values=[1,2]", "text=a b"])),
        ("durations", json!(["250 µs", "12 ms", "3.4 s", "2:05 min"])),
        ("short", json!(["0", "7", "1,250", "12 k", "2.5 M"])),
        ("bytes", json!(["0 B", "512 B", "2 KiB"])),
        ("below", json!("At least 0, please.")),
        ("exact", json!([null, "A number such as 12.50, please."])),
    ];
    for (name, value) in expected {
        assert_eq!(answered[name], value, "{name} of {answered}");
    }
    let optional: &Value = &answered["optional"];
    assert_eq!(
        (&optional["kind"], &optional["optional"]),
        (&json!("choice"), &json!(true))
    );
    window.close().await;
}
