//! One client's life: it joins, works, perhaps leaves and comes back, and at the end compares books with the server.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use pysock_std::{
    Client, Error,
    client::{Channel, PeerListener, PeerNews, Status},
    config::{ClientConfig, new_secret_key},
    proto::SecretKey,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    ASK, LARGE, LEDGER, ONE_WAY, RELAY, client_name, failed,
    ledger::Ledger,
    number_of, partner, publishes, restless,
    stamp::{self, Kind, Lane, Stamp, mix},
    topic_name, topic_of,
};

/// What a request may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Written at a time of a large message.
const PIECE: usize = 32 << 10;
/// Messages sent one after the other.
const BURST: u32 = 8;

/// How far the soak has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// Clients join.
    Joining,
    /// All are there, and work.
    Working,
    /// What has been sent has arrived; books are compared.
    Closing,
}

/// What all clients share.
pub(super) struct World {
    pub(super) address: String,
    pub(super) key: String,
    pub(super) clients: u32,
    /// What one client does in a second.
    pub(super) rate: f64,
    pub(super) ledger: Ledger,
    pub(super) phase: watch::Sender<Phase>,
    pub(super) duration: Duration,
    /// How many have joined, and how many have stopped working.
    pub(super) counts: watch::Sender<(u32, u32)>,
}

/// Whom all this is about, for as long as it lasts.
pub(super) struct Life {
    world: Arc<World>,
    number: u32,
    key: SecretKey,
    dice: u64,
}

/// One visit to the server.
struct Visit {
    client: Client,
    large: Channel,
    listeners: JoinSet<()>,
}

impl Life {
    pub(super) fn new(world: Arc<World>, number: u32) -> io::Result<Self> {
        let key = new_secret_key().map_err(failed)?;
        Ok(Life { world, number, key, dice: u64::from(number) })
    }

    pub(super) async fn live(mut self) -> io::Result<()> {
        let world = self.world.clone();
        let mut visit = self.join().await.map_err(failed)?;
        world.counts.send_modify(|(joined, _)| *joined += 1);
        let mut phase = world.phase.subscribe();
        let _ = phase.wait_for(|phase| *phase >= Phase::Working).await;
        let until = Instant::now() + world.duration;
        loop {
            let stay = Duration::from_millis(5000 + self.roll(15_000));
            let leave = Instant::now() + stay;
            let leave = if restless(self.number) { leave.min(until) } else { until };
            while Instant::now() < leave {
                self.act(&visit).await;
                let pause = (0.5 + self.roll(1000) as f64 / 1000.0) / world.rate.max(0.001);
                sleep(Duration::from_secs_f64(pause)).await;
            }
            if Instant::now() >= until {
                break;
            }
            self.leave(visit).await;
            sleep(Duration::from_millis(200 + self.roll(2000))).await;
            visit = self.join().await.map_err(failed)?;
            world.ledger.count(|totals| totals.returns += 1);
        }
        world.counts.send_modify(|(_, stopped)| *stopped += 1);
        let _ = phase.wait_for(|phase| *phase >= Phase::Closing).await;
        self.drain_failures(&visit);
        self.compare(&visit).await;
        self.leave(visit).await;
        Ok(())
    }

    async fn join(&self) -> Result<Visit, Error> {
        let world = &self.world;
        let mut config = ClientConfig::new(self.key.clone());
        config.server_key = world.key.parse().ok();
        // A connection that breaks is a mistake here.
        config.reconnect = false;
        config.timeout = PATIENCE;
        let name = client_name(self.number);
        let client = Client::from_config(config).name(&name)?.connect(&world.address).await?;
        // To these, the server does not send.
        client.create_channel(ONE_WAY).await?;
        client.create_channel(ASK).await?;
        let large = client.create_channel(LARGE).await?;
        let mut listeners = JoinSet::new();
        let topic = topic_of(self.number);
        for name in [RELAY, &topic_name(topic)] {
            let channel = client.create_channel(name).await?;
            listeners.spawn(listen(world.clone(), self.number, channel));
        }
        if partner(self.number, world.clients).is_some() {
            let peers = client.listen_peers()?;
            listeners.spawn(listen_peers(world.clone(), self.number, peers));
        }
        world.ledger.arrive(self.number, topic);
        Ok(Visit { client, large, listeners })
    }

