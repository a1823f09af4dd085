//! The real `etcdctl` as a process: one command, or one that goes on until enough of its lines were seen.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use quorate_jepsen::cluster::Cluster;

/// How long a line may take that is due.
const LINE_WITHIN: Duration = Duration::from_secs(20);

/// `etcdctl`, pointed at a cluster.
pub struct Etcdctl {
    program: PathBuf,
    endpoints: Vec<String>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    /// The line of standard error that begins with `Error:`; logging is not compared.
    pub error: String,
}

impl Etcdctl {
    pub fn new(program: PathBuf, cluster: &Cluster) -> Etcdctl {
        Etcdctl { program, endpoints: cluster.endpoints() }
    }

    /// The same program, pointed at one member after the other.
    pub fn each(&self) -> impl Iterator<Item = Etcdctl> {
        let one =
            |endpoint: &String| Etcdctl { program: self.program.clone(), endpoints: vec![endpoint.clone()] };
        self.endpoints.iter().map(one)
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
    pub fn end(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.command(args).spawn().unwrap();
        // A command that does not read its input may be gone before it is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let ended = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr).into_owned();
        Ended {
            code: ended.status.code(),
            output: String::from_utf8_lossy(&ended.stdout).into_owned(),
            error: errors.lines().find(|line| line.starts_with("Error:")).unwrap_or_default().to_owned(),
        }
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
