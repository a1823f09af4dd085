//! Asks name servers for SRV records, by UDP and, where an answer is cut short, by TCP.
//!
//! The servers, their time limits and the search list are those of the host's `resolv.conf`. Servers are asked one after
//! the other until one answers; that there is no such name is an answer, a server that fails is none. Addresses of hosts
//! are not asked for here but of the host's own resolver, which is the one that connections go by.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::base::{Message, Name, Rtype};
use domain::rdata::Srv;
use domain::resolv::StubResolver;
use domain::resolv::stub::conf::{ResolvConf, ServerConf};

/// What a lookup may take in all.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(20);
/// What one server may be given for one question, whatever the host's options say.
const SERVER_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// Servers that are asked.
const SERVERS_MAX: usize = 3;
/// Times that each of them is asked.
const ROUNDS_MAX: usize = 5;
/// Where the host's name servers are written down.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// One record: where a service is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Lower is to be tried first.
    pub priority: u16,
    /// Among those of one priority, the share that this one is to have.
    pub weight: u16,
    /// The host, in lower case, without the dot at its end.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// Host and port.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Why a question had no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The question is none.
    #[error("{0:?} is no domain name")]
    Name(String),
    /// No server said whether there are records.
    #[error("no answer for {question}: {why}")]
    NoAnswer {
        /// What was asked for.
        question: String,
        /// What the last server said, or did not say.
        why: String,
    },
    /// There is a record of something that is no host.
    #[error("{question} names {target:?}, which is no host name")]
    Target {
        /// What was asked for.
        question: String,
        /// What stands there.
        target: String,
    },
}

/// The name servers that are asked.
#[derive(Clone, Debug)]
pub struct Resolver {
    conf: ResolvConf,
}

impl Resolver {
    /// With the host's name servers; without any, the one on the host itself.
    pub fn of_host() -> Resolver {
        Resolver::of_text(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default())
    }

    /// With the name servers and options of a `resolv.conf` of this text. Lines of other systems mean nothing here.
    pub fn of_text(text: &str) -> Resolver {
        let mut conf = ResolvConf::new();
        for line in text.lines() {
            // A line that makes no sense must not hide those after it.
            let _unknown = conf.parse(&mut line.trim().as_bytes());
        }
        conf.finalize();
        Resolver { conf }
    }

    /// The records that stand under a name, in the order in which they are to be tried; none where there is no such name.
    /// Among those of one priority the heavier come first.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub async fn srv(&self, question: &str) -> Result<Vec<Target>, LookupError> {
        let names = self.names(question)?;
        let asking = async {
            for name in &names {
                let targets = self.srv_of(question, name).await?;
                if !targets.is_empty() {
                    return Ok(targets);
                }
            }
            Ok(Vec::new())
        };
        let too_long = |_| LookupError::NoAnswer {
            question: question.to_owned(),
            why: format!("nothing within {} s", LOOKUP_TIMEOUT.as_secs()),
        };
        tokio::time::timeout(LOOKUP_TIMEOUT, asking).await.map_err(too_long)?
    }

    /// The addresses of a host, as connections would find them; none where there are none.
    pub async fn addresses(host: &str, port: u16) -> BTreeSet<IpAddr> {
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await;
        let found = found.ok().and_then(Result::ok);
        found.into_iter().flatten().map(|address| address.ip()).collect()
    }

    /// The full names that a question may mean, in the order in which the host would try them.
    fn names(&self, question: &str) -> Result<Vec<Name<Vec<u8>>>, LookupError> {
        let name = |text: &str| -> Result<Name<Vec<u8>>, LookupError> {
            text.parse().map_err(|_| LookupError::Name(question.to_owned()))
        };
        let absolute = name(question)?;
        if question.ends_with('.') {
            return Ok(vec![absolute]);
        }
        let search = self.conf.options.search.as_slice().iter().filter(|suffix| !suffix.is_root());
        let mut names = search
            .map(|suffix| name(&format!("{question}.{suffix}")))
            .collect::<Result<Vec<_>, LookupError>>()?;
        let is_full = question.matches('.').count() >= self.conf.options.ndots;
        names.insert(if is_full { 0 } else { names.len() }, absolute);
        Ok(names)
    }

    async fn srv_of(&self, question: &str, name: &Name<Vec<u8>>) -> Result<Vec<Target>, LookupError> {
        let rounds = self.conf.options.attempts.clamp(1, ROUNDS_MAX);
        let mut why = String::new();
        for _ in 0..rounds {
            for server in self.conf.servers.iter().take(SERVERS_MAX) {
                match self.ask(server, name).await {
                    Ok(message) => return records(question, &message),
                    Err(said) => why = format!("{}: {said}", server.addr),
                }
            }
        }
        Err(LookupError::NoAnswer { question: question.to_owned(), why })
    }

    /// What one server knows; that it knows nothing of the name is known too.
    async fn ask(&self, server: &ServerConf, name: &Name<Vec<u8>>) -> Result<Message<Vec<u8>>, String> {
        let mut conf = ResolvConf { servers: vec![server.clone()], options: self.conf.options.clone() };
        conf.options.timeout = conf.options.timeout.clamp(Duration::from_millis(100), SERVER_TIMEOUT_MAX);
        let answer = StubResolver::from_conf(conf).query((name, Rtype::SRV)).await;
        let answer = answer.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => "nothing in time".to_owned(),
            _ => error.to_string(),
        })?;
        match answer.header().rcode() {
            Rcode::NOERROR | Rcode::NXDOMAIN if answer.is_final() => {
                Message::from_octets(answer.into_message().as_slice().to_vec())
                    .map_err(|error| error.to_string())
            }
            Rcode::NOERROR | Rcode::NXDOMAIN => Err("only a part of an answer".to_owned()),
            code => Err(code.to_string()),
        }
    }
}

/// The records of an answer, in the order in which they are to be tried.
fn records(question: &str, answer: &Message<Vec<u8>>) -> Result<Vec<Target>, LookupError> {
    let unreadable = |why: String| LookupError::NoAnswer { question: question.to_owned(), why };
    // The name may be another one's alias.
    let Some(owner) = answer.canonical_name() else {
        return Ok(Vec::new());
    };
    let section = answer.answer().map_err(|error| unreadable(error.to_string()))?;
    let mut targets = Vec::new();
    for record in section.limit_to_in::<Srv<_>>() {
        let record = record.map_err(|error| unreadable(error.to_string()))?;
        // A target that is the root says that the service is not there.
        if *record.owner() != owner || record.data().target().to_string().trim_matches('.').is_empty() {
            continue;
        }
        let srv = record.data();
        targets.push(Target {
            priority: srv.priority(),
            weight: srv.weight(),
            host: host(question, &srv.target().to_string())?,
            port: srv.port(),
        });
    }
    targets.sort_by(|a, b| {
        (a.priority, b.weight, &a.host, a.port).cmp(&(b.priority, a.weight, &b.host, b.port))
    });
    targets.dedup();
    Ok(targets)
}

/// The one form of a host's name: members make their ids of it, and servers may change its case.
fn host(question: &str, target: &str) -> Result<String, LookupError> {
    let host = target.trim_end_matches('.').to_ascii_lowercase();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if host.bytes().all(is_plain) {
        return Ok(host);
    }
    Err(LookupError::Target { question: question.to_owned(), target: target.to_owned() })
}

#[cfg(test)]
mod tests;
