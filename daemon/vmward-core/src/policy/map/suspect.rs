//! The guess for tools that no entry knows: could it stop a VM?
//!
//! A wrong yes costs one line in the policy's `effect_map`; a wrong no costs a
//! VM. So words count by their beginning, and glued words are taken apart.

use serde_json::{Map, Value};

use super::arguments;

/// Beginnings of words that speak for a stop.
const STEMS: &[&str] = &[
    "abort", "command", "crash", "cycle", "delet", "destroy", "drain", "erase", "evacuat", "evict",
    "exec", "freez", "halt", "hibernat", "kexec", "kill", "migrat", "monitor", "paus", "power",
    "purge", "qmp", "quit", "reboot", "rebuild", "remov", "reset", "restart", "restor", "revert",
    "rollback", "save", "saving", "shell", "shelve", "shut", "ssh", "stop", "suspend", "sysrq",
    "terminat", "undefin", "virsh", "wipe",
];
/// Words that do so only when they stand alone.
const WORDS: &[&str] = &[
    "bash", "cmd", "drop", "eval", "hmp", "nmi", "off", "panic", "pct", "qm", "raw", "rm", "run",
    "script", "sh",
];
/// A name that begins with one of these reads. A server's name may stand before
/// the first four: `libvirt_list_domains`.
const READS: &[&str] = &["list", "get", "show", "describe"];
const READS_FIRST: &[&str] = &["status", "info"];
/// `get_or_kill` does more than read.
const JOINTS: &[&str] = &["and", "or", "then"];
/// What a VM is called, to take `stopvm` apart.
const NOUNS: &[&str] = &["vms", "vm", "domain", "guest", "instance", "machine"];
/// Arguments that hold a program: whatever stands there could do anything.
const PROGRAMS: &[&str] = &["command", "commands", "cmd", "argv", "script", "qmp", "hmp"];
/// Arguments that choose what is done.
const CHOICES: &[&str] = &["action", "operation", "op", "method", "verb", "signal"];
/// Arguments that choose a state; for a tool that reads they are a filter.
const STATES: &[&str] = &[
    "state",
    "desired_state",
    "target_state",
    "power_state",
    "mode",
];

/// What makes the tool suspect, for the message.
pub(super) fn why(tool: &str, arguments: &Map<String, Value>) -> Option<String> {
    let words = split(tool);
    let reads = reads(&words);
    if let Some(word) = words.iter().find(|word| is_stop_word(word))
        && !reads
    {
        return Some(format!("its name has {word:?} in it"));
    }
    for key in PROGRAMS {
        if arguments::is_set(arguments, key) {
            return Some(format!("its argument {key:?} could do anything"));
        }
    }
    let states = if reads { &[] } else { STATES };
    for key in CHOICES.iter().chain(states) {
        for value in arguments::values(arguments, key) {
            let text = value.as_str().unwrap_or_default();
            if let Some(word) = split(text).iter().find(|word| is_stop_word(word)) {
                return Some(format!("its argument {key:?} has {word:?} in it"));
            }
        }
    }
    None
}

fn reads(words: &[String]) -> bool {
    let is = |place: usize, list: &[&str]| {
        let word = words.get(place).map_or("", String::as_str);
        list.contains(&word)
    };
    let after_stop = words.first().is_some_and(|word| is_stop_word(word));
    let joined = words.iter().any(|word| JOINTS.contains(&word.as_str()));
    !joined && (is(0, READS) || is(0, READS_FIRST) || (is(1, READS) && !after_stop))
}

fn is_stop_word(word: &str) -> bool {
    let speaks =
        |word: &str| STEMS.iter().any(|stem| word.starts_with(stem)) || WORDS.contains(&word);
    let inside = |noun: &&str| {
        word.strip_prefix(*noun)
            .or_else(|| word.strip_suffix(*noun))
    };
    speaks(word) || NOUNS.iter().filter_map(inside).any(speaks)
}

/// The words of a name, in lower case: split at what is no letter or digit, and
/// before each capital that follows a small letter or begins a word.
fn split(name: &str) -> Vec<String> {
    let letters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (at, letter) in letters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        let begins = letter.is_uppercase()
            && (before.is_some_and(|before| before.is_lowercase())
                || after.is_some_and(|after| after.is_lowercase()));
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
