//! The `tracestate` of the W3C's Trace Context: what collectors of traces tell each other, which passes through.
//!
//! It travels as metadata of calls, so it is there for nested calls too.

/// The name of the header, and the key of the metadata.
pub const TRACESTATE: &str = "tracestate";

/// The longest that is passed on, in bytes: as much as the specification asks for.
const MAX_SIZE: usize = 512;

/// The most members.
const MAX_MEMBERS: usize = 32;

/// Longer members go first where not all of them fit.
const LONG_MEMBER: usize = 128;

/// Reads the headers of a request. `None` if there is none, or not a valid one, which is not passed on. Where it is too
/// long, it loses whole members: long ones first, and then the last ones, which are the oldest.
///
/// ```
/// use pyroxene_common::spans::parse_tracestate;
///
/// assert_eq!(parse_tracestate(["a=1 , b@c=x", ",d=2"]).as_deref(), Some("a=1,b@c=x,d=2"));
/// assert_eq!(parse_tracestate(["A=1"]), None);
/// ```
pub fn parse_tracestate<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let members = headers.into_iter().flat_map(|header| header.split(','));
    let members = members
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty());
    let mut members: Vec<&str> = members.take(MAX_MEMBERS + 1).collect();
    if members.len() > MAX_MEMBERS || !members.iter().all(|member| is_member(member)) {
        return None;
    }
    if size(&members) > MAX_SIZE {
        members.retain(|member| member.len() <= LONG_MEMBER);
    }
    while size(&members) > MAX_SIZE {
        members.pop();
    }
    (!members.is_empty()).then(|| members.join(","))
}

/// The size of members with the commas between them.
fn size(members: &[&str]) -> usize {
    let sizes = members.iter().map(|member| member.len() + 1);
    sizes.sum::<usize>().saturating_sub(1)
}

/// Whether a text is `key=value` as the specification has it.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else {
        return false;
    };
    let is_key =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let is_value = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'=';
    let starts = key.starts_with(|first: char| first.is_ascii_alphanumeric());
    let has_lengths = key.len() <= 256 && (1..=256).contains(&value.len());
    starts && has_lengths && key.bytes().all(is_key) && value.bytes().all(is_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_valid_is_not_passed_on() {
        for wrong in [
            "", " , ", "a", "=1", "a=", "a=b=c", "A=1", "a b=1", "a=\u{e4}", "-a=1",
        ] {
            assert_eq!(parse_tracestate([wrong]), None, "{wrong}");
        }
        let many: Vec<_> = (0..33).map(|number| format!("k{number}=1")).collect();
        assert_eq!(parse_tracestate([&*many.join(",")]), None);
        let most = many[..32].join(",");
        assert_eq!(parse_tracestate([&*most]), Some(most));
    }

    #[test]
    fn what_is_too_long_loses_long_members_and_then_the_last_ones() {
        let member = |key: &str, length: usize| format!("{key}={}", "x".repeat(length));
        let (long, short) = (member("long", 200), member("s", 100));
        let fits = [&*long, &short, &short, "z=1"].join(",");
        assert_eq!(parse_tracestate([&*fits]), Some(fits));
        let all = [&*short, &long, &short, &short, &short, &short, "z=1"];
        let kept = [&*short; 4].join(",");
        assert_eq!(parse_tracestate(all), Some(kept));
    }
}
