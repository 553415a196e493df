//! Somebody on the path of real clients and servers who wants them to use another cipher suite: rewrites the one that is asked
//! for, or refuses it in the server's name. Without AES in the processor there is nothing to choose, and nothing to attack.

mod common;

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{client_config, serve, server_config, within};
use pysock_std::{
    Client, Error,
    config::{ClientConfig, new_secret_key},
    crypto::Native,
    proto::{
        self, Alert, CloseReason, Connection, Crypto, Env, Ephemeral, Event, Identity, Instant,
        Keypair, Limits, PeerId, PublicKey, RustCrypto, RxBuf, ServerSetup, Suite, TxBuf,
    },
    state::StateFile,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// What somebody on the path does to a connection.
#[derive(Clone)]
enum Deed {
    Nothing,
    /// Another suite takes the place of the client's.
    Rewrite(u8),
    /// Alerts take the server's place, for these suites.
    Refuse(Vec<u8>),
    /// The handshake passes, and then an alert takes the place of the welcome.
    RefuseLate,
    /// An alert comes right behind the server's first message, and nothing after it.
    RefuseBehind,
}

const ALERT: [u8; 3] = [0, 1, Alert::Suite.code()];

struct Path {
    address: SocketAddr,
    deed: Arc<Mutex<Deed>>,
    preludes: Arc<Mutex<Vec<[u8; 16]>>>,
}

impl Path {
    async fn to(server: SocketAddr, deed: Deed) -> Path {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (deed, preludes) = (Arc::new(Mutex::new(deed)), Arc::<Mutex<Vec<_>>>::default());
        let (now, seen) = (deed.clone(), preludes.clone());
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (deed, seen) = (now.lock().unwrap().clone(), seen.clone());
                tokio::spawn(meddle(client, server, deed, seen));
            }
        });
        Path { address, deed, preludes }
    }

    /// Suite and pattern of each connection since the last call.
    fn asked(&self) -> Vec<(u8, u8)> {
        let preludes = std::mem::take(&mut *self.preludes.lock().unwrap());
        preludes.iter().map(|prelude| (prelude[5], prelude[6])).collect()
    }

    async fn connect(&self, config: &ClientConfig) -> Result<Client, Error> {
        within(Client::from_config(config.clone()).connect(&self.address.to_string())).await
    }
}

async fn meddle(
    mut client: TcpStream,
    server: SocketAddr,
    deed: Deed,
    seen: Arc<Mutex<Vec<[u8; 16]>>>,
) -> std::io::Result<()> {
    let mut prelude = [0; 16];
    client.read_exact(&mut prelude).await?;
    seen.lock().unwrap().push(prelude);
    match &deed {
        Deed::Refuse(suites) if suites.contains(&prelude[5]) => {
            client.write_all(&ALERT).await?;
            // Until the client has read it and leaves.
            while client.read(&mut [0; 64]).await? > 0 {}
            return Ok(());
        }
        Deed::Rewrite(suite) => prelude[5] = *suite,
        _ => {}
    }
    let mut server = TcpStream::connect(server).await?;
    server.write_all(&prelude).await?;
    if let Deed::RefuseLate | Deed::RefuseBehind = deed {
        // Message 1 goes on, message 2 comes back, and so far all is well.
        let behind = if let Deed::RefuseBehind = deed { &ALERT[..] } else { &[] };
        for from_client in [true, false, true] {
            let (source, sink) = match from_client {
                true => (&mut client, &mut server),
                false => (&mut server, &mut client),
            };
            let mut length = [0; 2];
            source.read_exact(&mut length).await?;
            let mut message = vec![0; u16::from_be_bytes(length).into()];
            source.read_exact(&mut message).await?;
            let behind = if from_client { &[] } else { behind };
            sink.write_all(&[&length[..], &message, behind].concat()).await?;
        }
        if behind.is_empty() {
            client.write_all(&ALERT).await?;
        }
        while client.read(&mut [0; 64]).await? > 0 {}
        return Ok(());
    }
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// A server of pysock that runs ChaChaPoly alone and lets everybody in.
async fn server_without_aes() -> (SocketAddr, PublicKey) {
    let key = Arc::new(Keypair::<RustCrypto>::new(new_secret_key().unwrap()));
    let public = key.public();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for seed in 1.. {
            let (mut socket, _) = listener.accept().await.unwrap();
            let key = key.clone();
            tokio::spawn(async move {
                let setup = ServerSetup { limits: Limits::DESKTOP, psk_required: false };
                let by = Instant::from_millis(1000);
                let ephemeral = Ephemeral::new::<RustCrypto>([seed; 32]);
                let mut conn = Connection::<RustCrypto>::server(&setup, ephemeral, by);
                let mut rx = RxBuf::new(vec![0; usize::from(Limits::DESKTOP.record) + 2]);
                let mut tx = TxBuf::new(vec![0; 4096]);
                let env = Env { now: Instant::from_millis(0), identity: &*key };
                loop {
                    let mut heard = Ok(());
                    loop {
                        match conn.receive(&mut rx.lend(), &env) {
                            Ok(Some(Event::Admission(it))) => {
                                conn.admit(it, PeerId(7), &env).unwrap()
                            }
                            Ok(Some(Event::Closed(_))) => conn.close(CloseReason::Done),
                            Ok(Some(_)) => {}
                            Ok(None) => break,
                            Err(error) => {
                                heard = Err(error);
                                break;
                            }
                        }
                    }
                    let _ = conn.flush(&mut tx.lend(), &env);
                    if socket.write_all(tx.sealed()).await.is_err() {
                        return;
                    }
                    tx.written(tx.sealed().len());
                    if heard.is_err() {
                        return;
                    }
                    match socket.read(rx.space()).await {
                        Ok(n @ 1..) => rx.filled(n),
                        _ => return,
                    }
                }
            });
        }
    });
    (address, public)
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn take(&self) -> String {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut log = self.0.lock().unwrap();
        write!(log, "{}", event.metadata().level()).unwrap();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            write!(log, " {field}={value:?}").unwrap();
        });
        log.push('\n');
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// `None` where there is only one suite; then there is nothing to test.
fn two_suites() -> Option<(Log, tracing::subscriber::DefaultGuard)> {
    if Native::suites() != [2, 1] {
        assert_eq!(Native::suites(), [1]);
        return None;
    }
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    Some((log, guard))
}

