//! The options of first members that are looked up instead of being listed, and what is found for them.

use crate::config::discovery::SrvDomain;
use crate::config::error::ConfigError;
use crate::config::initial_cluster::InitialCluster;
use crate::config::serve::{Reader, ServeConfig};
use crate::config::url::Url;

impl Reader<'_> {
    pub(super) fn discovery(&self, warnings: &mut Vec<String>) -> Result<Option<SrvDomain>, ConfigError> {
        let (domain, name) = (self.0.value("discovery-srv"), self.0.value("discovery-srv-name"));
        if domain.is_empty() {
            if !name.is_empty() {
                warnings.push(format!("--discovery-srv-name={name} has no effect without --discovery-srv"));
            }
            return Ok(None);
        }
        if !self.0.value("initial-cluster").is_empty() {
            return Err(ConfigError::Contradiction(
                "--initial-cluster and --discovery-srv exclude each other: both say who the first members are"
                    .to_owned(),
            ));
        }
        Ok(Some(SrvDomain { domain: domain.to_owned(), name: name.to_owned() }))
    }
}

impl ServeConfig {
    /// The same with the first members that were looked up: this one at `own`, which is how all of them know it.
    ///
    /// # Errors
    /// One of them is to be spoken to by TLS, and nothing says what it is known by.
    pub fn with_first_members(&self, own: Vec<Url>, others: &[Url]) -> Result<ServeConfig, ConfigError> {
        let config = ServeConfig {
            initial_cluster: InitialCluster::looked_up(&self.name, &own, others),
            advertise_peer_urls: own,
            ..self.clone()
        };
        config.check_others_are_known()?;
        Ok(config)
    }
}
