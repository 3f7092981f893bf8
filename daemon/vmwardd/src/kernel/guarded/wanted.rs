//! What is to be under guard: a row an object. Who can put files below a folder
//! that is looked through, be it by a mount or by a hard link, must neither take
//! the guard from something else nor use up the room for it.

use std::collections::{BTreeMap, BTreeSet};

use vmward_abi::{OBJECTS_MAX, ObjectKey, ObjectRow, object, object_class};

use super::tree::Found;

/// Rows by what they are about.
pub(super) type Rows = BTreeMap<ObjectKey, ObjectRow>;

/// Most objects among the pins, in each of the daemon's three folders, and below
/// the paths of configuration together.
pub(super) const PINS_MAX: usize = 1024;
pub(super) const OWN_FOLDER_MAX: usize = 1024;
pub(super) const CONFIG_MAX: usize = 4096;
/// Most lifelines, of one VM and of all.
pub(super) const OF_VM_MAX: usize = 256;
pub(super) const LIFELINES_MAX: usize = 23_488;
/// Most libraries that VMs and the daemon run.
pub(super) const LIBRARIES_MAX: usize = 512;
/// For what is few: maps, programs, places and what the folders lie in.
const OTHERS_MAX: usize = 512;

const _: () = assert!(
    PINS_MAX + 3 * OWN_FOLDER_MAX + CONFIG_MAX + LIFELINES_MAX + LIBRARIES_MAX + OTHERS_MAX
        <= OBJECTS_MAX as usize
);

/// The rows of one look, and those that it finds in the kernel.
pub(super) struct Wanted<'a> {
    before: &'a Rows,
    rows: Rows,
    full: BTreeSet<String>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(before: &'a Rows) -> Self {
        Self {
            before,
            rows: Rows::new(),
            full: BTreeSet::new(),
        }
    }

    /// An object that is wanted twice has the stricter class. Of two VMs that want
    /// it, the one that has it already keeps it.
    pub(super) fn add(&mut self, number: (u32, u64), row: ObjectRow) {
        let key = of_file(number);
        let is_weaker = self.rows.get(&key).is_some_and(|there| {
            let (there, new) = (strictness(there.class), strictness(row.class));
            there > new || there == new && self.before.get(&key) != Some(&row)
        });
        if !is_weaker {
            self.rows.insert(key, row);
        }
    }

    /// At most `max` of what was `found` in one place, which has the name that
    /// `place` gives it. Where there is more, what is under guard already comes
    /// first, found or not: a flood takes nothing off guard.
    pub(super) fn add_some(
        &mut self,
        found: &Found,
        row: ObjectRow,
        max: usize,
        place: impl FnOnce() -> String,
    ) {
        let numbers = &found.numbers;
        if !found.is_cut && numbers.len() <= max {
            for number in numbers {
                self.add(*number, row);
            }
            return;
        }
        self.full.insert(place());
        let is_kept = |number: &&(u32, u64)| self.before.get(&of_file(**number)) == Some(&row);
        let (kept, new): (Vec<_>, Vec<_>) = numbers.iter().partition(is_kept);
        let before = self.before.iter().filter(|(_, there)| **there == row);
        let before = before.map(|(key, _)| (key.dev, key.id));
        let mut taken = BTreeSet::new();
        for number in kept
            .into_iter()
            .copied()
            .chain(before)
            .chain(new.into_iter().copied())
        {
            if taken.len() == max {
                break;
            }
            taken.insert(number);
        }
        for number in taken {
            self.add(number, row);
        }
    }

    /// The rows, and the places of which something was left out.
    pub(super) fn finish(self) -> (Rows, BTreeSet<String>) {
        (self.rows, self.full)
    }
}

/// What a file's row is found by.
pub(super) fn of_file((dev, id): (u32, u64)) -> ObjectKey {
    ObjectKey {
        id,
        dev,
        kind: object::INODE,
    }
}

