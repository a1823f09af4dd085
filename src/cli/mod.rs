//! The programs in the one binary: the server, the client `ctl`, `util` for files, the load generator `bench`, and the local
//! cluster `dev`.
//!
//! Called through a link named `etcd`, `etcdctl` or `etcdutl` the binary is that program, so that it can be dropped in.
//! Programs may read files and the environment; what they learn goes down as plain values. Plain build only.

mod bench;
pub mod ctl;
mod dev;
mod discovery;
mod log;
mod serve;
mod util;
pub mod version;

use std::path::Path;
use std::process::ExitCode;

/// Runs the program that the command line asks for.
pub fn main() -> ExitCode {
    // Arguments that are not Unicode cannot name anything here; their remains then fail as unknown.
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let env: Vec<(String, String)> = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect();
    let code = match program(&args) {
        Program::Bench(args) => bench::run(args, &env),
        Program::Ctl(args) => ctl::run(args, &env),
        Program::Dev(args) => dev::run(args),
        Program::Serve(args) => serve::run(&args, &env),
        Program::Util(args) => util::run(&args),
    };
    ExitCode::from(code)
}

/// What the binary was called to be.
#[derive(Debug, PartialEq, Eq)]
enum Program {
    /// The load generator; arguments with the program's name.
    Bench(Vec<String>),
    /// The client; arguments with the program's name.
    Ctl(Vec<String>),
    /// The local cluster; arguments with the program's name.
    Dev(Vec<String>),
    /// The server; arguments without the program's name.
    Serve(Vec<String>),
    /// Files without a server; arguments with the program's name.
    Util(Vec<String>),
}

fn program(args: &[String]) -> Program {
    let called = args.first().map_or("", String::as_str);
    let name = Path::new(called).file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let rest = args.get(1..).unwrap_or_default();
    match (name, rest) {
        ("etcdctl", _) => Program::Ctl(args.to_vec()),
        ("etcdutl", _) => Program::Util(args.to_vec()),
        ("etcd", rest) => Program::Serve(rest.to_vec()),
        (_, [word, rest @ ..]) if word == "bench" => Program::Bench(named("quorate bench", rest)),
        (_, [word, rest @ ..]) if word == "ctl" => Program::Ctl(named("quorate ctl", rest)),
        (_, [word, rest @ ..]) if word == "dev" => Program::Dev(named("quorate dev", rest)),
        (_, [word, rest @ ..]) if word == "util" => Program::Util(named("quorate util", rest)),
        (_, rest) => Program::Serve(rest.to_vec()),
    }
}

/// The words of a program of the name `name`.
fn named(name: &str, rest: &[String]) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(rest.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_and_the_first_word_choose_the_program() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (args, want) in [
            (&["quorate"][..], Program::Serve(words(&[]))),
            (&["/bin/quorate", "--name=a"], Program::Serve(words(&["--name=a"]))),
            (&["quorate", "bench", "put"], Program::Bench(words(&["quorate bench", "put"]))),
            (&["quorate", "ctl", "get", "a"], Program::Ctl(words(&["quorate ctl", "get", "a"]))),
            (&["/usr/bin/etcdctl", "get", "a"], Program::Ctl(words(&["/usr/bin/etcdctl", "get", "a"]))),
            (&["./etcd", "--name=a"], Program::Serve(words(&["--name=a"]))),
            (&["quorate", "dev", "--members=1"], Program::Dev(words(&["quorate dev", "--members=1"]))),
            (&["etcd", "dev"], Program::Serve(words(&["dev"]))),
            (&["etcd", "ctl"], Program::Serve(words(&["ctl"]))),
            (&["etcdutl", "version"], Program::Util(words(&["etcdutl", "version"]))),
            (&["quorate", "util", "snapshot"], Program::Util(words(&["quorate util", "snapshot"]))),
        ] {
            assert_eq!(program(&words(args)), want, "{args:?}");
        }
    }
}
