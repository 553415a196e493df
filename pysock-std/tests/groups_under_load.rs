//! Eight clients in one group, members coming and going while all send: nothing is lost unnoticed, nothing arrives
//! twice, altered, or at the wrong one.

mod common;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use common::{client_config, proxy::Proxy, serve, server_config};
use pysock_std::{
    Client, Error,
    client::groups::{Group, GroupMessage, GroupNews, Invitations},
    proto::GroupError,
};
use tokio::{sync::watch, task::JoinHandle};

const CLIENTS: usize = 8;
/// Messages that each sends during a change.
const PACE: u32 = 12;
/// It stays in from beginning to end, and its connection may be cut.
const STEADY: usize = CLIENTS - 1;
/// No test waits for ever. A machine with a lot else to do may take minutes.
const LIMIT: Duration = Duration::from_secs(240);

/// A client, and the how manieth time it is in.
type Stint = (usize, u32);

fn name(client: usize) -> String {
    format!("member-{client}")
}

/// xorshift64*, so that a failure can be repeated.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % n
    }
}

struct Said {
    from: Stint,
    n: u32,
    began: u64,
    ended: u64,
    /// Whose queues have taken it.
    reached: Vec<String>,
}

struct Got {
    by: Stint,
    from: Stint,
    n: u32,
    missed: u32,
}

/// When a stint began to be arranged, was complete, and was over for everybody, if the owner ended it.
#[derive(Default, Clone, Copy)]
struct Times {
    adding: u64,
    added: u64,
    removed: Option<u64>,
}

#[derive(Default)]
struct World {
    clock: AtomicU64,
    /// How many changes there were; `None`: there are no more.
    changes: watch::Sender<Option<u32>>,
    said: Mutex<Vec<Said>>,
    got: Mutex<Vec<Got>>,
    times: Mutex<HashMap<Stint, Times>>,
    /// The epoch up to which each knows the group.
    views: watch::Sender<HashMap<Stint, u32>>,
    /// Who has heard the end of whom.
    ends: watch::Sender<Vec<(Stint, Stint)>>,
}

impl World {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    fn knows(&self, stint: Stint, epoch: u32) {
        self.views.send_if_modified(|views| views.insert(stint, epoch) != Some(epoch));
    }

    /// Waits until these know what the owner knows. Whoever does not answer the owner in time hears of a change later, and
    /// on a busy machine that may be anybody.
    async fn settled(&self, owner: &Group, stints: &[Stint]) {
        let mut views = self.views.subscribe();
        let know = |views: &HashMap<_, _>| stints.iter().all(|s| views[s] >= owner.epoch());
        views.wait_for(know).await.unwrap();
    }
}

fn filling(from: Stint, n: u32) -> impl Iterator<Item = u8> {
    (0..).map(move |at: u32| (at ^ n.wrapping_mul(31) ^ from.0 as u32 ^ from.1) as u8)
}

fn body(from: Stint, n: u32, end: bool, len: usize) -> Vec<u8> {
    let mut body = vec![from.0 as u8, end.into()];
    body.extend(from.1.to_be_bytes());
    body.extend(n.to_be_bytes());
    body.extend(filling(from, n).take(len));
    body
}

/// Who says so, its number, and whether it is the end. Panics if a byte is altered.
fn read(message: &GroupMessage) -> (Stint, u32, bool) {
    let data = message.data();
    let number = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
    let (from, n) = ((usize::from(data[0]), number(2)), number(6));
    assert_eq!(message.sender().to_string(), name(from.0));
    assert!(data[10..].iter().copied().eq(filling(from, n).take(data.len() - 10)), "altered");
    (from, n, data[1] != 0)
}

/// Somebody who is in.
struct Active {
    stint: Stint,
    group: Group,
    listening: JoinHandle<()>,
    sending: JoinHandle<u32>,
}

impl Active {
    fn start(world: &Arc<World>, stint: Stint, group: Group) -> Self {
        world.knows(stint, group.epoch());
        let (listener, sender) = (group.clone(), group.clone());
        let heard = world.clone();
        let listening = tokio::spawn(async move {
            while let Some(news) = listener.next().await {
                heard.knows(stint, listener.epoch());
                let GroupNews::Message(message) = news else { continue };
                let (from, n, end) = read(&message);
                let got = Got { by: stint, from, n, missed: message.missed() };
                heard.got.lock().unwrap().push(got);
                if end {
                    heard.ends.send_modify(|ends| ends.push((from, stint)));
                }
            }
        });
        let world = world.clone();
        let sending = tokio::spawn(async move {
            let mut rng = Rng(1 + stint.0 as u64 * 1_000 + u64::from(stint.1));
            let (mut n, mut changes) = (0, world.changes.subscribe());
            let before = changes.borrow().unwrap_or(0);
            loop {
                // All keep sending during every change, and no faster than the slowest machine can take it.
                let may = |now: &Option<u32>| now.is_none_or(|now| n < (now - before + 1) * PACE);
                if changes.wait_for(may).await.unwrap().is_none() {
                    break;
                }
                let len = if rng.below(40) == 0 { 100_000 } else { rng.below(300) };
                if !say(&world, &sender, stint, n + 1, false, len as usize).await {
                    break;
                }
                n += 1;
            }
            n
        });
        Active { stint, group, listening, sending }
    }

