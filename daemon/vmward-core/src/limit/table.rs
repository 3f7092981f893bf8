//! Where the logs of all counters are found, and how much room they take.

use std::{borrow::Borrow, collections::BTreeMap, sync::Arc};

use super::{
    StampEntry, Want,
    log::Log,
    room::{Load, Room, Whose},
};

/// Logs by counter and key. A counter can have ten thousand keys, so its name is
/// held once, and keys without room to grow.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    counters: BTreeMap<String, BTreeMap<Box<str>, Log>>,
    rooms: Rooms,
}

/// How long stamps matter.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    /// Those of a log that is new.
    pub(super) all_ns: i64,
    /// This one at least.
    pub(super) this_ns: i64,
}

/// What is taken of each room. A counter under a made-up key belongs to the
/// account that charged it first, with all its stamps.
#[derive(Clone, Debug, Default)]
struct Rooms {
    all: Room,
    made_up: Room,
    shares: BTreeMap<Arc<str>, Room>,
}

impl Rooms {
    /// Every room that a counter of this maker takes something of.
    fn of(&mut self, maker: Option<&str>) -> impl Iterator<Item = &mut Room> {
        let own = maker.map(|maker| {
            let share = self.shares.get_mut(maker);
            std::iter::once(&mut self.made_up).chain(share)
        });
        std::iter::once(&mut self.all).chain(own.into_iter().flatten())
    }

    /// One room; none where the account has made nothing up.
    fn one(&mut self, whose: Whose, maker: Option<&str>) -> Option<&mut Room> {
        match whose {
            Whose::Share => self.shares.get_mut(maker?),
            Whose::MadeUp => Some(&mut self.made_up),
            Whose::All => Some(&mut self.all),
        }
    }

    /// The account's name as all its counters hold it.
    fn maker(&mut self, maker: &Arc<str>) -> Arc<str> {
        if let Some((name, _)) = self.shares.get_key_value(maker) {
            return Arc::clone(name);
        }
        self.shares.insert(Arc::clone(maker), Room::default());
        Arc::clone(maker)
    }

    fn taken(&mut self, maker: Option<&str>, counters: usize, stamps: usize) {
        for room in self.of(maker) {
            room.taken(counters, stamps);
        }
        if let Some(maker) = maker
            && self
                .shares
                .get(maker)
                .is_some_and(|room| room.counters == 0)
        {
            self.shares.remove(maker);
        }
    }

    fn every(&mut self) -> impl Iterator<Item = &mut Room> {
        let two = [&mut self.all, &mut self.made_up];
        two.into_iter().chain(self.shares.values_mut())
    }
}

impl Table {
    pub(super) fn get(&self, counter: &str, key: &str) -> Option<&Log> {
        self.counters.get(counter)?.get(key)
    }

    pub(super) fn get_mut(&mut self, counter: &str, key: &str) -> Option<&mut Log> {
        self.counters.get_mut(counter)?.get_mut(key)
    }

    /// Puts a stamp into the log of this counter and key, which is made where it
    /// is missing: under a key that `maker` made up, if any.
    pub(super) fn put(
        &mut self,
        counter: &str,
        key: &str,
        maker: Option<&Arc<str>>,
        keep: Keep,
        stamp: StampEntry,
    ) {
        let is_new = self.get(counter, key).is_none();
        let maker = maker
            .filter(|_| is_new)
            .map(|maker| self.rooms.maker(maker));
        let keys = self.counters.entry(counter.to_owned()).or_default();
        let log = keys.entry(key.into());
        let log = log.or_insert_with(|| Log::new(keep.all_ns, maker));
        log.kept_for(stamp.at_ns, keep.this_ns);
        log.insert(stamp);
        let lapses_ns = stamp.at_ns.saturating_add(log.keep_of(stamp.at_ns));
        for room in self.rooms.of(log.maker()) {
            room.put(is_new, lapses_ns);
        }
    }

    /// Takes stamps out of one log, and the log away where none is left. `take`
    /// says how many it took.
    pub(super) fn take(&mut self, counter: &str, key: &str, take: impl FnOnce(&mut Log) -> usize) {
        let Some(keys) = self.counters.get_mut(counter) else {
            return;
        };
        let Some(log) = keys.get_mut(key) else {
            return;
        };
        let stamps = take(log);
        if !log.is_empty() {
            self.rooms.taken(log.maker(), 0, stamps);
            return;
        }
        if let Some(log) = keys.remove(key) {
            self.rooms.taken(log.maker(), 1, stamps);
        }
        if keys.is_empty() {
            self.counters.remove(counter);
        }
    }

    /// The same for every log.
    pub(super) fn take_all(&mut self, mut take: impl FnMut(&mut Log) -> usize) {
        let Self { counters, rooms } = self;
        counters.retain(|_, keys| {
            keys.retain(|_, log| {
                let stamps = take(log);
                rooms.taken(log.maker(), usize::from(log.is_empty()), stamps);
                !log.is_empty()
            });
            !keys.is_empty()
        });
    }

    /// Drops every stamp that does not matter any more.
    pub(super) fn sweep(&mut self, now_ns: i64) {
        self.take_all(|log| log.drop_lapsed(now_ns));
        let Self { counters, rooms } = self;
        rooms.every().for_each(Room::look_anew);
        for log in counters.values().flat_map(BTreeMap::values) {
            if let Some((first_ns, last_ns)) = log.lapses_ns() {
                for room in rooms.of(log.maker()) {
                    room.saw(first_ns, last_ns);
                }
            }
        }
    }

    /// Stamps are kept for a shorter time than before: all that is known of when
    /// they lapse is too late.
    pub(super) fn lapse_earlier(&mut self) {
        for room in self.rooms.every() {
            room.lapse_ns = i64::MIN;
        }
    }

