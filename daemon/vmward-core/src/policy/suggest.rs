//! "Did you mean": the known word that is nearest to an unknown one.

/// The candidate that most likely was meant, if one is near enough.
pub(super) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let far = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .iter()
        .map(|candidate| (distance(&word.to_lowercase(), candidate), *candidate))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// What people write for the words of a key, each with the word that is meant.
const SAME: [(&str, &[(&str, &str)]); 3] = [
    (
        "window",
        &[
            ("s", "second"),
            ("sec", "second"),
            ("secs", "second"),
            ("m", "minute"),
            ("min", "minute"),
            ("mins", "minute"),
            ("h", "hour"),
            ("hr", "hour"),
            ("hrs", "hour"),
            ("hourly", "hour"),
            ("d", "day"),
            ("daily", "day"),
        ],
    ),
    (
        "scope",
        &[
            ("account", "grant"),
            ("client", "session"),
            ("connection", "session"),
            ("process", "session"),
            ("user", "uid"),
            ("domain", "vm"),
            ("guest", "vm"),
            ("machine", "vm"),
            ("all", "host"),
            ("global", "host"),
            ("node", "host"),
        ],
    ),
    (
        "days",
        &[
            ("mon-fri", "weekdays"),
            ("workdays", "weekdays"),
            ("sat-sun", "weekends"),
            ("all", "daily"),
            ("every day", "daily"),
            ("everyday", "daily"),
            ("thur", "thu"),
            ("thurs", "thu"),
            ("monday", "mon"),
            ("tuesday", "tue"),
            ("wednesday", "wed"),
            ("thursday", "thu"),
            ("friday", "fri"),
            ("saturday", "sat"),
            ("sunday", "sun"),
        ],
    ),
];

/// The word of `words` that is meant where `key` has `word`: one that is near, or
/// another name for the same.
pub(super) fn meant<'a>(key: &str, word: &str, words: &[&'a str]) -> Option<&'a str> {
    let word = word.trim().to_lowercase();
    let same = SAME.iter().find(|(of, _)| *of == key);
    let same = same.map_or(&[][..], |(_, same)| same);
    let known = |word: &str| {
        let (_, meant) = same.iter().find(|(other, _)| *other == word)?;
        words.iter().copied().find(|known| known == meant)
    };
    let plural = word.strip_suffix('s').and_then(known);
    known(&word).or(plural).or_else(|| nearest(&word, words))
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // A word this long is no misspelling of ours, and the table would be large.
    if one.len() > 64 {
        return usize::MAX;
    }
    let mut rows = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replace = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                let best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                let swapped =
                    i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                if swapped {
                    best.min(rows[i - 2][j - 2] + 1)
                } else {
                    best
                }
            };
        }
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspellings_find_their_word_and_strangers_do_not() {
        let known = ["counter", "window", "max", "scope"];
        assert_eq!(nearest("widnow", &known), Some("window"));
        assert_eq!(nearest("Window", &known), Some("window"));
        assert_eq!(nearest("mx", &known), Some("max"));
        assert_eq!(nearest("count", &known), None);
        assert_eq!(nearest("conter", &known), Some("counter"));
        assert_eq!(nearest("", &known), None);
        assert_eq!(nearest(&"window".repeat(40), &known), None);
    }

    #[test]
    fn another_name_for_the_same_finds_its_word() {
        let windows = ["second", "minute", "hour", "day"];
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        for (key, word, words, meant_word) in [
            ("window", "minutes", &windows[..], Some("minute")),
            ("window", "Min", &windows, Some("minute")),
            ("window", "month", &windows, None),
            ("window", "60", &windows, None),
            ("days", "Monday", &days, Some("mon")),
            ("days", "Thurs", &days, Some("thu")),
            ("days", "Sundays", &days, Some("sun")),
            ("days", "every day", &days, None),
            ("scope", "users", &["grant", "uid"], Some("uid")),
            ("action", "user", &["grant", "uid"], None),
        ] {
            assert_eq!(meant(key, word, words), meant_word, "{key} {word}");
        }
    }
}
