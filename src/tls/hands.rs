//! The thread on which handshakes are computed.
//!
//! A signature takes milliseconds, and whoever connects asks for one without having shown anything. Whatever keeps a
//! member's place in its cluster runs on another thread, and peers' handshakes on another one than clients'; so a crowd
//! slows down its own kind alone. Only the computing happens here: the host tells the member's own runtime when there is
//! something to read.

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::config::tls::Whom;
use crate::env::Env;
use crate::tls::TlsError;

/// The thread; it ends once this is dropped.
pub struct Hands {
    runtime: Handle,
    _held: oneshot::Sender<()>,
}

impl Hands {
    /// Starts one for those who connect.
    ///
    /// # Errors
    /// The host gives no thread, or nothing to wait with.
    pub async fn start(whom: Whom, env: &Env) -> Result<Hands, TlsError> {
        let worker = env.workers.start(match whom {
            Whom::Clients => "tls-clients",
            Whom::Peers => "tls-peers",
        });
        let (sender, started) = oneshot::channel();
        let (held, dropped) = oneshot::channel::<()>();
        worker.submit(Box::new(move || {
            match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => {
                    if sender.send(Ok(runtime.handle().clone())).is_ok() {
                        // The error is what it waits for: nobody ever sends.
                        let _dropped = runtime.block_on(dropped);
                    }
                }
                Err(error) => drop(sender.send(Err(error.to_string()))),
            }
            Box::new(|| {})
        }));
        let started = started.await.unwrap_or_else(|_| Err("the host gives no thread".to_owned()));
        Ok(Hands { runtime: started.map_err(TlsError::Library)?, _held: held })
    }

    /// Has a handshake done.
    pub fn spawn(&self, shaking: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.runtime.spawn(shaking).abort_handle()
    }
}