    /// Sends what is queued and goes.
    async fn leave(&self, visit: Visit) {
        let Visit { client, large, mut listeners } = visit;
        self.drain_failures_of(&client);
        drop(large);
        match timeout(PATIENCE, client.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(Error::Failed { .. })) => self.world.ledger.count(|totals| totals.reported += 1),
            Ok(Err(error)) => self.wrong(format_args!("close: {error}")),
            Err(_) => self.wrong(format_args!("close takes too long")),
        }
        // They hear what has still come, and then the end.
        let all = async { while listeners.join_next().await.is_some() {} };
        if timeout(PATIENCE, all).await.is_err() {
            self.wrong(format_args!("a listener does not end"));
        }
    }

    /// Does one thing or another.
    async fn act(&mut self, Visit { client, large, .. }: &Visit) {
        let status = client.status().borrow().clone();
        if !matches!(status, Status::Connected) {
            self.wrong(format_args!("is {status:?}"));
        }
        let dice = self.roll(1000);
        match (dice, partner(self.number, self.world.clients)) {
            (0..300, Some(partner)) => {
                for _ in 0..BURST / 2 {
                    let stamp = self.begin(Kind::Sealed, partner);
                    let name = client_name(partner);
                    let sent = client.send_to_client(name.as_str(), stamp.message(false)).await;
                    self.judge(sent, Some(stamp));
                }
            }
            (300..360, _) if publishes(self.number) => {
                let topic = topic_of(self.number);
                let message = self.begin(Kind::Publish, topic).message(false);
                let sent = client.publish(&topic_name(topic), message).await;
                self.judge(sent, None);
            }
            (400..402, _) => {
                let streamed = self.stream(large).await;
                self.judge(streamed, None);
            }
            (402, _) => self.relay(client, 1, true).await,
            (403..600, _) => {
                let message = self.begin(Kind::Ask, 0).message(false);
                let asked = client.request_within(
                    PATIENCE,
                    ASK,
                    pysock_std::Target::SERVER,
                    message.clone(),
                );
                match asked.await {
                    Ok(answer) if **answer.data() == *message => {
                        self.world.ledger.count(|totals| totals.answers += 1);
                    }
                    Ok(_) => self.wrong(format_args!("got another request's answer")),
                    Err(error) => self.wrong(format_args!("asked: {error}")),
                }
            }
            (600..800, _) => self.relay(client, BURST / 2, false).await,
            _ => {
                for _ in 0..BURST {
                    let message = self.begin(Kind::OneWay, 0).message(false);
                    let sent = client.send(ONE_WAY, message).await;
                    self.judge(sent, None);
                }
            }
        }
        self.drain_failures_of(client);
    }

    /// To one of a few others by name.
    async fn relay(&mut self, client: &Client, count: u32, large: bool) {
        let all = self.world.clients;
        let step = [1, 7, 50][self.roll(3) as usize] % all;
        let mut to = (self.number - 1 + step) % all + 1;
        // Only those who stay hear for sure what has become of it.
        if to == self.number || (restless(self.number) && restless(to)) {
            to = to % all + 1;
        }
        for _ in 0..count {
            let stamp = self.begin(Kind::Relay, to);
            let name = client_name(to);
            let sent = client.send_to(RELAY, name.as_str(), stamp.message(large)).await;
            self.judge(sent, Some(stamp));
        }
    }

    async fn stream(&self, large: &Channel) -> Result<(), Error> {
        let message = self.begin(Kind::Large, 0).message(true);
        let mut writer = large.stream(Some(stamp::LARGE as u64)).await?;
        for piece in message.chunks(PIECE) {
            writer.write(piece).await?;
        }
        writer.finish().await
    }

    fn begin(&self, kind: Kind, to: u32) -> Stamp {
        self.world.ledger.begin(Lane { kind, from: self.number, to })
    }

    /// What cannot be sent, as its receiver is away, is taken back; all else that fails is a mistake.
    fn judge(&self, sent: Result<(), Error>, relayed: Option<Stamp>) {
        match (sent, relayed) {
            (Ok(()), _) => {}
            (Err(Error::Failed { .. }), Some(stamp)) if restless(stamp.lane.to) => {
                self.world.ledger.refuse(stamp);
            }
            (Err(error), stamp) => self.wrong(format_args!("sending {stamp:?}: {error}")),
        }
    }

    /// What the server has got of this client; it may still be handing it to its program.
    async fn compare(&self, visit: &Visit) {
        let sent = |kind| self.world.ledger.sent(Lane { kind, from: self.number, to: 0 });
        let expected = (sent(Kind::OneWay), sent(Kind::Large));
        let until = Instant::now() + PATIENCE;
        loop {
            let target = pysock_std::Target::SERVER;
            let answer = match visit.client.request_within(PATIENCE, ASK, target, LEDGER).await {
                Ok(answer) => answer,
                Err(error) => return self.wrong(format_args!("compares: {error}")),
            };
            let (words, _) = answer.data().as_chunks::<8>();
            let &[one_way, large, wrong] = words else {
                return self.wrong(format_args!("cannot read the server's books"));
            };
            let came = (u64::from_le_bytes(one_way), u64::from_le_bytes(large));
            if came == expected {
                self.world.ledger.count(|totals| {
                    totals.delivered += came.0 + came.1;
                    totals.at_server = u64::from_le_bytes(wrong);
                });
                return;
            }
            if Instant::now() >= until {
                let what = "(one-way, large)";
                return self
                    .wrong(format_args!("sent {expected:?}, the server got {came:?} {what}"));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn drain_failures(&self, visit: &Visit) {
        self.drain_failures_of(&visit.client);
    }

    fn drain_failures_of(&self, client: &Client) {
        let reported = client.failures().len() as u64;
        if reported > 0 {
            self.world.ledger.count(|totals| totals.reported += reported);
        }
    }

    fn wrong(&self, what: std::fmt::Arguments<'_>) {
        self.world.ledger.wrong(format_args!("client {}: {what}", self.number));
    }

    /// A number below `below`.
    fn roll(&mut self, below: u64) -> u64 {
        self.dice = mix(self.dice);
        self.dice % below
    }
}

async fn listen(world: Arc<World>, number: u32, mut channel: Channel) {
    while let Some(message) = channel.listen().await {
        world.ledger.hear(number, number_of(message.sender()), message.data());
    }
}

async fn listen_peers(world: Arc<World>, number: u32, mut peers: PeerListener) {
    while let Some(news) = peers.next().await {
        match news {
            PeerNews::Message(message) => {
                if !message.sender().is_proven() {
                    world.ledger.wrong(format_args!("{number} got something unproven"));
                }
                world.ledger.hear(number, number_of(message.sender()), message.data());
            }
            PeerNews::Opened { .. } | PeerNews::Closed { .. } => {}
            news => world.ledger.wrong(format_args!("{number} hears of {news:?}")),
        }
    }
}
