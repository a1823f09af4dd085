//! How a command fails: one line for standard error, one exit code for scripts.

use tonic::{Code, Status};

/// Exit codes, as scripts that call `etcdctl` know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The server refused, or something went wrong.
    Error = 1,
    /// The connection broke.
    BadConnection = 2,
    /// Standard input made no sense.
    InvalidInput = 3,
    /// A format or option that the command does not have.
    BadFeature = 4,
    /// A stream was ended from the other side.
    Interrupted = 5,
    /// Local input or output failed.
    Io = 6,
    /// The arguments made no sense.
    BadArgs = 128,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Error => 1,
            Exit::BadConnection => 2,
            Exit::InvalidInput => 3,
            Exit::BadFeature => 4,
            Exit::Interrupted => 5,
            Exit::Io => 6,
            Exit::BadArgs => 128,
        }
    }
}

/// A failed command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct CtlError {
    /// What scripts see.
    pub exit: Exit,
    /// What people see, after `Error: `.
    pub text: String,
}

impl CtlError {
    /// A failure of any kind.
    pub fn new(exit: Exit, text: impl Into<String>) -> CtlError {
        CtlError { exit, text: text.into() }
    }

    /// Arguments that make no sense.
    pub fn bad_args(text: impl Into<String>) -> CtlError {
        CtlError::new(Exit::BadArgs, text)
    }

    /// The command's time is over.
    pub fn deadline() -> CtlError {
        CtlError::new(Exit::Error, "context deadline exceeded")
    }
}

impl From<Status> for CtlError {
    /// The API's own errors are known by their text; all others show code and text.
    fn from(status: Status) -> CtlError {
        let text = status.message();
        if text.starts_with("etcdserver: ") {
            return CtlError::new(Exit::Error, text);
        }
        let name = match status.code() {
            Code::DeadlineExceeded => return CtlError::deadline(),
            Code::Cancelled => "Canceled".to_owned(),
            code => format!("{code:?}"),
        };
        CtlError::new(Exit::Error, format!("rpc error: code = {name} desc = {text}"))
    }
}

impl From<std::io::Error> for CtlError {
    fn from(error: std::io::Error) -> CtlError {
        CtlError::new(Exit::Io, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_words_stand_alone() {
        for (status, text) in [
            (
                Status::not_found("etcdserver: requested lease not found"),
                "etcdserver: requested lease not found",
            ),
            (Status::unknown("boom"), "rpc error: code = Unknown desc = boom"),
            (Status::cancelled("x"), "rpc error: code = Canceled desc = x"),
            (Status::deadline_exceeded("whatever"), "context deadline exceeded"),
        ] {
            assert_eq!(CtlError::from(status), CtlError::new(Exit::Error, text));
        }
    }
}
