//! The tags of Python's programs that mean something to this broker.

/// The tag of a registration that is one of several instances of its name.
pub const INSTANCE_TAG: &str = "pyroxene.instance";

/// How the tag begins that lists the methods of an object that may run twice, separated by commas.
pub const IDEMPOTENT_TAG: &str = "pyroxene.idempotent=";

/// The methods that may run twice, by the tags of an object.
pub fn repeatable_methods(tags: &[String]) -> Vec<String> {
    let listed = tags
        .iter()
        .filter_map(|tag| tag.strip_prefix(IDEMPOTENT_TAG));
    let methods = listed.flat_map(|methods| methods.split(','));
    let methods = methods.map(str::trim).filter(|method| !method.is_empty());
    methods.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_may_run_twice_are_listed_in_a_tag() {
        let tags = [
            "blue",
            "pyroxene.idempotent=who,,look",
            "pyroxene.idempotent=",
        ];
        let tags = tags.map(str::to_owned);
        assert_eq!(repeatable_methods(&tags), ["who", "look"]);
    }
}
