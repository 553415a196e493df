//! What a server can see of two clients that talk end to end: who, with whom, how much. Not a word.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use pysock_std::{
    Client,
    config::{ClientConfig, new_secret_key},
};

const SECRET: &str = "the soup is ready, come at eight";
/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Wiretap {
    process: Child,
    lines: Receiver<String>,
    address: String,
    /// What was printed and read so far.
    log: Vec<String>,
}

impl Wiretap {
    fn start(units: &str) -> Self {
        let this = env::current_exe().unwrap();
        let examples = this.ancestors().nth(2).unwrap().join("examples");
        let program = examples.join("wiretap").with_extension(env::consts::EXE_EXTENSION);
        let mut process = Command::new(program)
            .args(["127.0.0.1:0", units])
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo build --examples` first");
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|l| tell.send(l)));
        let first = lines.recv_timeout(PATIENCE).unwrap();
        let address = first.strip_prefix("listening on ").unwrap().to_owned();
        Wiretap { process, lines, address, log: vec![] }
    }

    /// Reads until a line contains `text`; it is the last one of the log then.
    fn until(&mut self, text: &str) {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            self.log.push(line.unwrap_or_else(|_| panic!("no {text:?} in {:#?}", self.log)));
            if self.log.last().unwrap().contains(text) {
                return;
            }
        }
    }

    /// Whether `text` is anywhere in the log: as it is, or among the bytes shown.
    fn shows(&self, text: &str) -> bool {
        let mut bytes = vec![];
        for line in &self.log {
            let Some(dump) = line.strip_prefix("  ") else { continue };
            let hex = dump.split('|').next().unwrap().split_whitespace().skip(1);
            bytes.extend(hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
        let text = text.as_bytes();
        bytes.windows(text.len()).any(|part| part == text)
            || self.log.join("\n").as_bytes().windows(text.len()).any(|part| part == text)
    }

    async fn client(&self, name: &str) -> Client {
        let config = ClientConfig::new(new_secret_key().unwrap());
        let client = Client::from_config(config).name(name).unwrap();
        client.connect(&self.address).await.unwrap()
    }
}

impl Drop for Wiretap {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_sees_who_and_how_much_and_not_a_word() {
    let mut wiretap = Wiretap::start("1000000");
    let (shikhar, swat) = (wiretap.client("shikhar").await, wiretap.client("swat").await);
    let mut heard = swat.listen_peers().unwrap();
    within(shikhar.send_to_client("swat", SECRET)).await.unwrap();
    let message = within(heard.listen()).await.unwrap();
    assert_eq!(message.text().unwrap(), SECRET);
    assert_eq!(message.sender().key(), &shikhar.public_key());
    assert!(message.sender().is_proven());
    let reply = tokio::spawn(async move {
        let mut question = heard.listen().await.unwrap();
        question.reply(SECRET).await.unwrap();
    });
    let answer = within(shikhar.request_client("swat", SECRET)).await.unwrap();
    assert_eq!(answer.text().unwrap(), SECRET);
    reply.await.unwrap();

    // The same on a channel, so that everything before it has been printed.
    let mut open = swat.create_channel("test").await.unwrap();
    let _channel = shikhar.create_channel("test").await.unwrap();
    within(shikhar.send_to("test", "swat", "the end")).await.unwrap();
    assert_eq!(within(open.listen()).await.unwrap().text().unwrap(), "the end");
    wiretap.until("|the end|");
    assert!(!wiretap.shows(SECRET), "{:#?}", wiretap.log);
    assert!(!wiretap.shows(&SECRET[..9]), "{:#?}", wiretap.log);
    for text in ["shikhar -> swat: handshake, ", "swat -> shikhar: handshake, "] {
        assert!(wiretap.shows(text), "{text}: {:#?}", wiretap.log);
    }
    let mut sizes = wiretap.log.iter().filter_map(|line| {
        let size = line.strip_prefix("shikhar -> swat: record, ")?.strip_suffix(" bytes")?;
        size.parse::<usize>().ok()
    });
    assert!(sizes.any(|size| size > SECRET.len()), "{:#?}", wiretap.log);

    // What the check above would have found: the server reads what goes through a channel.
    within(shikhar.send_to("test", "swat", SECRET)).await.unwrap();
    assert_eq!(within(open.listen()).await.unwrap().text().unwrap(), SECRET);
    wiretap.until("shikhar -> swat: Message on test, 32 bytes");
    wiretap.until("  000010  ");
    assert!(wiretap.shows(SECRET), "{:#?}", wiretap.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_after_so_many_units() {
    let mut wiretap = Wiretap::start("2");
    let (a, _b) = (wiretap.client("a").await, wiretap.client("b").await);
    let handshake = tokio::spawn(async move { a.handshake("b").await });
    wiretap.until("b -> a: handshake, ");
    loop {
        match wiretap.lines.recv_timeout(PATIENCE) {
            Ok(line) => wiretap.log.push(line),
            Err(end) => break assert_eq!(end, mpsc::RecvTimeoutError::Disconnected),
        }
    }
    assert!(wiretap.process.wait().unwrap().success(), "{:#?}", wiretap.log);
    handshake.abort();
}
