//! Which VMs a selector picks, and globs against a plain recursive reading.

use proptest::prelude::*;

use super::*;

const UUID: &str = "6695eb01-f6a4-8304-79aa-97f2502e193f";
const OTHER: &str = "6695eb01-f6a4-8304-79aa-97f2502e1940";

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[track_caller]
fn check(selector: &Selector, uuid: Option<&str>, name: &str, pairs: &[(&str, &str)], picks: bool) {
    let labels = labels(pairs);
    let vm = VmFacts {
        uuid,
        name,
        labels: &labels,
    };
    assert_eq!(selector.picks(&vm), picks, "{uuid:?} {name} {pairs:?}");
}

#[test]
fn an_empty_selector_picks_every_vm() {
    let selector = Selector::default();
    check(&selector, None, "x", &[], true);
    check(&selector, Some(UUID), "y", &[("tier", "prod")], true);
    assert_eq!(selector.describe(), "any VM");
}

#[test]
fn a_uuid_picks_only_the_vm_that_is_known_to_have_it() {
    let selector = Selector {
        uuid: Some(UUID.parse().expect("a UUID")),
        ..Selector::default()
    };
    check(&selector, Some(UUID), "x", &[], true);
    check(&selector, Some(&UUID.to_uppercase()), "x", &[], true);
    check(&selector, Some(OTHER), "x", &[], false);
    check(&selector, Some("garbage"), UUID, &[], false);
    check(&selector, None, UUID, &[], false);
    assert_eq!(selector.describe(), format!("uuid {UUID}"));
}

#[test]
fn everything_that_is_given_must_match() {
    let selector = Selector {
        uuid: None,
        name: Some("db-*".to_owned()),
        labels: labels(&[("tier", "prod"), ("zone", "a")]),
    };
    let all = [("tier", "prod"), ("zone", "a"), ("owner", "ops")];
    check(&selector, None, "db-1", &all, true);
    check(&selector, None, "web-1", &all, false);
    check(&selector, None, "db-1", &[("tier", "prod")], false);
    check(
        &selector,
        None,
        "db-1",
        &[("tier", "Prod"), ("zone", "a")],
        false,
    );
    assert_eq!(
        selector.describe(),
        r#"name "db-*" and label tier = "prod" and label zone = "a""#
    );
}

#[test]
fn globs_match_whole_names_character_by_character() {
    for (pattern, text, matches) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("db-*", "db-", true),
        ("db-*", "mydb-1", false),
        ("db-*", "DB-1", false),
        ("db-?", "db-", false),
        ("db-?", "db-12", false),
        ("db-?", "db-ü", true),
        ("*-prod", "a-prod-prod", true),
        ("*a*b", "xaxbxb", true),
        ("*a*b", "xbxa", false),
        ("a.c", "abc", false),
        ("[ab]", "a", false),
        ("a\nb", "a\nb", true),
    ] {
        assert_eq!(glob(pattern, text), matches, "{pattern:?} {text:?}");
    }
}

#[test]
fn a_hostile_pattern_takes_no_exponential_time() {
    // A reading that tries every star anew would need more steps than there are
    // atoms.
    let pattern = format!("{}b", "*a".repeat(100));
    assert!(!glob(&pattern, &"a".repeat(2000)));
}

/// What a glob means, without regard to cost.
fn naive(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
        (Some(('?', rest)), Some((_, left))) => naive(rest, left),
        (Some((wanted, rest)), Some((found, left))) => wanted == found && naive(rest, left),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_glob_means_what_the_plain_reading_means(
        pattern in proptest::collection::vec(proptest::sample::select(vec!['a', 'b', 'ü', '*', '?']), 0..8),
        text in proptest::collection::vec(proptest::sample::select(vec!['a', 'b', 'ü', '*', '?']), 0..8),
    ) {
        let one: String = pattern.iter().collect();
        let other: String = text.iter().collect();
        prop_assert_eq!(glob(&one, &other), naive(&pattern, &text), "{} {}", one, other);
    }
}