fn remembering(folder: &tempfile::TempDir) -> ClientConfig {
    let mut config = client_config("a");
    config.state = Some(folder.path().join("client.state"));
    config.reconnect = false;
    config
}

fn remembered(config: &ClientConfig, port: u16) -> Vec<u8> {
    let state = StateFile::open(config.state.clone().unwrap()).unwrap().read().unwrap();
    state.server("127.0.0.1", port).unwrap().suites.clone()
}

#[tokio::test]
async fn two_desktops_with_aes_use_it_from_the_first_connection() {
    let Some((log, _guard)) = two_suites() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = remembering(&folder);
    let server = serve(server_config()).await;
    let path = Path::to(server.address(), Deed::Nothing).await;
    for pattern in [1, 2] {
        let client = path.connect(&config).await.unwrap();
        assert_eq!(client.suite(), Suite::AesGcm);
        within(client.close()).await.unwrap();
        assert_eq!(path.asked(), [(2, pattern)]);
        assert_eq!(remembered(&config, path.address.port()), [2, 1]);
    }
    let log = log.take();
    assert!(!log.contains("suite"), "nothing to be noticed: {log}");
}

#[tokio::test]
async fn a_suite_that_the_configuration_names_is_used_and_no_other_takes_its_place() {
    let Some(_log) = two_suites() else { return };
    let server = serve(server_config()).await;
    let path = Path::to(server.address(), Deed::Nothing).await;
    let mut config = client_config("a");
    config.reconnect = false;
    for suite in [Suite::ChaChaPoly, Suite::AesGcm] {
        config.suite = Some(suite);
        *path.deed.lock().unwrap() = Deed::Nothing;
        let client = path.connect(&config).await.unwrap();
        assert_eq!(client.suite(), suite);
        within(client.close()).await.unwrap();
        *path.deed.lock().unwrap() = Deed::Refuse(vec![suite as u8]);
        let error = path.connect(&config).await.unwrap_err();
        let refused = proto::Error::Alert(Alert::Suite);
        assert!(matches!(&error, Error::Handshake { source, .. } if *source == refused), "{error}");
        assert_eq!(path.asked(), [(suite as u8, 1); 2], "one try, and none with the other");
    }
}

