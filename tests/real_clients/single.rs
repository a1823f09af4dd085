//! One server of its own on a data directory: ours, or the reference's.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quorate_jepsen::{ports, program};

use crate::etcdctl::{Ended, Etcdctl};

/// How long a server may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A server, its place, and its client. The process is gone when it is dropped; its data stays.
pub struct Single {
    program: PathBuf,
    process: Option<Child>,
    client: String,
    pub peer: String,
    pub data: PathBuf,
    pub ctl: Etcdctl,
}

/// A client that is pointed at nobody yet; `None`, said loudly, without the program.
pub fn client() -> Option<Etcdctl> {
    Some(Etcdctl { program: program::etcdctl()?, endpoints: Vec::new() })
}

impl Single {
    /// A server of the reference, not started.
    pub fn reference(ctl: &Etcdctl, data: &Path) -> Option<Single> {
        Some(Single::of(program::reference("etcd")?, ctl, data))
    }

    /// Our own, not started.
    pub fn ours(ctl: &Etcdctl, data: &Path) -> Single {
        Single::of(PathBuf::from(env!("CARGO_BIN_EXE_quorate")), ctl, data)
    }

    fn of(program: PathBuf, ctl: &Etcdctl, data: &Path) -> Single {
        let endpoint = format!("127.0.0.1:{}", ports::free());
        let (client, peer) = (format!("http://{endpoint}"), format!("http://127.0.0.1:{}", ports::free()));
        Single { program, process: None, client, peer, data: data.to_owned(), ctl: ctl.at(endpoint) }
    }

    /// What `--initial-cluster` is of a cluster of this server alone.
    pub fn cluster(&self) -> String {
        format!("default={}", self.peer)
    }

    /// Starts it and waits until it serves.
    pub fn start(&mut self, more: &[&str]) {
        let (client, peer) = (self.client.as_str(), self.peer.as_str());
        let process = Command::new(&self.program)
            .args(["--data-dir", self.data.to_str().unwrap(), "--initial-cluster", &self.cluster()])
            .args(["--listen-client-urls", client, "--advertise-client-urls", client])
            .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.unwrap());
        let start = Instant::now();
        // Who asks its clients who they are serves too.
        let serves = |ended: Ended| ended.code == Some(0) || ended.error.ends_with("user name is empty");
        while !serves(self.ctl.end(&["get", "ready"], "")) {
            assert!(start.elapsed() < READY_WITHIN, "{:?} does not serve {:?}", self.program, self.data);
        }
    }

    /// Ends it without a warning.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Single {
    fn drop(&mut self) {
        self.kill();
    }
}