    /// The group is over for it.
    async fn over(self) {
        self.sending.await.unwrap();
        self.listening.await.unwrap();
    }
}

/// `false`: it may not speak any more.
async fn say(world: &World, group: &Group, from: Stint, n: u32, end: bool, len: usize) -> bool {
    let began = world.now();
    let sent = match group.send(body(from, n, end, len)).await {
        Ok(sent) => sent,
        Err(Error::Group { source: GroupError::Over, .. }) => return false,
        Err(error) => panic!("{from:?}: {error}"),
    };
    let reached = sent.reached().map(|who| who.to_string().trim_matches('"').to_owned()).collect();
    world.said.lock().unwrap().push(Said { from, n, began, ended: world.now(), reached });
    true
}

async fn run(seed: u64, changes: u32, cuts: bool) {
    let server = serve(server_config()).await;
    let proxy = Proxy::to(server.address()).await;
    let world = Arc::new(World::default());
    world.changes.send_replace(Some(0));
    let (mut clients, mut invitations): (Vec<Client>, Vec<Invitations>) = (Vec::new(), Vec::new());
    for n in 0..CLIENTS {
        let mut config = client_config(&name(n));
        config.queue_bytes = 64 * 1024;
        let address = if n == STEADY { proxy.address } else { server.address() };
        let client = Client::from_config(config).connect(&address.to_string()).await.unwrap();
        invitations.push(client.listen_groups().unwrap());
        clients.push(client);
    }
    let (owner, _) = clients[0].create_group::<&str>("band", []).await.unwrap();
    let mut active: Vec<Option<Active>> = (0..CLIENTS).map(|_| None).collect();
    let mut stints = [0; CLIENTS];
    world.times.lock().unwrap().insert((0, 0), Times::default());
    active[0] = Some(Active::start(&world, (0, 0), owner.clone()));
    let mut rng = Rng(seed);
    for change in 0..changes {
        world.changes.send_replace(Some(change));
        if cuts && change > 2 && rng.below(3) == 0 {
            proxy.cut();
        }
        // The steady one comes first.
        let who = if change == 0 { STEADY } else { 1 + rng.below(STEADY as u64 - 1) as usize };
        let Some(member) = active[who].take() else {
            stints[who] += 1;
            let stint = (who, stints[who]);
            let adding = world.now();
            // It listens from the beginning: what it does not take holds up what the owner still has to tell it.
            let joining = async {
                let group = invitations[who].next().await.unwrap().accept().await.unwrap();
                Active::start(&world, stint, group)
            };
            let called = name(who);
            let (added, member) = tokio::join!(owner.add(called.as_str()), joining);
            added.unwrap();
            active[who] = Some(member);
            world.settled(&owner, &present(&active, cuts)).await;
            let times = Times { adding, added: world.now(), removed: None };
            world.times.lock().unwrap().insert(stint, times);
            continue;
        };
        if rng.below(2) == 0 {
            owner.remove(&clients[who].public_key()).await.unwrap();
            world.settled(&owner, &present(&active, cuts)).await;
            let now = world.now();
            world.times.lock().unwrap().get_mut(&member.stint).unwrap().removed = Some(now);
        } else {
            member.group.leave().await.unwrap();
            while owner.members().iter().any(|m| m.key == clients[who].public_key()) {
                tokio::task::yield_now().await;
            }
            world.settled(&owner, &present(&active, cuts)).await;
        }
        // It finds that out by sending.
        world.changes.send_replace(Some(change + 1));
        member.over().await;
    }
    world.changes.send_replace(None);
    let active: Vec<Active> = active.into_iter().flatten().collect();
    assert!(active.len() > 1);
    let all: Vec<Stint> = active.iter().map(|active| active.stint).collect();
    let mut last = Vec::new();
    for member in active {
        let n = member.sending.await.unwrap();
        last.push(finish(&world, member.stint, member.group, n, &all));
    }
    for done in last {
        done.await;
    }
    check(&world, &all, cuts);
}

