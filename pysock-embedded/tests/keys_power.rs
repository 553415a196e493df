//! The power goes at every write and every erasure. Afterwards the old state is there or the new one, and all goes on.

mod nor;

use nor::{Change, Model, Nor, TEARS, Tear, change, long};
use proptest::prelude::*;
use pysock_embedded::keys::KeyStoreError;

/// Pins, changes, forgets; enough of it that the log moves several times.
fn script() -> (Vec<Change>, Vec<String>) {
    let labels: Vec<_> = (0..3).map(long).collect();
    let mut script = vec![];
    for round in 0..5u8 {
        let label = &labels[usize::from(round) % 3];
        script.push(Change::PinPeer(label.clone(), round));
        script.push(Change::Pin(round % 2, 1, vec![round]));
        script.push(Change::Name(format!("name-{round}")));
        script.push(Change::ForgetPeer(label.clone()));
        script.push(Change::Pin(3, round, vec![1; 16]));
        script.push(Change::Forget(3));
    }
    (script, labels)
}

fn every_cut<const W: usize, const E: usize>(pages: usize) {
    let (script, labels) = script();
    let mut flash = Nor::<W, E>::new(pages);
    flash.provision().unwrap();
    let mut model = Model::provisioned();
    let mut cuts = 0;
    for step in &script {
        let mut after = model.clone();
        after.change(step);
        for tear in TEARS {
            for cut in 0.. {
                let mut torn = flash.clone();
                torn.cut = Some((cut, tear));
                let done = change(&mut torn.open().unwrap(), step).is_ok();
                if !torn.off {
                    assert!(done);
                    break;
                }
                cuts += 1;
                torn.restart();
                let at = format!("{step:?}, cut at {cut}, {tear:?}");
                let mut store = torn.open().unwrap_or_else(|e| panic!("{at}: {e}"));
                let found = Model::of(&mut store, &labels).unwrap();
                assert!(found == after || (found == model && !done), "{at}: {found:?}");
                // It stays what it is, and the change can be made again.
                drop(store);
                let mut store = torn.open().unwrap();
                assert_eq!(Model::of(&mut store, &labels), Ok(found), "{at}");
                change(&mut store, step).unwrap();
                assert_eq!(Model::of(&mut store, &labels).as_ref(), Ok(&after), "{at}");
                drop(store);
                assert_eq!(Model::of(&mut torn.open().unwrap(), &labels).as_ref(), Ok(&after));
            }
        }
        change(&mut flash.open().unwrap(), step).unwrap();
        model = after;
    }
    assert!(flash.erased.iter().all(|times| *times > 0), "the log moved to and fro");
    assert!(cuts > 500, "{cuts}");
}

#[test]
fn a_cut_anywhere_leaves_the_old_or_the_new_state() {
    every_cut::<1, 512>(2);
    every_cut::<4, 512>(2);
    every_cut::<8, 640>(2);
    every_cut::<4, 256>(6);
    every_cut::<32, 1280>(2);
}

/// Provisions with the power cut at every place, and then again: as many attempts as there are lists of tears.
fn provision_with_cuts<const W: usize, const E: usize>(flash: &Nor<W, E>, tears: &[&[Tear]]) {
    let Some((now, later)) = tears.split_first() else {
        let mut flash = flash.clone();
        drop(flash.provision().unwrap());
        assert_eq!(Model::of(&mut flash.open().unwrap(), &[]), Ok(Model::provisioned()));
        return;
    };
    let has_to_erase = !flash.is_blank(0) && !flash.is_blank(1);
    for tear in now.iter() {
        for cut in 0.. {
            let mut flash = flash.clone();
            flash.cut = Some((cut, *tear));
            let result = flash.provision().map(drop);
            if !flash.off {
                assert_eq!(result, Ok(()));
                break;
            }
            flash.restart();
            match flash.open().map(|mut store| Model::of(&mut store, &[])) {
                Ok(model) => assert_eq!(model, Ok(Model::provisioned())),
                Err(KeyStoreError::Empty) => provision_with_cuts(&flash, later),
                // Documented: what an erasure that was cut short leaves may be anything.
                Err(KeyStoreError::Corrupt { .. }) if has_to_erase && cut == 0 => {}
                Err(error) => panic!("{error}, cut at {cut}, {tear:?}"),
            }
        }
    }
}

#[test]
fn a_cut_while_provisioning_leaves_nothing_or_all_of_it() {
    provision_with_cuts(&Nor::<4, 512>::new(2), &[&[Tear::Some, Tear::Anything], &TEARS]);
    provision_with_cuts(&Nor::<8, 512>::new(2), &[&TEARS, &[Tear::Some]]);
    provision_with_cuts(&Nor::<32, 512>::new(2), &[&[Tear::Some], &[Tear::Zeros], &TEARS]);
}

fn changes() -> impl Strategy<Value = Change> {
    let label = || (0..6usize).prop_map(long);
    let suites = || proptest::collection::vec(any::<u8>(), 0..17);
    prop_oneof![
        "[a-z0-9._-]{1,32}".prop_map(Change::Name),
        (0..4u8, 0..2u8, suites()).prop_map(|(slot, key, suites)| Change::Pin(slot, key, suites)),
        (0..4u8).prop_map(Change::Forget),
        (label(), 0..3u8).prop_map(|(label, key)| Change::PinPeer(label, key)),
        label().prop_map(Change::ForgetPeer),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Many changes, with cuts at random, also while the store opens and finishes what another cut left.
    #[test]
    fn random_changes_and_cuts_agree_with_the_model(
        steps in proptest::collection::vec((changes(), proptest::option::of((0..40usize, 0..5usize))), 1..120),
    ) {
        let labels: Vec<_> = (0..6).map(long).collect();
        let mut flash = Nor::<8, 1024>::new(4);
        flash.provision().unwrap();
        let mut model = Model::provisioned();
        for (step, cut) in steps {
            let mut after = model.clone();
            after.change(&step);
            flash.cut = cut.map(|(at, tear)| (at, TEARS[tear]));
            let result = flash.open().and_then(|mut store| change(&mut store, &step));
            let cut = flash.off;
            flash.restart();
            let found = Model::of(&mut flash.open().unwrap(), &labels).unwrap();
            match result {
                Ok(()) => prop_assert_eq!(&found, &after),
                Err(KeyStoreError::Full) => prop_assert_eq!(&found, &model),
                Err(error) => {
                    prop_assert!(cut, "{}", error);
                    prop_assert!(found == model || found == after);
                }
            }
            model = found;
        }
    }
}
