//! What a service says when it refuses: the code and the text that clients look at.

use tonic::{Code, Status};

/// What `answer` was refused with.
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.unwrap_err();
    (status.code(), status.message().to_owned())
}

/// An error as clients know it.
pub fn error(code: Code, text: &str) -> (Code, String) {
    (code, format!("etcdserver: {text}"))
}