    /// Is there room for all of them? Else, which does not fit where, and how long
    /// that lasts at least.
    pub(super) fn make_room<W: Borrow<Want>>(
        &mut self,
        wants: &[W],
        now_ns: i64,
    ) -> Result<(), (usize, Whose, Option<i64>)> {
        let takers = wants.iter().map(|want| self.taker(want.borrow()));
        let takers: Vec<Taker> = takers.collect();
        for (index, taker) in takers.iter().enumerate() {
            if taker.maker.is_some() {
                let same = |other: &&Taker| other.maker == taker.maker;
                let need = Need::of(takers.iter().filter(same));
                self.make_one(Whose::Share, taker, need, now_ns)
                    .map_err(|wait_ns| (index, Whose::Share, wait_ns))?;
            }
        }
        let made_up = |taker: &&Taker| taker.maker.is_some();
        for (whose, need) in [
            (Whose::MadeUp, Need::of(takers.iter().filter(made_up))),
            (Whose::All, Need::of(takers.iter())),
        ] {
            let counts = |taker: &Taker| whose == Whose::All || taker.maker.is_some();
            let first_new = takers
                .iter()
                .position(|taker| taker.is_new && counts(taker));
            let first = first_new.or_else(|| takers.iter().position(counts));
            if let Some((index, taker)) = first.and_then(|at| takers.get(at).map(|one| (at, one))) {
                self.make_one(whose, taker, need, now_ns)
                    .map_err(|wait_ns| (index, whose, wait_ns))?;
            }
        }
        Ok(())
    }

    /// Room in one place; else, how long there is none at least.
    fn make_one(
        &mut self,
        whose: Whose,
        taker: &Taker,
        need: Need,
        now_ns: i64,
    ) -> Result<(), Option<i64>> {
        let Need { counters, stamps } = need;
        let maker = taker.maker.as_deref();
        let Some(room) = self.rooms.one(whose, maker) else {
            // An account that has made nothing up yet.
            return Ok(());
        };
        if room.fits(whose, counters, stamps) {
            return Ok(());
        }
        if now_ns >= room.lapse_ns {
            self.sweep(now_ns);
        }
        match self.rooms.one(whose, maker) {
            Some(room) if !room.fits(whose, counters, stamps) => {
                room.refused_ns = Some(now_ns);
                Err(room.wait_ns(whose, counters, now_ns))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn taker(&self, want: &Want) -> Taker {
        match self.get(&want.counter, &want.key) {
            Some(log) => Taker {
                maker: log.maker.clone(),
                is_new: false,
            },
            None => Taker {
                maker: want.maker.clone(),
                is_new: true,
            },
        }
    }

    /// What is taken, after a sweep.
    pub(super) fn load(&self, now_ns: i64) -> Load {
        let Rooms {
            all,
            made_up,
            shares,
        } = &self.rooms;
        let both = [(Whose::All, all), (Whose::MadeUp, made_up)];
        let near = both
            .into_iter()
            .find(|(whose, room)| room.is_nearly_full(*whose));
        let short = shares.iter().filter(|(_, room)| room.was_short(now_ns));
        Load {
            counters: all.counters,
            stamps: all.stamps,
            near: near.map(|(whose, _)| whose),
            short: short.map(|(maker, _)| maker.to_string()).collect(),
        }
    }

    /// Every log with its counter and key, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str, &Log)> {
        self.counters.iter().flat_map(|(counter, keys)| {
            let logs = keys.iter();
            logs.map(move |(key, log)| (counter.as_str(), key.as_ref(), log))
        })
    }

    /// All logs of one counter.
    pub(super) fn of_counter(&mut self, counter: &str) -> impl Iterator<Item = &mut Log> {
        let keys = self.counters.get_mut(counter);
        keys.into_iter().flat_map(BTreeMap::values_mut)
    }
}

/// Of whose share a want takes.
struct Taker {
    maker: Option<Arc<str>>,
    /// Does it need a counter, too?
    is_new: bool,
}

/// What a call takes of a room.
#[derive(Clone, Copy)]
struct Need {
    counters: usize,
    stamps: usize,
}

impl Need {
    fn of<'a>(takers: impl Iterator<Item = &'a Taker>) -> Self {
        takers.fold(
            Self {
                counters: 0,
                stamps: 0,
            },
            |Self { counters, stamps }, taker| Self {
                counters: counters + usize::from(taker.is_new),
                stamps: stamps + 1,
            },
        )
    }
}

#[cfg(test)]
impl Table {
    /// Counters and stamps of all, of those under made-up keys, and of each
    /// account, as they are noted.
    pub(super) fn noted(&self) -> BTreeMap<String, (usize, usize)> {
        let two = [("all", &self.rooms.all), ("made up", &self.rooms.made_up)];
        let shares = self.rooms.shares.iter();
        let shares = shares.map(|(maker, room)| (maker.as_ref(), room));
        let taken = two.into_iter().chain(shares);
        taken
            .map(|(whose, room)| (whose.to_owned(), (room.counters, room.stamps)))
            .collect()
    }

    /// The same, counted.
    pub(super) fn counted(&self) -> BTreeMap<String, (usize, usize)> {
        let mut all = BTreeMap::from(["all", "made up"].map(|whose| (whose.to_owned(), (0, 0))));
        for (_, _, log) in self.iter() {
            let made_up = log.maker().map(|_| "made up");
            for whose in ["all"].into_iter().chain(made_up).chain(log.maker()) {
                let (counters, stamps) = all.entry(whose.to_owned()).or_default();
                *counters += 1;
                *stamps += log.len();
            }
        }
        all
    }
}
