//! Where a run finds its members: the endpoints that it was told, or those that a domain's SRV records name.

use crate::cli::ctl::args::Global;
use crate::cli::ctl::emit_error;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::discovery::{self, Resolver};
use crate::config::discovery::SrvDomain;

/// The endpoints to use; with a domain they are its own alone.
///
/// # Errors
/// The domain names none, or none that may be used.
pub async fn endpoints(global: &Global) -> Result<Vec<String>, CtlError> {
    if global.discovery_srv.is_empty() {
        return Ok(global.endpoints.clone());
    }
    let domain = SrvDomain { domain: global.discovery_srv.clone(), name: global.discovery_srv_name.clone() };
    let refused =
        |why: String| CtlError::new(Exit::Error, format!("--discovery-srv={}: {why}", domain.domain));
    let found = discovery::endpoints(&Resolver::of_host(), &domain).await;
    let found = found.map_err(|error| refused(error.to_string()))?;
    let usable = usable(&found, global.insecure_discovery);
    for endpoint in found.iter().filter(|endpoint| !usable.contains(endpoint)) {
        emit_error(&format!("Passed over {endpoint}: it is plain text (--insecure-discovery=false)\n"))?;
    }
    if usable.is_empty() {
        return Err(refused("it names no endpoint with TLS (--insecure-discovery=false)".to_owned()));
    }
    Ok(usable)
}

/// Those that may be used.
fn usable(found: &[String], plain_text_too: bool) -> Vec<String> {
    found.iter().filter(|endpoint| plain_text_too || endpoint.starts_with("https://")).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_passed_over_when_asked() {
        let found = ["https://a:1", "http://b:1"].map(str::to_owned);
        assert_eq!(usable(&found, true), found);
        assert_eq!(usable(&found, false), ["https://a:1"]);
    }
}
