//! The real `etcdctl` as a process: one command, or one that goes on until enough of its lines were seen.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use quorate_jepsen::cluster::Cluster;

/// How long a line may take that is due.
const LINE_WITHIN: Duration = Duration::from_secs(20);
/// How long a command may take that ends by itself.
const END_WITHIN: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// `etcdctl`, pointed at a cluster.
pub struct Etcdctl {
    pub program: PathBuf,
    pub endpoints: Vec<String>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    /// The line of standard error that begins with `Error:`; logging is not compared.
    pub error: String,
    /// All of standard error.
    pub errors: String,
}

impl Etcdctl {
    pub fn new(program: PathBuf, cluster: &Cluster) -> Etcdctl {
        Etcdctl { program, endpoints: cluster.endpoints() }
    }

    /// The same program, pointed at whoever is reached there.
    pub fn at(&self, endpoint: String) -> Etcdctl {
        Etcdctl { program: self.program.clone(), endpoints: vec![endpoint] }
    }

    /// The same program, pointed at one member after the other.
    pub fn each(&self) -> impl Iterator<Item = Etcdctl> {
        self.endpoints.iter().map(|endpoint| self.at(endpoint.clone()))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("ETCDCTL_API", "3")
            .env("ETCDCTL_ENDPOINTS", self.endpoints.join(","))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end, with `input` on its standard input.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn end(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.command(args).spawn().unwrap();
        // A command that does not read its input may be gone before it is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = text_of(child.stdout.take().unwrap());
        let errors = text_of(child.stderr.take().unwrap());
        let start = Instant::now();
        let mut status = child.try_wait().unwrap();
        while status.is_none() && start.elapsed() < END_WITHIN {
            std::thread::sleep(LOOK_INTERVAL);
            status = child.try_wait().unwrap();
        }
        if status.is_none() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let (output, errors) = (output.join().unwrap(), errors.join().unwrap());
        let Some(status) = status else {
            panic!("{args:?} still ran after {END_WITHIN:?}: {output}\n{errors}")
        };
        let error = errors.lines().find(|line| line.starts_with("Error:")).unwrap_or_default().to_owned();
        Ended { code: status.code(), output, error, errors }
    }

    /// What a command prints that has to succeed.
    pub fn run(&self, args: &[&str]) -> String {
        self.run_with(args, "")
    }

    /// What a command prints that has to succeed, with `input` on its standard input.
    pub fn run_with(&self, args: &[&str], input: &str) -> String {
        let ended = self.end(args, input);
        assert_eq!(ended.code, Some(0), "{args:?}: {ended:?}");
        ended.output
    }

    /// A command's output, demanded to be exactly this.
    pub fn prints(&self, args: &[&str], want: &str) {
        assert_eq!(self.run(args), want, "{args:?}");
    }

    /// The error of a command that has to fail with code 1.
    pub fn fails(&self, args: &[&str], want: &str) {
        let ended = self.end(args, "");
        assert_eq!((ended.code, ended.error.as_str()), (Some(1), want), "{args:?}: {ended:?}");
    }

    /// Starts a command that goes on until it is dropped.
    pub fn start(&self, args: &[&str]) -> Running {
        let mut process = self.command(args).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Running { what: format!("{args:?}"), process, lines }
    }
}

/// All that comes through a pipe, read beside the others: a full one would hold the command up.
fn text_of(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A command under way.
pub struct Running {
    what: String,
    process: Child,
    lines: Receiver<String>,
}

impl Running {
    /// The next lines it prints, demanded to be these.
    pub fn prints(&self, want: &[&str]) {
        let mut seen = Vec::new();
        for _ in want {
            let line = self.lines.recv_timeout(LINE_WITHIN);
            seen.push(
                line.unwrap_or_else(|_| panic!("{} stopped after {seen:?}, {want:?} were due", self.what)),
            );
        }
        assert_eq!(seen, want, "{}", self.what);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
