//! Entries of the effect map to which no call comes.

use super::*;

const OFF: &str = r#"{"path":"args.to","op":"eq","value":"off"}"#;
const NOW: &str = r#"{"path":"args.now","op":"eq","value":true}"#;

fn entry(tool: &str, when: &[&str], effect: &str) -> String {
    let when = when.join(",");
    format!(r#"{{"tool":"{tool}","when":[{when}],"effect":"{effect}"}}"#)
}

fn of_map(entries: &[&str]) -> Vec<String> {
    lints("deny", &format!(r#""effect_map":[{}]"#, entries.join(",")))
}

#[test]
fn an_entry_that_asks_for_all_that_an_earlier_one_asks_for_is_named() {
    let off = entry("power", &[OFF], "stop");
    let said = ": /effect_map/1 gives no call its effect: /effect_map/0, which comes first, takes \
                every call that it matches";
    for later in [
        entry("power", &[OFF], "force_stop"),
        entry("power", &[OFF, NOW], "force_stop"),
        entry("power", &[NOW, OFF], "force_stop"),
        off.replacen('{', r#"{"server":"s","#, 1),
    ] {
        let told = of_map(&[&off, &later]);
        // Only the beginning of a long line is shown.
        assert_eq!(told.len(), 1, "{told:?}");
        let place = told[0].strip_suffix(said).expect(&told[0]);
        assert!(later.starts_with(place), "{told:?}");
    }
    let on_one = off.replacen('{', r#"{"server":"s","#, 1);
    for harmless in [
        [&entry("power", &[OFF, NOW], "force_stop"), &off],
        [&off, &entry("power", &[NOW], "force_stop")],
        [&off, &entry("lamp", &[OFF], "force_stop")],
        [&on_one, &off],
        [&on_one, &on_one.replace(r#""s""#, r#""t""#)],
    ] {
        assert_eq!(
            of_map(&harmless.map(String::as_str)),
            [""; 0],
            "{harmless:?}"
        );
    }
}
