//! Which worlds are explored, and how far.

use std::{any::type_name, marker::PhantomData, time::Instant};

use pysock_proto::registry::Policy;
use stateright::{Checker, HasDiscoveries, Model};

use crate::{
    names::Names,
    rules::{Crossing, Rules},
    sessions::{Budget, Sessions, Sight},
    symbols::{Check, Checked, Symbols, Unchecked},
};

/// What a run came to: a line for the table, and what is wrong with it.
pub(crate) struct Outcome {
    pub(crate) line: String,
    pub(crate) wrong: Option<String>,
}

const NONE: Budget = Budget {
    opens: [1, 1],
    sends: [0, 0],
    closes: [0, 0],
    drops: 0,
    copies: 0,
    holds: 0,
    restarts: 0,
    reconnects: 0,
    hurries: 0,
};

/// Each knows the other's key, none does, or one.
const KK: [bool; 2] = [true, true];
const XX: [bool; 2] = [false, false];
const MIXED: [bool; 2] = [true, false];

type Row = (&'static str, Rules, bool, Budget, &'static [Sight]);

/// The sessions that CI explores.
fn rows() -> Vec<Row> {
    let (kk, xx) = (Rules::new(KK, true), Rules::new(XX, true));
    let (mixed, dexim) = (Rules::new(MIXED, true), Rules::new(MIXED, false));
    let again = Budget { opens: [2, 2], drops: 1, hurries: 1, ..NONE };
    let restart = Budget { restarts: 2, drops: 2, ..NONE };
    let one = Budget { opens: [1, 0], ..NONE };
    let talk = Budget { sends: [1, 1], ..one };
    vec![
        ("both open, KK", kk, true, again, &[Sight::Resumed, Sight::Nothing]),
        ("both open, XX", xx, true, again, &[Sight::Resumed, Sight::Nothing]),
        ("both open, the smaller one with KK", mixed, true, again, &[]),
        ("both open, the smaller one with XX", dexim, true, again, &[]),
        ("restarts, KK", kk, true, restart, &[Sight::Nothing]),
        ("restarts, XX, new numbers", xx, false, Budget { restarts: 1, ..restart }, &[]),
        ("connections", kk, true, Budget { reconnects: 2, ..NONE }, &[Sight::Resumed]),
        ("connections, new numbers", kk, false, Budget { reconnects: 2, ..NONE }, &[]),
        (
            "messages are lost",
            kk,
            true,
            Budget { sends: [2, 1], drops: 2, ..one },
            &[Sight::Reported],
        ),
        ("messages come twice and late", kk, true, Budget { copies: 1, holds: 1, ..talk }, &[]),
        ("handshakes come twice and late", xx, true, Budget { copies: 1, holds: 1, ..NONE }, &[]),
        (
            "messages and connections",
            kk,
            true,
            Budget { reconnects: 1, drops: 1, ..talk },
            &[Sight::Reported],
        ),
        (
            "messages and restarts",
            kk,
            true,
            Budget { opens: [1, 1], restarts: 1, drops: 1, ..talk },
            &[Sight::Unknown],
        ),
        (
            "a restart, and what was before it",
            kk,
            true,
            Budget { restarts: 1, copies: 1, ..one },
            &[],
        ),
        (
            "closes",
            kk,
            true,
            Budget { sends: [1, 0], closes: [1, 1], drops: 1, ..NONE },
            &[Sight::Nothing, Sight::Unknown],
        ),
    ]
}

/// The same for a night: more of everything.
fn deep_rows() -> Vec<Row> {
    let mut deep = rows();
    for (_, _, _, budget, _) in &mut deep {
        // Three of a kind would take days, and more memory than most machines have.
        let more = |n: &mut u8| *n += u8::from(*n == 1);
        let Budget { drops, copies, restarts, reconnects, hurries, .. } = budget;
        [drops, copies, restarts, reconnects].into_iter().for_each(more);
        *hurries = 1;
    }
    deep
}

/// Everything, one after the other.
pub(crate) fn run(deep: bool, threads: usize, mut say: impl FnMut(&Outcome)) {
    for row in if deep { deep_rows() } else { rows() } {
        say(&explore::<Checked>(row, threads, false));
    }
    let rules = Rules::new(KK, true);
    for crossing in [Crossing::NeitherYields, Crossing::BothYield] {
        let row = ("", Rules { crossing, ..rules }, true, NONE, &[][..]);
        say(&explore::<Checked>(row, threads, true));
    }
    let copies = Budget { opens: [1, 0], sends: [1, 1], restarts: 1, copies: 1, ..NONE };
    say(&explore::<Unchecked>(("", rules, true, copies, &[]), threads, true));
    let depth = if deep { 9 } else { 7 };
    for (policy, disk) in [
        (Policy::Open, &[(2, 1)][..]),
        (Policy::ClaimOnce { quota: 9 }, &[]),
        (Policy::AllowList, &[(0, 0), (2, 1)]),
    ] {
        let what = format!("names, {policy:?}, {depth} steps");
        say(&check(&what, Names { policy, depth, disk }, threads, false));
    }
}

fn explore<K: Check>(row: Row, threads: usize, fails: bool) -> Outcome {
    let (name, rules, bound, budget, shows) = row;
    let undone = match rules.crossing {
        Crossing::Smaller => type_name::<K>().rsplit("::").next().unwrap_or_default(),
        Crossing::NeitherYields => "NeitherYields",
        Crossing::BothYield => "BothYield",
    };
    let what = if fails { format!("has to fail: {undone}") } else { name.to_string() };
    let model = Sessions::<Symbols<K>> { rules, budget, bound, shows, crypto: PhantomData };
    check(&what, model, threads, fails)
}

/// Explores all of a model; or, of one that has to fail, as much as it takes to see it.
fn check<M>(what: &str, model: M, threads: usize, fails: bool) -> Outcome
where
    M: Model + Send + Sync + 'static,
    M::State: Send + Sync + std::hash::Hash + std::fmt::Debug + Clone + PartialEq,
    M::Action: Send + Sync + std::fmt::Debug + Clone + PartialEq,
{
    let began = Instant::now();
    let builder = model.checker().threads(threads);
    let checker = match fails {
        true => builder.finish_when(HasDiscoveries::AnyFailures),
        false => builder,
    };
    let checker = checker.spawn_bfs().join();
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    let seconds = began.elapsed().as_secs_f32();
    let mut found = vec![];
    for property in checker.model().properties() {
        match (checker.discovery(property.name), property.expectation.discovery_is_failure()) {
            (Some(path), true) => {
                let end = format!("{:?}", path.last_state());
                found.push(format!("{}: {:?}: {end}", property.name, path.into_actions()));
            }
            (None, false) if !fails => found.push(format!("never seen: {}", property.name)),
            _ => {}
        }
    }
    let wrong = match (fails, found.is_empty()) {
        (false, false) => Some(found.join("\n")),
        (true, true) => Some("the rule is undone, and nobody has noticed".to_string()),
        _ => None,
    };
    let verdict = if wrong.is_some() { "WRONG" } else { "ok" };
    let depth = checker.max_depth();
    let line = format!("{what:40} {states:>9} {steps:>9} {depth:>5} {seconds:>7.1}  {verdict}");
    Outcome { line, wrong }
}
