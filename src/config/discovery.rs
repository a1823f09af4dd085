//! Where the members of a cluster are looked up instead of being listed: DNS SRV records (RFC 2782) of a domain.
//!
//! Members stand under `_etcd-server-ssl._tcp.DOMAIN` and `_etcd-server._tcp.DOMAIN`, their clients' addresses under the same
//! with `client`; a cluster among several of one domain has a name, which is added to the service. Plain values: who asks
//! for the records is `cli::discovery`.

use crate::config::url::Scheme;

/// What is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Members, as other members reach them.
    Server,
    /// Members, as clients reach them.
    Client,
}

/// A domain, and which of its clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrvDomain {
    /// The domain; one that ends with a dot is taken as it is, without the host's search list.
    pub domain: String,
    /// The name of the cluster; may be empty.
    pub name: String,
}

impl SrvDomain {
    /// The name under which the records of a service stand.
    pub fn question(&self, service: Service, scheme: Scheme) -> String {
        let service = match service {
            Service::Server => "server",
            Service::Client => "client",
        };
        let secure = if matches!(scheme, Scheme::Https | Scheme::Unixs) { "-ssl" } else { "" };
        let suffix = if self.name.is_empty() { String::new() } else { format!("-{}", self.name) };
        format!("_etcd-{service}{secure}{suffix}._tcp.{}", self.domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_a_name_with_and_without_tls() {
        for (name, service, scheme, want) in [
            ("", Service::Server, Scheme::Https, "_etcd-server-ssl._tcp.example.com"),
            ("", Service::Server, Scheme::Http, "_etcd-server._tcp.example.com"),
            ("blue", Service::Server, Scheme::Https, "_etcd-server-ssl-blue._tcp.example.com"),
            ("blue", Service::Client, Scheme::Http, "_etcd-client-blue._tcp.example.com"),
            ("", Service::Client, Scheme::Https, "_etcd-client-ssl._tcp.example.com"),
        ] {
            let domain = SrvDomain { domain: "example.com".to_owned(), name: name.to_owned() };
            assert_eq!(domain.question(service, scheme), want);
        }
    }
}
