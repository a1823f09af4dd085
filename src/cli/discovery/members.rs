//! The first members of a cluster as SRV records have them, and which of them is this one.
//!
//! Every record is a member, with one peer URL. A member is the one at its own `--initial-advertise-peer-urls`: the same
//! host and port or, where no host is written so, the same port at the same address. Ids come from the URLs of the records
//! and never from what was compared, so that all members agree on them whatever each calls itself.
//!
//! Members that saw different records would found different clusters. So a lookup that failed is not taken for one that
//! found nothing, and a host whose address is unknown is a member all the same.

use std::collections::BTreeSet;
use std::net::IpAddr;

use futures_util::future::join_all;

use crate::cli::discovery::resolver::{LookupError, Resolver, Target};
use crate::cli::discovery::{Answers, NoRecords, ask};
use crate::config::Url;
use crate::config::discovery::{Service, SrvDomain};
use crate::config::url::UrlError;

/// The first members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstMembers {
    /// This one's peer URL, as the records have it.
    pub own: Url,
    /// The others', in order.
    pub others: Vec<Url>,
}

/// Why records make no cluster for this member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// DNS gives no answer.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A target makes no URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// There are no records.
    #[error(transparent)]
    NoRecords(#[from] NoRecords),
    /// A record has one URL, and this member has another number of them.
    #[error("a record is one peer URL, but --initial-advertise-peer-urls has {0}")]
    OwnUrls(usize),
    /// One address in both kinds of records.
    #[error("{0} stands there with TLS and without")]
    Twice(String),
    /// None of the records is this member.
    #[error("none of the targets is this member, {own} (--initial-advertise-peer-urls): {targets}")]
    NotThere {
        /// This member.
        own: Url,
        /// The members, as the records have them.
        targets: String,
    },
    /// More than one of them is.
    #[error(
        "several targets are at the address of this member, {own} (--initial-advertise-peer-urls): {targets}"
    )]
    Several {
        /// This member.
        own: Url,
        /// Those that are there.
        targets: String,
    },
    /// It is there, but not as it says.
    #[error("the records have this member as {found}, but --initial-advertise-peer-urls is {own}")]
    OtherScheme {
        /// As it says.
        own: Url,
        /// As the records have it.
        found: Url,
    },
}

/// Looks up the first members of the cluster of `domain`, for the member that calls itself `own` towards the others.
///
/// # Errors
/// See [`MembersError`].
pub async fn first_members(
    resolver: &Resolver,
    domain: &SrvDomain,
    own: &Url,
) -> Result<FirstMembers, MembersError> {
    let Answers { secure, plain, none } = ask(resolver, domain, Service::Server).await;
    let urls = urls(&secure?, &plain?)?;
    if urls.is_empty() {
        return Err(none.into());
    }
    let written_so: Vec<&Url> = urls.iter().filter(|url| is_written_as(url, own)).collect();
    if !written_so.is_empty() {
        return sort_out(own, &written_so, &urls);
    }
    let at_its_port: Vec<&Url> = urls.iter().filter(|url| url.port() == own.port()).collect();
    let hosts = std::iter::once(own).chain(at_its_port.iter().copied());
    let addresses = join_all(hosts.map(|url| Resolver::addresses(url.host(), url.port()))).await;
    sort_out(own, &at_its_address(&at_its_port, &addresses), &urls)
}

/// The members' URLs, those with TLS first.
fn urls(secure: &[Target], plain: &[Target]) -> Result<Vec<Url>, MembersError> {
    let places = |targets: &[Target]| -> BTreeSet<String> { targets.iter().map(Target::authority).collect() };
    let (secure, plain) = (places(secure), places(plain));
    if let Some(both) = secure.intersection(&plain).next() {
        return Err(MembersError::Twice(both.clone()));
    }
    let secure = secure.iter().map(|place| format!("https://{place}"));
    let plain = plain.iter().map(|place| format!("http://{place}"));
    secure.chain(plain).map(|text| Ok(Url::parse(&text)?)).collect()
}

fn is_written_as(url: &Url, own: &Url) -> bool {
    url.port() == own.port() && own.host().trim_end_matches('.').eq_ignore_ascii_case(url.host())
}

/// Those who share an address with the member; `addresses` are its own first, then theirs.
fn at_its_address<'u>(urls: &[&'u Url], addresses: &[BTreeSet<IpAddr>]) -> Vec<&'u Url> {
    let Some((own, theirs)) = addresses.split_first() else {
        return Vec::new();
    };
    let here = urls.iter().zip(theirs).filter(|(_, addresses)| !addresses.is_disjoint(own));
    here.map(|(url, _)| *url).collect()
}

/// The members, where `here` are those that are this one.
fn sort_out(own: &Url, here: &[&Url], urls: &[Url]) -> Result<FirstMembers, MembersError> {
    let list = |urls: &[&Url]| urls.iter().map(|url| url.as_str()).collect::<Vec<_>>().join(", ");
    let found = match here {
        [found] => *found,
        [] => {
            let targets = list(&urls.iter().collect::<Vec<_>>());
            return Err(MembersError::NotThere { own: own.clone(), targets });
        }
        several => return Err(MembersError::Several { own: own.clone(), targets: list(several) }),
    };
    if found.scheme() != own.scheme() {
        return Err(MembersError::OtherScheme { own: own.clone(), found: found.clone() });
    }
    let others = urls.iter().filter(|url| *url != found).cloned().collect();
    Ok(FirstMembers { own: found.clone(), others })
}

#[cfg(test)]
mod tests;