/// Who is in, and connected for certain.
fn present(active: &[Option<Active>], cuts: bool) -> Vec<Stint> {
    let stints = active.iter().flatten().map(|active| active.stint);
    stints.filter(|stint| !cuts || stint.0 != STEADY).collect()
}

/// Says that this was all, again and again until everybody has heard it: what was lost on the way shows at the next
/// message only.
fn finish(
    world: &Arc<World>,
    from: Stint,
    group: Group,
    mut n: u32,
    all: &[Stint],
) -> impl Future<Output = ()> + use<> {
    let (world, all) = (world.clone(), all.to_vec());
    let task = tokio::spawn(async move {
        let mut ends = world.ends.subscribe();
        let others = || all.iter().filter(|by| **by != from);
        loop {
            n += 1;
            assert!(say(&world, &group, from, n, true, 0).await);
            let heard = ends.wait_for(|ends| others().all(|by| ends.contains(&(from, *by))));
            if tokio::time::timeout(Duration::from_millis(500), heard).await.is_ok() {
                break;
            }
        }
        // Others may still have to be heard.
        ends.wait_for(|ends| {
            all.iter().all(|a| all.iter().all(|b| a == b || ends.contains(&(*a, *b))))
        })
        .await
        .unwrap();
        group
    });
    async move { drop(task.await.unwrap()) }
}

fn check(world: &World, all: &[Stint], cuts: bool) {
    let (said, got) = (world.said.lock().unwrap(), world.got.lock().unwrap());
    let times = world.times.lock().unwrap();
    let said: HashMap<(Stint, u32), &Said> = said.iter().map(|s| ((s.from, s.n), s)).collect();
    let mut pairs: HashMap<(Stint, Stint), Vec<&Got>> = HashMap::new();
    for got in got.iter() {
        // A message may be heard before its sender has heard that it is queued, and its stint may end then.
        if let Some(said) = said.get(&(got.from, got.n)) {
            let to = times[&got.by];
            assert!(said.ended >= to.adding, "{:?} has heard what was before it", got.by);
            assert!(to.removed.is_none_or(|at| said.began < at), "{:?} was removed", got.by);
        }
        pairs.entry((got.from, got.by)).or_default().push(got);
    }
    for said in said.values() {
        // One that is away does not know it at once.
        for who in (1..CLIENTS).filter(|_| !cuts || said.from.0 != STEADY) {
            // It was not in at any time between beginning and end of sending.
            let was_in = |(stint, times): (&Stint, &Times)| {
                let left = times.removed.is_none_or(|at| said.began < at);
                stint.0 == who && left && said.ended >= times.adding
            };
            let reached = said.reached.contains(&name(who));
            assert!(!reached || times.iter().any(was_in), "{who} is in no more, or not yet");
        }
    }
    let mut total = 0;
    for ((from, by), heard) in &pairs {
        total += heard.len();
        for two in heard.windows(2) {
            let [a, b] = two else { unreachable!() };
            assert!(a.n < b.n, "{by:?} has heard {} of {from:?} after {}", b.n, a.n);
            assert_eq!(b.n - a.n - 1, b.missed, "{by:?} of {from:?}: {} to {}", a.n, b.n);
            // Without a cut, only what was not meant for it may be missing.
            for said in (a.n + 1..b.n).map(|n| said[&(*from, n)]) {
                let reached = said.reached.contains(&name(by.0));
                assert!(
                    cuts || !reached,
                    "{by:?} has missed {} of {from:?}: {:?}",
                    said.n,
                    said.reached
                );
            }
        }
    }
    for from in all {
        for by in all.iter().filter(|by| *by != from) {
            let heard = &pairs[&(*from, *by)];
            if cuts && (from.0 == STEADY || by.0 == STEADY) {
                continue;
            }
            // From the time on when all knew of both, nothing is missing.
            let since = times[from].added.max(times[by].added);
            let mut due = said.values().filter(|s| s.from == *from && s.began > since);
            assert!(due.all(|said| heard.iter().any(|got| got.n == said.n)), "{from:?} to {by:?}");
        }
    }
    assert!(total > 1_000, "{total} messages are no load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_while_all_send() {
    let run = run(1, 25, false);
    tokio::time::timeout(LIMIT, run).await.expect("took too long");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go_while_one_loses_its_connection_now_and_then() {
    let run = run(2, 25, true);
    tokio::time::timeout(LIMIT, run).await.expect("took too long");
}
