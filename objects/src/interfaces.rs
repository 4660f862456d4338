//! The interfaces of the built-in objects.

pub mod accounts;
pub mod calculator;
pub mod chat;
pub mod counter;
pub mod echo;
pub mod hash;
pub mod text;

#[cfg(test)]
mod tests {
    use super::*;
    use pyroxene_common::interface::Interface;
    use serde_json::json;

    /// The methods of an interface with their parameters, as a call on the command line names them.
    fn signatures<I: Interface>() -> Vec<String> {
        let signature = |method: &pyroxene_common::interface::Method| {
            // What a listener does when it hears something twice is not known.
            let is_known = method.name != "call_back";
            assert_eq!(method.repeatable, is_known, "{}", method.name);
            format!("{}({})", method.name, method.parameters.join(", "))
        };
        I::METHODS.iter().map(signature).collect()
    }

    #[test]
    fn the_built_in_objects_have_the_documented_methods() {
        assert_eq!(calculator::Calculator::NAME, "pyroxene.Calculator");
        assert_eq!(
            signatures::<calculator::Calculator>(),
            [
                "sum(values)",
                "average(values)",
                "max(values)",
                "min(values)",
                "factorial(n)",
                "fibonacci(n)",
                "sort(values)",
                "matrix_multiply(a, b)",
                "compute(iterations)",
            ]
        );
        assert_eq!(text::Text::NAME, "pyroxene.Text");
        assert_eq!(
            signatures::<text::Text>(),
            [
                "count_words(text)",
                "count_chars(text)",
                "uppercase(text)",
                "lowercase(text)",
                "reverse(text)",
            ]
        );
        assert_eq!(hash::Hash::NAME, "pyroxene.Hash");
        assert_eq!(
            signatures::<hash::Hash>(),
            ["sha256(text)", "sha512(text)", "blake3(text)"]
        );
        assert_eq!(echo::Echo::NAME, "pyroxene.Echo");
        assert_eq!(
            signatures::<echo::Echo>(),
            [
                "echo(data)",
                "sleep(ms)",
                "fail(message)",
                "whoami()",
                "count(n, interval_ms)",
                "collect(items)",
                "call_back(listener, data)",
                "context()",
            ]
        );
        assert_eq!(counter::Counter::NAME, "pyroxene.Counter");
        let methods = counter::Counter::METHODS;
        let methods = methods.iter().map(|one| (one.name, one.repeatable));
        assert!(methods.eq([("increment", false), ("value", true)]));
        assert_eq!(accounts::Accounts::NAME, "pyroxene.Accounts");
        assert_eq!(
            signatures::<accounts::Accounts>(),
            [
                "open(user, balance)",
                "query(user)",
                "update(user, delta, request_id)",
                "transfer(from, to, amount, request_id)",
            ]
        );
        assert_eq!(chat::Chat::NAME, "pyroxene.Chat");
        assert_eq!(
            signatures::<chat::Chat>(),
            [
                "join(name, session)",
                "leave(name, session)",
                "members()",
                "broadcast(from, text, id)",
                "send(from, to, text, id)",
                "receive(name, after, wait_ms, session)",
                "history(name, before, limit)",
            ]
        );
    }

    #[test]
    fn schemas_say_what_json_looks_like() {
        let calculator = calculator::Calculator::describe();
        let numbers = json!({ "type": "array", "items": { "type": "number" } });
        let sort = calculator.method("sort").unwrap();
        assert_eq!(
            (&sort.parameters[0].schema, &sort.result),
            (&numbers, &numbers)
        );
        let fibonacci = calculator.method("fibonacci").unwrap();
        assert_eq!(
            fibonacci.result,
            json!({ "type": "array", "items": { "type": "string", "pattern": "^[0-9]+$" } })
        );
        let echo = echo::Echo::describe();
        assert_eq!(
            echo.method("echo").unwrap().parameters[0].schema,
            json!(true)
        );
    }
}
