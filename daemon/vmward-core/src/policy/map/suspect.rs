//! The guess for tools that no entry knows: could it stop a VM?
//!
//! A wrong yes costs one line in the policy's `effect_map`; a wrong no costs a
//! VM. So words count by their beginning, and glued words are taken apart.

mod chosen;

use serde_json::{Map, Value};

/// Beginnings of words that speak for a stop.
const STEMS: &[&str] = &[
    "abort",
    "command",
    "coredump",
    "crash",
    "cycle",
    "deactivat",
    "decommission",
    "delet",
    "deprovision",
    "destroy",
    "drain",
    "erase",
    "evacuat",
    "evict",
    "exec",
    "fenc",
    "freez",
    "halt",
    "hibernat",
    "ipmi",
    "kexec",
    "kill",
    "kubectl",
    "migrat",
    "monitor",
    "paus",
    "power",
    "pkill",
    "purge",
    "qmp",
    "quit",
    "reboot",
    "rebuild",
    "remov",
    "reset",
    "restart",
    "restor",
    "revert",
    "rollback",
    "save",
    "saving",
    "shell",
    "shelve",
    "shut",
    "sigkill",
    "sigstop",
    "sigterm",
    "ssh",
    "standby",
    "stop",
    "suspend",
    "sysrq",
    "takedown",
    "teardown",
    "terminat",
    "undefin",
    "undeploy",
    "uninstall",
    "virsh",
    "wipe",
];
/// Words that do so only when they stand alone.
const WORDS: &[&str] = &[
    "bash", "cmd", "del", "drop", "eval", "hmp", "nmi", "off", "panic", "pct", "qm", "raw", "rm",
    "run", "script", "sendkey", "sendkeys", "sh", "signal", "unplug",
];
/// Words that do so only beside what a VM is called: `move_file` and `dump_table`
/// are harmless.
const BESIDE_NOUNS: &[&str] = &[
    "bounce",
    "cancel",
    "close",
    "disable",
    "down",
    "dump",
    "eject",
    "end",
    "exit",
    "inactive",
    "move",
    "nuke",
    "offline",
    "recycle",
    "reimage",
    "reinstall",
    "relocate",
    "retire",
    "scrap",
    "sleep",
    "trash",
    "zap",
];
/// `dump_vm_config` writes down what the VM is, and not its memory.
const WRITTEN_DOWN: &[&str] = &["config", "info", "json", "log", "logs", "xml", "yaml"];
/// `disable_vm_autostart` leaves the VM alone.
const SETTINGS: &[&str] = &["autoboot", "autostart", "onboot"];
/// So does `eject_vm_cdrom`.
const MEDIA: &[&str] = &["cd", "cdrom", "dvd", "floppy", "iso", "media", "medium"];
/// `take_down` whatever it is, and `scroll_down` only in a VM.
const DOWNS: &[&str] = &[
    "bring", "go", "pull", "put", "scale", "spin", "take", "tear", "wind",
];
/// `send_key` can be Ctrl-Alt-Del.
const KEYS: &[&str] = &["key", "keys", "keystroke", "keystrokes"];
const PRESSES: &[&str] = &["inject", "press", "send"];
/// `proxmox_api` passes on whatever it is given.
const PLATFORMS: &[&str] = &[
    "esxi",
    "hyperv",
    "kubevirt",
    "kvm",
    "libvirt",
    "nova",
    "openstack",
    "proxmox",
    "pve",
    "qemu",
    "vcenter",
    "vsphere",
    "xen",
];
/// A name that begins with one of these reads. A server's name may stand before
/// the first four: `libvirt_list_domains`.
const READS: &[&str] = &["list", "get", "show", "describe"];
const READS_FIRST: &[&str] = &["status", "info"];
/// One with these takes a state for a filter, too.
const FINDS: &[&str] = &["count", "filter", "find", "query", "search", "watch"];
/// `get_or_kill` does more than read.
const JOINTS: &[&str] = &["and", "or", "then"];
/// What a VM is called, to take `stopvm` apart.
const NOUNS: &[&str] = &["vms", "vm", "domain", "guest", "instance", "machine"];
/// What makes the tool suspect, for the message.
pub(super) fn why(tool: &str, arguments: &Map<String, Value>) -> Option<String> {
    if !tool.is_ascii() {
        // A Cyrillic or full-width letter, or a sign that nobody sees, hides a word.
        return Some("its name has letters or signs outside of ASCII in it".to_owned());
    }
    let words = split(tool);
    let reads = reads(&words);
    if let Some(word) = stop_word(&words, has_noun(&words)).filter(|_| !reads) {
        return Some(format!("its name has {word:?} in it"));
    }
    chosen::why(arguments, has_noun(&words), reads || finds(&words))
}

/// Does it look for something, by what may then be a state? It might do more.
fn finds(words: &[String]) -> bool {
    let mut first = words.iter().take(2);
    let joined = words.iter().any(|word| JOINTS.contains(&word.as_str()));
    !joined && first.any(|word| FINDS.contains(&word.as_str()))
}

/// The first word that speaks for a stop. `of_vm`: it is about a VM.
fn stop_word(words: &[String], of_vm: bool) -> Option<&String> {
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    let beside = |word: &str| match word {
        "disable" => of_vm && !has(SETTINGS),
        "dump" => of_vm && !has(WRITTEN_DOWN),
        "eject" => of_vm && !has(MEDIA),
        "down" => of_vm || has(DOWNS),
        "api" => has(PLATFORMS),
        word if KEYS.contains(&word) => has(PRESSES),
        word => of_vm && BESIDE_NOUNS.contains(&word),
    };
    words.iter().find(|word| is_stop_word(word) || beside(word))
}

/// Does one of the words call a VM?
fn has_noun(words: &[String]) -> bool {
    words.iter().any(|word| {
        let one = word.strip_suffix('s').unwrap_or(word);
        NOUNS.contains(&one) || word == "vps"
    })
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
    let mut rest = NOUNS.iter().filter_map(inside);
    speaks(word) || rest.any(|word| speaks(word) || BESIDE_NOUNS.contains(&word))
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
