//! Against a model that keeps every call for ever and counts anew each time.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// Ask, the clock having moved by so many nanoseconds.
    Ask(i64, Vec<(Counter, u32)>),
    /// A call that nobody asked for.
    Charge(i64, Counter, u32),
    /// Give the nth call back.
    Release(usize),
    /// Make the nth call final.
    Commit(usize),
    /// The nth call could not be written down.
    Forget(usize),
    /// Another policy: other maxima, and which counters it names.
    Reload([u32; 2], [bool; 2]),
}

/// One of two counters, whose windows differ.
type Counter = usize;
const NAMES: [&str; 2] = ["short", "long"];
const WINDOWS: [i64; 2] = [WINDOW, 4 * WINDOW];

struct Call {
    id: DecisionId,
    at: i64,
    costs: Vec<(Counter, u32)>,
    is_final: bool,
}

/// What the limiter must do.
struct Model {
    calls: Vec<Call>,
    max: [u32; 2],
    clock: i64,
    /// The latest instant that the clock showed.
    latest: i64,
    next_id: u64,
    limiter: Limiter,
}

impl Model {
    fn new() -> Self {
        let mut model = Self {
            calls: Vec::new(),
            max: [0, 0],
            clock: 0,
            // Before any instant that is asked about, without overflow.
            latest: i64::MIN / 4,
            next_id: 0,
            limiter: Limiter::new(),
        };
        model.reload([3, 9], [true, true]);
        model
    }

    fn want(&self, counter: Counter, cost: u32) -> Want {
        Want {
            window_ns: WINDOWS[counter],
            cost,
            ..named(NAMES[counter], self.max[counter])
        }
    }

    fn pass(&mut self, ns: i64) -> DecisionId {
        self.clock += ns;
        self.latest = self.latest.max(self.clock);
        self.next_id += 1;
        DecisionId(self.next_id)
    }

    /// What the window that ends at `at` holds.
    fn used(&self, counter: Counter, at: i64) -> u32 {
        let window = at - WINDOWS[counter] + 1..=at;
        let calls = self.calls.iter().filter(|call| window.contains(&call.at));
        calls.map(|call| cost_of(&call.costs, counter)).sum()
    }

    fn reload(&mut self, max: [u32; 2], named: [bool; 2]) {
        self.max = max;
        let named = (0..2).filter(|counter| named[*counter]);
        let windows = named.map(|counter| (NAMES[counter].to_owned(), WINDOWS[counter]));
        self.limiter.set_windows(&windows.collect());
    }

    fn ask(&mut self, ns: i64, costs: Vec<(Counter, u32)>) -> Result<(), TestCaseError> {
        let id = self.pass(ns);
        let wants: Vec<Want> = costs.iter().map(|(c, cost)| self.want(*c, *cost)).collect();
        let answer = self.limiter.reserve(&wants, id, self.clock);
        let fits = |at, counter: Counter| {
            self.used(counter, at) + cost_of(&costs, counter) <= self.max[counter]
        };
        let fits_all = |at| costs.iter().all(|(counter, _)| fits(at, *counter));
        let alone = |(c, _): &(Counter, u32)| cost_of(&costs, *c) > self.max[*c];
        match answer {
            Ok(()) => prop_assert!(fits_all(self.latest), "admitted without room"),
            Err(LimitError::NeverFits { index }) => {
                prop_assert!(alone(&costs[index]), "it fits alone");
                return Ok(());
            }
            Err(LimitError::Exceeded {
                index,
                retry_after_ns,
            }) => {
                prop_assert!(!fits(self.latest, costs[index].0), "refused with room");
                let then = self.latest + retry_after_ns;
                prop_assert!(!fits_all(then - 1), "told to wait too long");
                prop_assert!(fits_all(then), "told to come back too early");
                return Ok(());
            }
            Err(LimitError::Full { .. }) => prop_assert!(false, "two counters are not too many"),
        }
        let at = self.latest;
        self.calls.push(Call {
            id,
            at,
            costs,
            is_final: false,
        });
        Ok(())
    }