#[tokio::test]
async fn a_server_without_aes_says_so_once_and_is_remembered() {
    let Some((log, _guard)) = two_suites() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = remembering(&folder);
    let (server, key) = server_without_aes().await;
    let path = Path::to(server, Deed::Nothing).await;
    for asked in [&[(2, 1), (1, 1)][..], &[(1, 2)]] {
        let client = path.connect(&config).await.unwrap();
        assert_eq!((client.suite(), client.server_key()), (Suite::ChaChaPoly, Some(key)));
        within(client.close()).await.unwrap();
        assert_eq!(path.asked(), asked);
        assert_eq!(remembered(&config, path.address.port()), [1]);
    }
    let log = log.take();
    assert!(log.contains("INFO") && !log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn a_forged_refusal_leads_to_an_equal_suite_with_the_same_server_and_is_noticed() {
    let Some((log, _guard)) = two_suites() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = remembering(&folder);
    let server = serve(server_config()).await;
    let path = Path::to(server.address(), Deed::Refuse(vec![2])).await;
    for (pattern, before) in [(1, false), (2, true)] {
        let client = path.connect(&config).await.unwrap();
        assert_eq!(client.suite(), Suite::ChaChaPoly);
        assert_eq!(client.server_key(), Some(server.public_key()));
        within(client.close()).await.unwrap();
        assert_eq!(path.asked(), [(2, pattern), (1, pattern)], "one try more, of the same kind");
        let log = log.take();
        assert!(log.contains("somebody on the way to the server has refused"), "{log}");
        assert_eq!(log.contains("has offered this cipher suite before"), before, "{log}");
        assert_eq!(
            remembered(&config, path.address.port()),
            [2, 1],
            "only the server's word counts"
        );
    }
    // As soon as nobody meddles, the best suite is back.
    *path.deed.lock().unwrap() = Deed::Nothing;
    let client = path.connect(&config).await.unwrap();
    assert_eq!(client.suite(), Suite::AesGcm);
    assert_eq!(path.asked(), [(2, 2)]);
    assert!(!log.take().contains("suite"));
}

#[tokio::test]
async fn refusing_every_suite_ends_after_one_more_try() {
    let Some(_log) = two_suites() else { return };
    let server = serve(server_config()).await;
    let path = Path::to(server.address(), Deed::Refuse(vec![1, 2])).await;
    let mut config = client_config("a");
    config.reconnect = false;
    let error = path.connect(&config).await.unwrap_err();
    let refused = proto::Error::Alert(Alert::Suite);
    assert!(matches!(&error, Error::Handshake { source, .. } if *source == refused), "{error}");
    assert_eq!(path.asked(), [(2, 1), (1, 1)]);
    assert!(server.clients().is_empty());
}

#[tokio::test]
async fn a_rewritten_suite_is_a_failed_handshake_and_no_reason_to_try_another() {
    let Some(_log) = two_suites() else { return };
    let server = serve(server_config()).await;
    let path = Path::to(server.address(), Deed::Rewrite(1)).await;
    let mut config = client_config("a");
    for known in [false, true] {
        config.server_key = known.then(|| server.public_key());
        let error = path.connect(&config).await.unwrap_err();
        assert!(matches!(error, Error::Handshake { .. }), "{error}");
        let asked = path.asked();
        // With a pin, one more to see which key answers; it goes no further than that.
        let expected = if known { &[(2, 2), (2, 1)][..] } else { &[(2, 1)] };
        assert_eq!(asked, expected);
        assert!(server.clients().is_empty());
    }
    // The other direction: the client has reason to ask for ChaChaPoly, and gets it or nothing.
    let folder = tempfile::tempdir().unwrap();
    let config = remembering(&folder);
    let port = path.address.port();
    let pin = |state: &mut pysock_std::state::State| {
        state.pin_server("127.0.0.1", port, server.public_key(), &[1]).unwrap();
    };
    StateFile::open(config.state.clone().unwrap()).unwrap().update(pin).unwrap();
    *path.deed.lock().unwrap() = Deed::Rewrite(2);
    let error = path.connect(&config).await.unwrap_err();
    assert!(matches!(error, Error::Handshake { .. }), "{error}");
    assert_eq!(path.asked(), [(1, 2), (1, 1)]);
    // And what the server lists later is news that is remembered.
    *path.deed.lock().unwrap() = Deed::Nothing;
    within(path.connect(&config).await.unwrap().close()).await.unwrap();
    assert_eq!(path.asked(), [(1, 2)]);
    assert_eq!(remembered(&config, port), [2, 1]);
    assert_eq!(path.connect(&config).await.unwrap().suite(), Suite::AesGcm);
}

#[tokio::test]
async fn a_refusal_after_the_servers_first_message_changes_nothing() {
    let server = serve(server_config()).await;
    for deed in [Deed::RefuseLate, Deed::RefuseBehind] {
        let path = Path::to(server.address(), deed).await;
        let mut config = client_config("a");
        // Longer than this test may take: nothing has to wait for it.
        config.timeout = Duration::from_secs(60);
        for known in [false, true] {
            config.server_key = known.then(|| server.public_key());
            let error = path.connect(&config).await.unwrap_err();
            let refused = proto::Error::Alert(Alert::Suite);
            assert!(
                matches!(&error, Error::Handshake { source, .. } if *source == refused),
                "{error}"
            );
            let asked = (Native::suites()[0], if known { 2 } else { 1 });
            assert_eq!(path.asked(), [asked], "no other suite is tried");
        }
    }
}
