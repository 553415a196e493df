//! `dialogue BOARD FIRMWARE PYSOCK`: runs the firmware on an emulated board against the real server and real desktop
//! clients, and checks what both sides say. Prints one line for each thing that holds.

mod process;
mod scene;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use crate::scene::{Scene, fletcher};

/// What went wrong.
pub type Outcome<T> = Result<T, String>;

/// For what takes a moment.
const SOON: Duration = Duration::from_secs(20);
/// For what may have to wait for the next attempt to connect.
const LATER: Duration = Duration::from_secs(60);
/// More than the whole memory of the board.
const UPLOAD: usize = 100_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [board, firmware, pysock] = &arguments[..] else {
        eprintln!("usage: dialogue BOARD FIRMWARE PYSOCK");
        return ExitCode::FAILURE;
    };
    let folder = env::temp_dir().join(format!("pysock-dialogue-{}-{board}", std::process::id()));
    let began = Instant::now();
    let outcome = absolute(firmware).and_then(|firmware| {
        let pysock = absolute(pysock)?;
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        play(&Scene::new(board, firmware, pysock, folder.clone()))
    });
    match outcome {
        Ok(()) => {
            let _ = fs::remove_dir_all(&folder);
            println!("{board}: the dialogue took {} s", began.elapsed().as_secs());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{board}: FAILED: {error}(files: {})", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn absolute(path: &str) -> Outcome<PathBuf> {
    Path::new(path).canonicalize().map_err(|error| format!("{path}: {error}"))
}

/// Fails unless both are the same.
fn same(what: &str, left: &str, right: &str) -> Outcome<()> {
    if left == right { Ok(()) } else { Err(format!("{what}: {left:?} is not {right:?}\n")) }
}

fn play(scene: &Scene) -> Outcome<()> {
    let holds = |what: &str| println!("{}: {what}", scene.board);
    let mut server = scene.server("server", 0)?;
    let server_key = scene.public_key("server")?;
    let owner_key = scene.public_key("owner")?;

    // The first boot: no keys, no pins.
    let mut chip = scene.board(1, server.port)?;
    let identity = chip.expect("identity ", SOON)?;
    chip.expect("remembers no server", SOON)?;
    same("the server that was pinned", &chip.expect("pinned server ", SOON)?, &server_key)?;
    let proven = chip.expect("connected, authenticated ", SOON)?;
    holds("connected");
    same("the server that proved its key", &proven, &server_key)?;
    holds("authenticated");

    // More than one: they come by themselves.
    for _ in 0..2 {
        server.process.expect("[readings] thermometer: reading ", SOON)?;
    }
    holds("readings received by the desktop");
    let reply = scene.ask("owner", &["--channel", "readings", "--to", "thermometer", "unit"])?;
    same("the reply through the channel", &reply, "celsius")?;
    holds("a request on the channel answered");

    // First contact: whoever comes first is the owner, and nobody else after that.
    scene.command("hello")?;
    same("the owner that was pinned", &chip.expect("pinned owner ", SOON)?, &owner_key)?;
    chip.expect("command end to end: hello", SOON)?;
    holds("commands received end to end");
    let bytes: Vec<u8> =
        (0..UPLOAD as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    scene.upload(&bytes)?;
    let arrived = chip.expect("upload of ", SOON).and_then(|_| chip.expect("upload of ", SOON))?;
    same("the upload", &arrived, &format!("{UPLOAD} bytes, sum {:08x}", fletcher(&bytes)))?;
    holds("a message larger than its memory received end to end");
    let stranger = scene.public_key("stranger")?;
    if let Ok(reply) = scene.ask("stranger", &["--to", "thermometer", "hello"]) {
        return Err(format!("a stranger was answered: {reply:?}\n"));
    }
    let refused = chip.expect("refused ", SOON)?;
    same("who was refused", &refused, &format!("stranger, whose key is {stranger}"))?;
    holds("a stranger refused");

    // The server crashes and comes back.
    let port = server.port;
    server.process.cut()?;
    chip.expect("disconnected: ", SOON)?;
    let mut server = scene.server("server", port)?;
    chip.expect("connected, authenticated ", LATER)?;
    server.process.expect("[readings] thermometer: reading ", SOON)?;
    scene.command("still there")?;
    chip.expect("command end to end: still there", SOON)?;
    holds("reconnected after the server restart");

    // A reset, and then a loss of power: what is in flash is all it knows.
    scene.command("reset")?;
    remembers(&mut chip, [&identity, &server_key, &owner_key])?;
    scene.command("after the reset")?;
    chip.expect("command end to end: after the reset", SOON)?;
    chip.cut()?;
    let mut chip = scene.board(2, port)?;
    remembers(&mut chip, [&identity, &server_key, &owner_key])?;
    scene.command("after the power cut")?;
    holds("remembered after reset");

    // Somebody else takes the server's place.
    server.process.cut()?;
    let impostor = scene.server("impostor", port)?;
    chip.expect("OtherKey(", LATER)?;
    impostor.process.cut()?;
    let server = scene.server("server", port)?;
    chip.expect("connected, authenticated ", LATER)?;
    holds("another server key refused, and nothing forgotten");

    scene.command("quit")?;
    let stack = chip.expect("peak stack ", SOON)?;
    if !chip.ends(SOON)?.success() {
        return Err("the firmware did not end well\n".into());
    }
    holds(&format!("peak stack of the whole firmware {stack}"));
    damaged(scene, port)?;
    holds("damaged flash: refuses to start, and touches nothing");
    drop(server);
    Ok(())
}

fn remembers(chip: &mut process::Process, [identity, server, owner]: [&str; 3]) -> Outcome<()> {
    same("the identity", &chip.expect("identity ", SOON)?, identity)?;
    same("the server in flash", &chip.expect("remembers server ", SOON)?, server)?;
    same("the owner in flash", &chip.expect("remembers owner ", SOON)?, owner)?;
    chip.expect("connected, authenticated ", LATER)?;
    if chip.has_printed_since("identity ", "pinned ") {
        return Err("it has pinned something anew\n".into());
    }
    Ok(())
}

/// With one bit wrong in its keys the device says so, and stops.
fn damaged(scene: &Scene, port: u16) -> Outcome<()> {
    let flash = scene.folder.join("flash.bin");
    let failed = |error: std::io::Error| format!("{}: {error}\n", flash.display());
    let mut bytes = fs::read(&flash).map_err(failed)?;
    // In the first entry of whichever half is live: the identity.
    let at = [0, bytes.len() / 2].map(|half| half + 40);
    at.into_iter().for_each(|at| bytes[at] ^= 1);
    fs::write(&flash, &bytes).map_err(failed)?;
    let mut chip = scene.board(3, port)?;
    chip.expect("stopped: the stored keys are damaged", SOON)?;
    if chip.ends(SOON)?.success() {
        return Err("the firmware ended well with damaged keys\n".into());
    }
    if fs::read(&flash).map_err(failed)? != bytes {
        return Err("the firmware has changed damaged keys\n".into());
    }
    Ok(())
}