    fn charge(&mut self, ns: i64, counter: Counter, cost: u32) {
        let id = self.pass(ns);
        let wants = [self.want(counter, cost)];
        let charged = self.limiter.charge(&wants, id, self.clock);
        charged.expect("two counters are not too many");
        self.calls.push(Call {
            id,
            at: self.latest,
            costs: vec![(counter, cost)],
            is_final: true,
        });
    }

    fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
        let count = self.calls.len().max(1);
        match step {
            Step::Ask(ns, costs) => self.ask(ns, costs)?,
            Step::Charge(ns, counter, cost) => self.charge(ns, counter, cost),
            Step::Reload(max, named) => self.reload(max, named),
            Step::Release(nth) => {
                if let Some(call) = self.calls.get(nth % count) {
                    // A lapsed call may still be released: that changes nothing.
                    prop_assert_eq!(self.limiter.release(call.id), !call.is_final);
                    if !call.is_final {
                        self.calls.remove(nth % count);
                    }
                }
            }
            Step::Commit(nth) => {
                if let Some(call) = self.calls.get_mut(nth % count) {
                    call.is_final = true;
                    self.limiter.commit(call.id);
                }
            }
            Step::Forget(nth) => {
                if !self.calls.is_empty() {
                    self.limiter.forget(self.calls.remove(nth % count).id);
                }
            }
        }
        for counter in 0..2 {
            let left = self.limiter.state(&self.want(counter, 1), self.clock);
            let used = self.used(counter, self.latest);
            prop_assert_eq!(left.remaining, self.max[counter].saturating_sub(used));
        }
        Ok(())
    }
}

fn cost_of(costs: &[(Counter, u32)], counter: Counter) -> u32 {
    let same = costs.iter().filter(|(other, _)| *other == counter);
    same.map(|(_, cost)| cost).sum()
}

fn step(alone: bool) -> impl Strategy<Value = Step> {
    let tick = WINDOW / 16;
    // Backwards, too, and a nanosecond to either side of a tick; sometimes far.
    let passed = prop_oneof![
        9 => (-1..4_i64, -1..2_i64).prop_map(move |(ticks, ns)| ticks * tick + ns),
        1 => (-2..=2_i64).prop_map(|windows| windows * WINDOW),
    ];
    let costs = prop::collection::vec((0..2_usize, 1..4_u32), 1..4);
    let others = u32::from(!alone);
    prop_oneof![
        12 => (passed.clone(), costs).prop_map(|(ns, costs)| Step::Ask(ns, costs)),
        3 => any::<usize>().prop_map(Step::Release),
        3 => any::<usize>().prop_map(Step::Commit),
        1 => any::<usize>().prop_map(Step::Forget),
        others => (passed, 0..2_usize, 1..4_u32).prop_map(|(ns, c, cost)| Step::Charge(ns, c, cost)),
        others => ([1..6_u32, 1..12_u32], any::<[bool; 2]>())
            .prop_map(|(max, named)| Step::Reload(max, named)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Admitted exactly when there is room, told exactly when to come back,
    /// given back exactly what was paid: whatever was charged beside, reloaded
    /// or set back.
    #[test]
    fn every_answer_is_that_of_the_model(
        steps in prop::collection::vec(step(false), 1..200),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(step)?;
        }
    }

    /// The promise itself, counted over every window that begins with a call.
    #[test]
    fn no_window_ever_holds_more_than_max(
        steps in prop::collection::vec(step(true), 1..200),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.take(step)?;
            for call in &model.calls {
                for (counter, window_ns) in WINDOWS.into_iter().enumerate() {
                    let end = call.at + window_ns - 1;
                    prop_assert!(model.used(counter, end) <= model.max[counter]);
                }
            }
        }
    }
}
