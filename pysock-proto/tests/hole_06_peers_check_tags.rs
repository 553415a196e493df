//! The seed's clients decrypted without checking a tag, and 6 of 10 messages arrived, out of order. Here every byte of a
//! record counts, and what arrives is in order.

mod sim;

use sim::peers::World;

const A: usize = 0;
const B: usize = 1;

#[test]
fn a_record_with_any_byte_changed_says_nothing() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.send(A, B, b"only this");
    let [record] = world.collect(A).try_into().unwrap();
    for at in 0..record.bytes.len() {
        for bit in [0x01, 0x80] {
            let mut forged = record.clone();
            forged.bytes[at] ^= bit;
            world.deliver(&forged);
            assert_eq!(world.clients[B].take(), [], "byte {at}");
        }
    }
    assert_eq!(world.clients[B].peers.dropped(), 2 * record.bytes.len() as u32);
    world.deliver(&record);
    assert_eq!(world.clients[B].messages(), [b"only this"]);
    world.heals(A, B);
}

#[test]
fn a_record_cut_short_or_made_longer_says_nothing() {
    let mut world = World::new(2);
    world.pair(A, B);
    world.send(A, B, b"only this");
    let [record] = world.collect(A).try_into().unwrap();
    for len in 1..record.bytes.len() {
        let mut forged = record.clone();
        forged.bytes.truncate(len);
        world.deliver(&forged);
        forged.bytes = record.bytes.clone();
        forged.bytes.extend(vec![0; len]);
        world.deliver(&forged);
        assert_eq!(world.clients[B].take(), [], "{len} bytes");
    }
    world.deliver(&record);
    assert_eq!(world.clients[B].messages(), [b"only this"]);
    world.heals(A, B);
}

#[test]
fn ten_of_ten_messages_arrive_in_order() {
    let mut world = World::new(2);
    world.pair(A, B);
    for n in 0..10u8 {
        world.send(A, B, &[n; 700]);
        world.run();
    }
    let expected: Vec<_> = (0..10u8).map(|n| vec![n; 700]).collect();
    assert_eq!(world.clients[B].messages(), expected);
}
