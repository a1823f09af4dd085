//! Tells a service manager that the server is ready, as units of type `notify` wait for.
//!
//! The manager names a datagram socket in `NOTIFY_SOCKET`; without it nobody is told. A manager that cannot be told
//! is warned about: it will give up on the server sooner or later, and then this line says why.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the manager listens, from the environment.
pub fn socket(env: &[(String, String)]) -> Option<&str> {
    let socket = env.iter().find(|(name, _)| name == "NOTIFY_SOCKET").map(|(_, socket)| socket.as_str());
    socket.filter(|socket| !socket.is_empty())
}

/// Says that the server is ready.
pub fn ready(socket: &str) {
    if let Err(error) = send(socket, b"READY=1\n") {
        tracing::warn!(socket, %error, "the service manager could not be told that the server is ready");
    }
}

fn send(socket: &str, message: &[u8]) -> io::Result<()> {
    // A leading @ stands for a name without a file.
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_without_a_file_is_told() {
        let name = format!("quorate-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(&format!("@{name}"), b"READY=1\n").unwrap();
        let mut message = [0; 16];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\n");
    }

    #[test]
    fn only_a_named_manager_is_told() {
        let env = |value: &str| vec![("NOTIFY_SOCKET".to_owned(), value.to_owned())];
        assert_eq!(socket(&env("/run/notify")), Some("/run/notify"));
        assert_eq!(socket(&env("")), None);
        assert_eq!(socket(&[]), None);
    }
}
