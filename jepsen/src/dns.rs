//! A name server on loopback with a handful of records, for programs that look their members up.
//!
//! It knows SRV, A and CNAME, answers by UDP and TCP, and can be told to misbehave. Its messages are put together here byte
//! by byte (RFC 1035, section 4), so that it shares no mistake with whoever asks it. It serves until the process ends.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const A: u16 = 1;
const CNAME: u16 = 5;
const SRV: u16 = 33;
const CLASS_IN: u16 = 1;
const HEADER_BYTES: usize = 12;
const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NO_SUCH_NAME: u8 = 3;
const TTL_SECS: u32 = 5;
const DATAGRAM_BYTES_MAX: usize = 4096;

/// The records of a server.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    records: Vec<Record>,
}

#[derive(Clone, Debug)]
struct Record {
    owner: String,
    kind: u16,
    data: Vec<u8>,
    /// Where a CNAME leads.
    leads_to: Option<String>,
}

impl Zone {
    /// With a service at a host's port.
    #[must_use]
    pub fn srv(self, owner: &str, priority: u16, weight: u16, port: u16, target: &str) -> Zone {
        let numbers = [priority, weight, port].into_iter().flat_map(u16::to_be_bytes);
        self.with(owner, SRV, numbers.chain(name(target)).collect(), None)
    }

    /// With a host's address.
    #[must_use]
    pub fn a(self, owner: &str, address: Ipv4Addr) -> Zone {
        self.with(owner, A, address.octets().to_vec(), None)
    }

    /// With another name for a name.
    #[must_use]
    pub fn alias(self, owner: &str, target: &str) -> Zone {
        self.with(owner, CNAME, name(target), Some(target.to_owned()))
    }

    fn with(mut self, owner: &str, kind: u16, data: Vec<u8>, leads_to: Option<String>) -> Zone {
        self.records.push(Record { owner: owner.to_owned(), kind, data, leads_to });
        self
    }

    /// What is known of a name, and whether anything is. An alias is followed once.
    fn find(&self, owner: &str, kind: u16) -> (Vec<&Record>, bool) {
        let of = |owner: &str| -> Vec<&Record> {
            self.records.iter().filter(|record| record.owner.eq_ignore_ascii_case(owner)).collect()
        };
        let mut known = of(owner);
        let exists = !known.is_empty();
        let behind: Vec<&Record> =
            known.iter().filter_map(|record| record.leads_to.as_deref()).flat_map(of).collect();
        known.extend(behind);
        known.retain(|record| record.kind == kind || record.kind == CNAME);
        (known, exists)
    }
}

/// How a server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It answers.
    Answers,
    /// By UDP it answers nothing but that there is more.
    CutsShort,
    /// It says that it cannot.
    Fails,
    /// It says nothing.
    Silent,
}

/// A running server.
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    zone: Mutex<Zone>,
    manner: Mutex<Manner>,
    asked: Mutex<Vec<String>>,
}

impl NameServer {
    /// Serves a zone at an address; port 0 is one that is free.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn start(address: SocketAddr, zone: Zone) -> io::Result<NameServer> {
        let stream = TcpListener::bind(address)?;
        let address = stream.local_addr()?;
        let datagrams = UdpSocket::bind(address)?;
        let shared = Arc::new(Shared {
            zone: Mutex::new(zone),
            manner: Mutex::new(Manner::Answers),
            asked: Mutex::default(),
        });
        let (by_udp, by_tcp) = (shared.clone(), shared.clone());
        thread::spawn(move || serve_datagrams(&datagrams, &by_udp));
        thread::spawn(move || {
            for connection in stream.incoming().flatten() {
                // Whoever goes away before his answer has none.
                let _gone = serve_stream(connection, &by_tcp);
            }
        });
        Ok(NameServer { address, shared })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From here on it behaves so.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
    }

    /// From here on it has these records.
    pub fn serve(&self, zone: Zone) {
        *self.shared.zone.lock().unwrap_or_else(PoisonError::into_inner) = zone;
    }

    /// The names that were asked for until now, with `udp` or `tcp` before each.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve_datagrams(socket: &UdpSocket, shared: &Shared) {
    let mut question = [0; DATAGRAM_BYTES_MAX];
    while let Ok((len, from)) = socket.recv_from(&mut question) {
        let answer = question.get(..len).and_then(|question| shared.answer(question, false));
        if let Some(answer) = answer {
            // Whoever does not listen any more needs no answer.
            let _gone = socket.send_to(&answer, from);
        }
    }
}

