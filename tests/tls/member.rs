//! The real program, with the options of TLS.

use std::path::Path;

use crate::program::{Ended, Program, free_ports};

/// What the log says when a member serves.
pub const READY: &str = "ready to serve client requests";

/// A member alone, reached by clients over TLS.
pub struct Alone {
    pub program: Program,
    pub client: u16,
    pub peer: u16,
}

impl Alone {
    /// Starts it in `dir`, its clients' address behind TLS; returns when it serves.
    pub fn behind_tls(dir: &Path, more: &[String]) -> Alone {
        let mut alone = Alone::start(dir, ("https", "http"), more);
        alone.program.wait_for(READY);
        alone
    }

    /// Starts it in `dir`, its peers' address behind TLS; returns when it serves.
    pub fn behind_peer_tls(dir: &Path, more: &[String]) -> Alone {
        let mut alone = Alone::start(dir, ("http", "https"), more);
        alone.program.wait_for(READY);
        alone
    }

    /// Starts it with these schemes, for clients and for peers.
    pub fn start(dir: &Path, (clients, peers): (&str, &str), more: &[String]) -> Alone {
        let ports = free_ports(2);
        let (client, peer) = (ports[0], ports[1]);
        let (at_client, at_peer) =
            (format!("{clients}://127.0.0.1:{client}"), format!("{peers}://127.0.0.1:{peer}"));
        let own = [
            format!("--listen-client-urls={at_client}"),
            format!("--advertise-client-urls={at_client}"),
            format!("--listen-peer-urls={at_peer}"),
            format!("--initial-advertise-peer-urls={at_peer}"),
        ];
        let args: Vec<&str> = own.iter().chain(more).map(String::as_str).collect();
        Alone { program: Program::start(dir, &args), client, peer }
    }

    /// Waits for the line that says why somebody was turned away.
    pub fn turned_away(&mut self, whom: &str, why: &str) {
        let line = self.program.wait_for(&format!("rejected the connection of a {whom}"));
        assert!(line.contains(why), "{why:?} is not in {line}");
        assert!(line.contains("\"remote\":\"127.0.0.1:"), "{line}");
    }

    /// `quorate ctl` at its clients' address.
    pub fn ctl(&self, dir: &Path, args: &[&str]) -> Ended {
        ctl(dir, &format!("https://127.0.0.1:{}", self.client), args)
    }
}

/// `quorate ctl` at an endpoint.
pub fn ctl(dir: &Path, endpoint: &str, args: &[&str]) -> Ended {
    let endpoint = format!("--endpoints={endpoint}");
    Program::start(dir, &[&["ctl", &endpoint, "--command-timeout=20s"], args].concat()).end()
}

/// Options as they are passed.
pub fn options<'o>(parts: impl IntoIterator<Item = &'o [String]>) -> Vec<String> {
    parts.into_iter().flatten().cloned().collect()
}