/// The higher, the fewer may do the fewer things at the fewer times: to what is
/// vmward's nobody at any time, PID 1 excepted where it is STATE; a place is never
/// covered, a folder stays where it is while VMs run; a lifeline is open to libvirt
/// and its VM, and ends with that; a library is replaced, and not written to, while VMs
/// run; configuration is open to all.
pub(super) fn strictness(class: u32) -> u32 {
    const FROM_THE_WEAKEST: [u32; 8] = [
        object_class::CONFIG,
        object_class::LIBRARY,
        object_class::LIFELINE,
        object_class::ABOVE,
        object_class::FOLDER,
        object_class::PLACE,
        object_class::STATE,
        object_class::BPF,
    ];
    (0..)
        .zip(FROM_THE_WEAKEST)
        .find_map(|(rank, found)| (found == class).then_some(rank))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(class: u32) -> ObjectRow {
        of_vm(class, 0)
    }

    fn of_vm(class: u32, tgid: u32) -> ObjectRow {
        ObjectRow {
            start_ticks: 0,
            tgid,
            class,
        }
    }

    fn found(inodes: impl Iterator<Item = u64>) -> Found {
        Found {
            numbers: inodes.map(|inode| (1, inode)).collect(),
            is_cut: false,
        }
    }

    fn class_of(classes: &[u32]) -> u32 {
        let before = Rows::new();
        let mut wanted = Wanted::new(&before);
        for class in classes {
            wanted.add((1, 7), row(*class));
        }
        wanted.finish().0[&of_file((1, 7))].class
    }

    #[test]
    fn what_is_wanted_twice_has_the_stricter_class_in_any_order() {
        use object_class::{BPF, CONFIG, FOLDER, LIFELINE, PLACE, STATE};
        for (strict, lax) in [
            (BPF, STATE),
            (BPF, CONFIG),
            (STATE, LIFELINE),
            (STATE, FOLDER),
            (PLACE, FOLDER),
            (PLACE, CONFIG),
            (FOLDER, LIFELINE),
            (FOLDER, CONFIG),
            (LIFELINE, CONFIG),
        ] {
            assert_eq!(class_of(&[strict, lax]), strict, "{strict} before {lax}");
            assert_eq!(class_of(&[lax, strict]), strict, "{lax} before {strict}");
        }
    }

    #[test]
    fn a_vm_keeps_the_lifeline_that_another_wants_as_well() {
        let [old, new] = [1, 2].map(|tgid| of_vm(object_class::LIFELINE, tgid));
        let before = Rows::from([(of_file((1, 7)), old)]);
        for order in [[old, new], [new, old]] {
            let mut wanted = Wanted::new(&before);
            for row in order {
                wanted.add((1, 7), row);
            }
            assert_eq!(wanted.finish().0[&of_file((1, 7))], old);
        }
    }

    #[test]
    fn a_flood_takes_nothing_off_guard_and_no_room_from_others() {
        let (own, other) = (row(object_class::STATE), row(object_class::CONFIG));
        let before = Rows::from([
            (of_file((1, 98)), own),
            (of_file((1, 99)), own),
            (of_file((1, 1)), other),
        ]);
        let mut wanted = Wanted::new(&before);
        // The last one found is there already, and so is one that was not reached.
        wanted.add_some(&found((1..=10).chain([98])), own, 4, || "here".to_owned());
        let (rows, full) = wanted.finish();
        let expected = [1, 2, 98, 99].map(|inode| (of_file((1, inode)), own));
        assert_eq!(rows, Rows::from(expected));
        assert_eq!(full, BTreeSet::from(["here".to_owned()]));
    }

    #[test]
    fn a_look_that_was_cut_short_takes_nothing_off_guard() {
        let own = row(object_class::STATE);
        let before = Rows::from([(of_file((1, 99)), own)]);
        let mut wanted = Wanted::new(&before);
        let found = Found {
            is_cut: true,
            ..found(1..=2)
        };
        wanted.add_some(&found, own, 9, || "here".to_owned());
        let (rows, full) = wanted.finish();
        let expected = [1, 2, 99].map(|inode| (of_file((1, inode)), own));
        assert_eq!((rows, full.len()), (Rows::from(expected), 1));
    }

    #[test]
    fn what_there_is_room_for_is_all_wanted() {
        let before = Rows::new();
        let mut wanted = Wanted::new(&before);
        wanted.add_some(&found(1..=2), row(object_class::CONFIG), 2, String::new);
        let (rows, full) = wanted.finish();
        assert_eq!((rows.len(), full.len()), (2, 0));
    }
}
