//! How the command line's words are read.

use pysock_std::proto::{Name, PublicKey};

/// The port of a server unless another one is given.
const PORT: u16 = 1234;

/// A host and a port.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) host: String,
    /// `None`: the usual one.
    pub(crate) port: Option<u16>,
}

impl Address {
    pub(crate) fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(PORT)
    }
}

/// Reads `host:port`, `[v6]:port`, or a host alone.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let wrong = || "expected HOST:PORT, such as localhost:1234 or [::1]:1234".to_owned();
    let port = port.map(|port| port.parse().map_err(|_| wrong())).transpose()?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || host.contains(|c: char| c.is_control() || " []/".contains(c)) {
        return Err(wrong());
    }
    Ok(Address { host: host.to_owned(), port })
}

/// Checks that a text is a client's name or key.
pub(super) fn client(text: &str) -> Result<String, String> {
    let name: Result<Name, _> = text.parse();
    match name {
        Err(_) if text.parse::<PublicKey>().is_ok() => Ok(text.to_owned()),
        Err(wrong) => Err(format!("neither a client's name nor its key pysock1…: {wrong}")),
        Ok(_) => Ok(text.to_owned()),
    }
}

/// Reads a number of seconds, such as 10 or 0.5.
pub(super) fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "expected a number of seconds from 0.001 to 1000000".to_owned();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.001..=1e6).contains(&seconds) {
        Ok(std::time::Duration::from_secs_f64(seconds))
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hosts_with_or_without_a_port() {
        let read = |text| address(text).map(|a| (a.host, a.port));
        assert_eq!(read("localhost:1234"), Ok(("localhost".into(), Some(1234))));
        assert_eq!(read("localhost"), Ok(("localhost".into(), None)));
        assert_eq!(read("[::1]:7"), Ok(("::1".into(), Some(7))));
        assert_eq!(read("[::1]"), Ok(("::1".into(), None)));
        assert_eq!(read("::1"), Ok(("::1".into(), None)));
        for wrong in ["", ":1", "a:b", "a:70000", "a b:1", "\u{1b}[1m:1"] {
            assert!(address(wrong).is_err(), "{wrong:?}");
        }
    }
}
