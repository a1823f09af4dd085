//! One member: its addresses, its folder, and the process that runs it or does not.
//!
//! Each life of the process writes a log of its own, so that no life is taken for ready because an earlier one was.
//! A process is killed by its id, and dies with this object. However it is ended, it must not have ended by itself before,
//! nor have panicked.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use quorate_check::history::MemberAsked;
use rustix::process::{Pid, Signal, kill_process};

use crate::ports;
use crate::program::Server;

/// What a member prints once it serves; scripts around the reference wait for these words too.
const READY: &str = "ready to serve client requests";
/// How often a condition of a process is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How much of a log is shown when something is wrong with its member.
const SHOWN_LINES: usize = 12;

/// A member of a cluster.
#[derive(Debug)]
pub struct Member {
    /// Its place in the cluster, from 0.
    pub index: u32,
    /// Its name.
    pub name: String,
    client_port: u16,
    peer_port: u16,
    folder: PathBuf,
    /// How often it was started.
    lives: u32,
    process: Option<Child>,
}

impl Member {
    /// A member that has never run, with a folder of its own below `root`.
    pub fn new(index: u32, root: &Path) -> Member {
        let name = format!("m{index}");
        let folder = root.join(&name);
        fs::create_dir(&folder).expect("a member's folder can be made");
        let (client_port, peer_port) = (ports::free(), ports::free());
        Member { index, name, client_port, peer_port, folder, lives: 0, process: None }
    }

    /// Host and port for clients.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// The address for clients, with its scheme.
    pub fn client_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// The address for other members.
    pub fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer_port)
    }

    /// The member as the history names it, once its id is known.
    pub fn asked(&self, id: quorate_check::types::MemberId) -> MemberAsked {
        MemberAsked { id, index: self.index }
    }

    /// Whether its process runs.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.lives))
    }

    /// The last lines of its present life's log.
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let skipped = text.lines().count().saturating_sub(SHOWN_LINES);
        text.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }

    /// Starts its process; `initial` lists the cluster's members as the flag wants them.
    pub fn start(&mut self, server: &Server, initial: &str) {
        assert!(!self.runs(), "{} runs already", self.name);
        self.lives += 1;
        let log = File::create(self.log()).expect("a log can be made");
        let process = Command::new(server.path())
            .args(["--name", &self.name])
            .arg("--data-dir")
            .arg(self.folder.join("data"))
            .args(["--listen-client-urls", &self.client_url(), "--advertise-client-urls", &self.client_url()])
            .args(["--listen-peer-urls", &self.peer_url(), "--initial-advertise-peer-urls", &self.peer_url()])
            .args(["--initial-cluster", initial, "--initial-cluster-state", "new"])
            .args(["--initial-cluster-token", "quorate-jepsen"])
            .args(server.extra())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", server.path().display()));
        self.process = Some(process);
    }

    /// Waits until its process says that it serves.
    ///
    /// # Panics
    /// When it ends instead, or takes longer than `patience`.
    pub fn wait_ready(&mut self, patience: Duration) {
        let start = Instant::now();
        while !self.says_ready() {
            let process = self.process.as_mut().expect("a member that runs");
            let ended = process.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "{} ended by itself ({ended:?}):\n{}", self.name, self.log_tail());
            let waited = start.elapsed();
            assert!(waited < patience, "{} is not ready after {waited:?}:\n{}", self.name, self.log_tail());
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Whether this life has said that it serves.
    pub fn says_ready(&self) -> bool {
        let text = fs::read(self.log()).unwrap_or_default();
        text.windows(READY.len()).any(|words| words == READY.as_bytes())
    }

    /// A panic in one task may leave the process running, and must not go unseen.
    fn demand_no_panic(&self) {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let panic = text.lines().find(|line| line.contains("panicked at"));
        assert!(panic.is_none(), "{} has panicked: {panic:?}\n{}", self.name, self.log_tail());
    }

    /// Ends the process without a warning; true if it ran.
    ///
    /// # Panics
    /// When it had ended by itself before, or had panicked.
    pub fn kill(&mut self) -> bool {
        let Some(mut process) = self.process.take() else { return false };
        let ended = process.try_wait().expect("a child can be asked");
        assert!(ended.is_none(), "{} ended by itself ({ended:?}):\n{}", self.name, self.log_tail());
        process.kill().expect("a child can be killed");
        process.wait().expect("a killed child ends");
        self.demand_no_panic();
        true
    }

    /// Stops the process where it stands: it keeps its memory and its connections, and does nothing until it is resumed.
    pub fn pause(&self) {
        signal(self.process.as_ref().expect("a member that runs"), Signal::STOP);
    }

    /// Lets a paused process go on, to which no time has passed.
    pub fn resume(&self) {
        signal(self.process.as_ref().expect("a member that runs"), Signal::CONT);
    }

    /// Asks the process to end, and waits for that; how it ended.
    ///
    /// # Panics
    /// When it takes longer than `patience`, or had panicked.
    pub fn terminate(&mut self, patience: Duration) -> ExitStatus {
        let mut process = self.process.take().expect("a member that runs");
        signal(&process, Signal::TERM);
        let start = Instant::now();
        loop {
            if let Some(status) = process.try_wait().expect("a child can be asked") {
                self.demand_no_panic();
                return status;
            }
            if start.elapsed() >= patience {
                self.process = Some(process);
                panic!("{} still runs {patience:?} after SIGTERM:\n{}", self.name, self.log_tail());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

fn signal(process: &Child, signal: Signal) {
    let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw).expect("a process has an id");
    kill_process(id, signal).expect("a child can be sent signals");
}

impl Drop for Member {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.kill();
            return;
        }
        // A second panic would end the whole test program, and the first one has said what is wrong.
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        eprintln!("--- last lines of {}, life {} ---\n{}", self.name, self.lives, self.log_tail());
    }
}
