//! The members a cluster begins with, as `--initial-cluster` lists them: `name=url,name=url,…`, or as they were looked up.
//!
//! A name given several times has several URLs. No URL may stand under two names.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::ids::{cluster_id, member_id};
use crate::config::url::{Url, UrlError};
use crate::types::{ClusterId, MemberId};

/// Names and peer URLs of the first members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InitialCluster {
    members: BTreeMap<String, Vec<Url>>,
}

/// Why a list of members cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitialClusterError {
    /// A part that is not `name=url`.
    #[error("want name=url, found {0:?}")]
    Syntax(String),
    /// A bad URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Two members at one address.
    #[error("URL {0} stands there twice")]
    DuplicateUrl(String),
    /// No member at all.
    #[error("it names no member")]
    Empty,
}

impl InitialCluster {
    /// Reads the list.
    ///
    /// # Errors
    /// See [`InitialClusterError`].
    pub fn parse(text: &str) -> Result<InitialCluster, InitialClusterError> {
        let mut members: BTreeMap<String, Vec<Url>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let syntax = || InitialClusterError::Syntax(part.to_owned());
            let (name, url) = part.split_once('=').ok_or_else(syntax)?;
            let name = name.trim();
            if name.is_empty() {
                return Err(syntax());
            }
            let url = Url::parse(url)?;
            if !seen.insert(url.as_str().to_owned()) {
                return Err(InitialClusterError::DuplicateUrl(url.to_string()));
            }
            members.entry(name.to_owned()).or_default().push(url);
        }
        if members.is_empty() {
            return Err(InitialClusterError::Empty);
        }
        for urls in members.values_mut() {
            urls.sort();
        }
        Ok(InitialCluster { members })
    }

    /// A cluster of one.
    pub fn of_one(name: &str, peer_urls: Vec<Url>) -> InitialCluster {
        InitialCluster { members: BTreeMap::from([(name.to_owned(), peer_urls)]) }
    }

    /// The member `name` at `own`, and others that have told no name: those are numbered in order. Names are no part of an
    /// id, so members that call each other differently agree on the cluster.
    pub fn looked_up(name: &str, own: &[Url], others: &[Url]) -> InitialCluster {
        let numbers = (0_usize..).map(|number| number.to_string()).filter(|number| number != name);
        let mut members: BTreeMap<String, Vec<Url>> =
            numbers.zip(others).map(|(number, url)| (number, vec![url.clone()])).collect();
        members.insert(name.to_owned(), own.to_vec());
        InitialCluster { members }
    }

    /// Names and sorted peer URLs, in order of name.
    pub fn members(&self) -> impl Iterator<Item = (&str, &[Url])> {
        self.members.iter().map(|(name, urls)| (name.as_str(), urls.as_slice()))
    }

    /// The peer URLs of one member.
    pub fn peer_urls(&self, name: &str) -> Option<&[Url]> {
        self.members.get(name).map(Vec::as_slice)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Every member's id, in order of name.
    pub fn member_ids(&self, token: &str) -> Vec<(&str, MemberId)> {
        self.members().map(|(name, urls)| (name, member_id(urls, token, None))).collect()
    }

    /// The id of the cluster that begins with these members.
    pub fn cluster_id(&self, token: &str) -> ClusterId {
        let ids: Vec<MemberId> = self.member_ids(token).into_iter().map(|(_, id)| id).collect();
        cluster_id(&ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_members_one_with_two_addresses() {
        let cluster = InitialCluster::parse("b=http://b:2,a=http://a:1,b=http://b:1,c=http://c:1").unwrap();
        let listed: Vec<String> = cluster
            .members()
            .map(|(name, urls)| {
                format!("{name}:{}", urls.iter().map(Url::as_str).collect::<Vec<_>>().join("+"))
            })
            .collect();
        assert_eq!(listed, ["a:http://a:1", "b:http://b:1+http://b:2", "c:http://c:1"]);
        assert_eq!(cluster.peer_urls("c").map(<[Url]>::len), Some(1));
        assert_eq!(cluster.peer_urls("d"), None);
    }

    #[test]
    fn members_that_were_looked_up_agree_on_the_cluster_whatever_they_are_called() {
        let [a, b, c] = ["http://a:1", "http://b:1", "http://c:1"].map(|url| Url::parse(url).unwrap());
        let seen_by = |name, own: &Url, others: &[&Url]| {
            let others: Vec<Url> = others.iter().map(|url| (*url).clone()).collect();
            InitialCluster::looked_up(name, std::slice::from_ref(own), &others)
        };
        let of_a = seen_by("m1", &a, &[&b, &c]);
        let names =
            |cluster: &InitialCluster| cluster.members().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&of_a), ["0", "1", "m1"]);
        assert_eq!(of_a.peer_urls("1"), Some(&[c.clone()][..]));
        let of_c = seen_by("0", &c, &[&a, &b]);
        assert_eq!(names(&of_c), ["0", "1", "2"], "a number that is taken is passed over");
        assert_eq!(of_c.peer_urls("0"), Some(&[c.clone()][..]));
        assert_eq!(of_a.cluster_id("t"), of_c.cluster_id("t"));
        let listed = InitialCluster::parse("x=http://a:1,y=http://b:1,z=http://c:1").unwrap();
        assert_eq!(of_a.cluster_id("t"), listed.cluster_id("t"));
    }

    #[test]
    fn bad_lists() {
        for (text, want) in [
            ("", "names no member"),
            ("http://a:1", "want name=url"),
            ("=http://a:1", "want name=url"),
            ("a=b=c", "URL scheme"),
            ("a=http://a:1,b=http://a:1", "stands there twice"),
        ] {
            let error = InitialCluster::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn the_token_and_every_member_make_the_ids() {
        let cluster = InitialCluster::parse("a=http://a:1,b=http://b:1").unwrap();
        assert_ne!(cluster.cluster_id("x"), cluster.cluster_id("y"));
        let other = InitialCluster::parse("a=http://a:1,b=http://b:2").unwrap();
        assert_ne!(cluster.cluster_id("x"), other.cluster_id("x"));
        let renamed = InitialCluster::parse("b=http://a:1,c=http://b:1").unwrap();
        assert_eq!(cluster.cluster_id("x"), renamed.cluster_id("x"), "names are no part of an id");
    }
}
