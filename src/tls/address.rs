//! Whether a peer's certificate is for the address that it connects from.
//!
//! One that names addresses or hosts must name this one, a host by what the resolver says of it; one that names neither is
//! for all. A wildcard says nothing of an address: whoever has no other names is let in by
//! `--peer-skip-client-san-verification` alone.

use std::net::IpAddr;

use crate::tls::names::Names;

/// Checks it.
///
/// # Errors
/// Why it is not.
pub async fn check(names: &Names, remote: IpAddr) -> Result<(), String> {
    let remote = remote.to_canonical();
    if names.hosts.is_empty() && names.addresses.is_empty() {
        return Ok(());
    }
    if names.addresses.iter().any(|address| address.to_canonical() == remote) {
        return Ok(());
    }
    for host in names.hosts.iter().filter(|host| !host.starts_with("*.")) {
        // Who is not found is not there.
        let Ok(mut found) = tokio::net::lookup_host((host.as_str(), 0)).await else { continue };
        if found.any(|found| found.ip().to_canonical() == remote) {
            return Ok(());
        }
    }
    let named = names.addresses.iter().map(ToString::to_string).chain(names.hosts.iter().cloned());
    Err(format!(
        "its certificate is not for {remote} but for {} (--peer-skip-client-san-verification lets it in)",
        named.collect::<Vec<_>>().join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(hosts: &[&str], addresses: &[&str], remote: &str) -> Result<(), String> {
        let names = Names {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            ..Names::default()
        };
        check(&names, remote.parse().unwrap()).await
    }

    #[tokio::test]
    async fn a_certificate_is_for_the_addresses_and_hosts_it_names() {
        assert_eq!(ask(&[], &[], "10.0.0.9").await, Ok(()), "one that names nothing is for all");
        assert_eq!(ask(&[], &["10.0.0.1", "10.0.0.9"], "10.0.0.9").await, Ok(()));
        assert_eq!(ask(&[], &["10.0.0.9"], "::ffff:10.0.0.9").await, Ok(()));
        assert_eq!(ask(&["localhost"], &["10.0.0.1"], "127.0.0.1").await, Ok(()));
        let why = ask(&["localhost", "*.example"], &["10.0.0.1"], "10.0.0.9").await.unwrap_err();
        assert!(why.starts_with("its certificate is not for 10.0.0.9 but for 10.0.0.1, localhost"), "{why}");
        assert!(ask(&["*.example"], &[], "10.0.0.9").await.is_err());
    }
}
