//! Addresses of members: scheme, host and port, nothing more.
//!
//! A member's id is derived from the text of its URLs, so a URL keeps the exact form in which it was written.

use std::fmt;
use std::net::IpAddr;

/// How a URL is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS over TCP.
    Https,
    /// A Unix socket.
    Unix,
    /// TLS over a Unix socket.
    Unixs,
}

/// One address, as in `http://10.0.0.1:2379`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    text: String,
    scheme: Scheme,
    host: String,
    port: u16,
}

/// Why a text is no usable URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    /// No host and port.
    #[error("URL address does not have the form \"host:port\": {0}")]
    HostPort(String),
    /// Something after the port.
    #[error("URL must not contain a path: {0}")]
    Path(String),
}

impl Url {
    /// Reads one URL.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::Scheme(text.to_owned()))?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "unix" => Scheme::Unix,
            "unixs" => Scheme::Unixs,
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        if matches!(scheme, Scheme::Unix | Scheme::Unixs) {
            return Ok(Url { text: text.to_owned(), scheme, host: rest.to_owned(), port: 0 });
        }
        if rest.contains(['/', '?', '#']) {
            return Err(UrlError::Path(text.to_owned()));
        }
        let no_port = || UrlError::HostPort(text.to_owned());
        let (host, port) = rest.rsplit_once(':').ok_or_else(no_port)?;
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(no_port)?,
            // A colon that is left over belongs to an IPv6 address without its brackets.
            None if host.contains(':') => return Err(no_port()),
            None => host,
        };
        let port = port.parse().map_err(|_| no_port())?;
        Ok(Url { text: text.to_owned(), scheme, host: bare.to_owned(), port })
    }

    /// Reads a comma-separated list, in order of text as member ids need it.
    ///
    /// # Errors
    /// See [`UrlError`]; the first bad one is named.
    pub fn parse_list(text: &str) -> Result<Vec<Url>, UrlError> {
        let mut urls = text.split(',').map(Url::parse).collect::<Result<Vec<_>, _>>()?;
        urls.sort();
        Ok(urls)
    }

    /// How it is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port; 0 for Unix sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `host:port` as a listener or dialer takes it, IPv6 in brackets.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether a listener can bind to it: a literal address, `localhost`, or no host at all. A domain name may
    /// move, and a listener does not.
    pub fn is_bindable(&self) -> bool {
        self.host.is_empty() || self.host == "localhost" || self.host.parse::<IpAddr>().is_ok()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls() {
        for (text, scheme, host, port, authority) in [
            ("http://localhost:2379", Scheme::Http, "localhost", 2379, "localhost:2379"),
            ("https://10.0.0.1:1", Scheme::Https, "10.0.0.1", 1, "10.0.0.1:1"),
            ("http://[::1]:2380", Scheme::Http, "::1", 2380, "[::1]:2380"),
            (" http://a.example:80 ", Scheme::Http, "a.example", 80, "a.example:80"),
        ] {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.scheme(), url.host(), url.port()), (scheme, host, port));
            assert_eq!(url.authority(), authority);
            assert_eq!(url.as_str(), text.trim());
        }
    }

    #[test]
    fn bad_urls() {
        for (text, want) in [
            ("localhost:2379", "URL scheme must be"),
            ("ftp://a:1", "URL scheme must be"),
            ("", "URL scheme must be"),
            ("http://localhost", "does not have the form"),
            ("http://localhost:port", "does not have the form"),
            ("http://::1:2379", "does not have the form"),
            ("http://[::1:2379", "does not have the form"),
            ("http://localhost:99999", "does not have the form"),
            ("http://localhost:2379/", "must not contain a path"),
        ] {
            let error = Url::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn lists_are_sorted() {
        let urls = Url::parse_list("http://b:1,http://a:1").unwrap();
        assert_eq!(urls.iter().map(Url::as_str).collect::<Vec<_>>(), ["http://a:1", "http://b:1"]);
    }

    #[test]
    fn domains_cannot_be_bound() {
        assert!(Url::parse("http://localhost:1").unwrap().is_bindable());
        assert!(Url::parse("http://0.0.0.0:1").unwrap().is_bindable());
        assert!(Url::parse("http://[::]:1").unwrap().is_bindable());
        assert!(!Url::parse("http://db.example:1").unwrap().is_bindable());
    }
}
