//! The real program as a child process: what it says line by line, signals to it, and how it ended.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use quorate_jepsen::ports;

/// Nothing here takes this long unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program.
pub const QUORATE: &str = env!("CARGO_BIN_EXE_quorate");

/// A running program; killed when it goes out of scope.
pub struct Program {
    child: Child,
    stderr: Lines,
    stdout: Lines,
}

/// What a stream has said, and what is still to come.
struct Lines {
    said: Vec<String>,
    coming: Receiver<String>,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Lines {
        let (sender, coming) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                // Nobody listens any more once the test is over.
                let _over = sender.send(line);
            }
        });
        Lines { said: Vec::new(), coming }
    }

    /// The next line; `None` at the end of the stream.
    fn next(&mut self, until: Instant) -> Option<&str> {
        match self.coming.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                self.said.push(line);
                self.said.last().map(String::as_str)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("waited in vain; said so far:\n{}", self.said.join("\n"))
            }
        }
    }

    fn wait_for(&mut self, word: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.next(until) {
                Some(line) if line.contains(word) => return line.to_owned(),
                Some(_) => {}
                None => panic!("ended without {word:?}; said:\n{}", self.said.join("\n")),
            }
        }
    }

    fn into_all(mut self) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        while self.next(until).is_some() {}
        self.said
    }
}

/// How a program ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stderr: Vec<String>,
    pub stdout: Vec<String>,
}

impl Program {
    /// Starts `quorate` in `dir` with nothing of this process's environment that it would heed.
    pub fn start(dir: &Path, args: &[&str]) -> Program {
        Program::start_with(dir, args, &[])
    }

    /// As [`Program::start`], with variables.
    pub fn start_with(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Program {
        Program::start_as(Path::new(QUORATE), dir, args, env)
    }

    /// As [`Program::start_with`], called by the name of `program`.
    pub fn start_as(program: &Path, dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Program {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ETCD") {
                command.env_remove(name);
            }
        }
        command.args(args).envs(env.iter().copied()).current_dir(dir).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr: ChildStderr = child.stderr.take().unwrap();
        let stdout: ChildStdout = child.stdout.take().unwrap();
        Program { child, stderr: Lines::of(stderr), stdout: Lines::of(stdout) }
    }

    /// Waits for a line of standard error that contains `word`.
    pub fn wait_for(&mut self, word: &str) -> String {
        self.stderr.wait_for(word)
    }

    /// Waits for a line of standard output that contains `word`.
    pub fn wait_for_output(&mut self, word: &str) -> String {
        self.stdout.wait_for(word)
    }

    /// What standard error has said in lines that were waited for or passed over.
    pub fn said(&self) -> &[String] {
        &self.stderr.said
    }

    /// The process's id.
    #[allow(dead_code, reason = "not every suite that shares this file asks for it")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, as in `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits until the program has ended.
    pub fn end(mut self) -> Ended {
        let stderr = std::mem::replace(&mut self.stderr, Lines::of(std::io::empty())).into_all();
        let stdout = std::mem::replace(&mut self.stdout, Lines::of(std::io::empty())).into_all();
        // Both streams are closed: the program has ended or is about to.
        let status = self.child.wait().unwrap();
        Ended { status, stderr, stdout }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Ended {
    /// The one line that says why, and nothing else was said.
    pub fn only_line(&self) -> &str {
        assert_eq!(self.stderr.len(), 1, "{:#?}", self.stderr);
        &self.stderr[0]
    }

    /// What a program that went well has printed.
    pub fn printed(&self) -> String {
        assert!(self.status.success(), "{:?}: {:#?}", self.status, self.stderr);
        self.stdout.join("\n")
    }

    /// The last line of standard error.
    pub fn last_line(&self) -> &str {
        self.stderr.last().map_or("", String::as_str)
    }
}

/// `count` free ports, which no other test of this process is given.
pub fn free_ports(count: u16) -> Vec<u16> {
    (0..count).map(|_| ports::free()).collect()
}