/// One question; its length goes before it, as that of the answer does.
fn serve_stream(mut connection: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut len = [0; 2];
    connection.read_exact(&mut len)?;
    let mut question = vec![0; usize::from(u16::from_be_bytes(len))];
    connection.read_exact(&mut question)?;
    if let Some(answer) = shared.answer(&question, true) {
        let len = u16::try_from(answer.len()).map_err(io::Error::other)?;
        connection.write_all(&[&len.to_be_bytes()[..], &answer].concat())?;
    }
    Ok(())
}

impl Shared {
    fn answer(&self, question: &[u8], is_tcp: bool) -> Option<Vec<u8>> {
        let (owner, end) = read_name(question)?;
        let kind = u16::from_be_bytes(question.get(end..end + 2)?.try_into().ok()?);
        let transport = if is_tcp { "tcp" } else { "udp" };
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(format!("{transport} {owner}"));
        drop(asked);
        let manner = *self.manner.lock().unwrap_or_else(PoisonError::into_inner);
        let zone = self.zone.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, exists) = zone.find(&owner, kind);
        let (code, is_cut, records) = match manner {
            Manner::Silent => return None,
            Manner::Fails => (SERVER_FAILURE, false, Vec::new()),
            Manner::CutsShort if !is_tcp => (NO_ERROR, true, Vec::new()),
            _ if exists => (NO_ERROR, false, found),
            _ => (NO_SUCH_NAME, false, Vec::new()),
        };
        let mut answer = question.get(..2)?.to_vec();
        // An answer, recursion wanted and had; the bit for one that was cut short.
        answer.extend([0x81 | if is_cut { 0x02 } else { 0 }, 0x80 | code]);
        let counts = [1, u16::try_from(records.len()).ok()?, 0, 0];
        answer.extend(counts.into_iter().flat_map(u16::to_be_bytes));
        answer.extend(question.get(HEADER_BYTES..end + 4)?);
        for record in records {
            answer.extend(name(&record.owner));
            answer.extend([record.kind, CLASS_IN].into_iter().flat_map(u16::to_be_bytes));
            answer.extend(TTL_SECS.to_be_bytes());
            answer.extend(u16::try_from(record.data.len()).ok()?.to_be_bytes());
            answer.extend(&record.data);
        }
        Some(answer)
    }
}

/// A name as a message has it: labels with their lengths, and an empty one.
fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.trim_end_matches('.').split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a label has at most 63 bytes"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// The name that is asked for, and where it ends.
fn read_name(question: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER_BYTES);
    loop {
        let len = usize::from(*question.get(at)?);
        at += 1;
        if len == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + len)?).into_owned());
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_as_the_standard_has_it() {
        let zone = Zone::default().a("h.x", Ipv4Addr::new(10, 0, 0, 1));
        let server = NameServer::start("127.0.0.1:0".parse().unwrap(), zone).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ask = |name: &[u8]| {
            let question = [&[7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], name, &[0, 1, 0, 1]].concat();
            socket.send_to(&question, server.address()).unwrap();
            let mut answer = [0; 512];
            let len = socket.recv(&mut answer).unwrap();
            answer[..len].to_vec()
        };
        let owner = b"\x01H\x01x\0";
        let record = [b"\x01h\x01x\0", &[0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 0, 0, 1][..]].concat();
        let header = [7, 9, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        assert_eq!(ask(owner), [&header[..], owner, &[0, 1, 0, 1], &record].concat());
        assert_eq!(ask(b"\x01y\0")[3], 0x83, "there is no such name");
        server.behave(Manner::Fails);
        assert_eq!(ask(owner)[3], 0x82);
        server.behave(Manner::CutsShort);
        assert_eq!(ask(owner)[2..4], [0x83, 0x80]);
        assert_eq!(server.asked(), ["udp H.x", "udp y", "udp H.x", "udp H.x"]);
    }
}
