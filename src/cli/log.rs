//! Log lines of a server, as log scrapers and people read them.
//!
//! Events come from `tracing`; every line goes to every output whole, in one write. A line that cannot be written
//! is lost: there is nobody left to tell. Spans are not shown. Nothing is rotated here: a file is appended to.

mod line;
mod time;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::config::{LogConfig, LogFormat, LogOutput};
use crate::env::Clock;
use line::Line;

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file of `--log-outputs` cannot be opened.
    #[error("cannot log to {path} (--log-outputs): {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: std::io::Error,
    },
    /// Logging was set up before, and stands once for a process.
    #[error("logging is set up already")]
    Twice,
}

/// Begins to log what `config` asks for, for as long as the process lives. Times come from `clock`.
///
/// # Errors
/// See [`LogError`].
pub fn start(config: &LogConfig, clock: Arc<dyn Clock>) -> Result<(), LogError> {
    let outputs = config.outputs.iter().map(Output::open).collect::<Result<Vec<_>, _>>()?;
    let layer = LogLayer { clock, format: config.format, outputs };
    let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter(config.level)));
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}

/// Our own events from `level` on; those of libraries one level above, because what is news to a library is
/// detail to an operator. The consensus library speaks to its developers, in errors that are none and with whole
/// requests in them, so only they hear it: its real failures reach the log through the member that stops for them.
fn filter(level: &str) -> Targets {
    let (own, libraries, consensus) = match level {
        "debug" => (LevelFilter::DEBUG, LevelFilter::INFO, LevelFilter::INFO),
        "warn" => (LevelFilter::WARN, LevelFilter::ERROR, LevelFilter::OFF),
        "error" => (LevelFilter::ERROR, LevelFilter::ERROR, LevelFilter::OFF),
        _ => (LevelFilter::INFO, LevelFilter::WARN, LevelFilter::OFF),
    };
    Targets::new().with_target("quorate", own).with_target("openraft", consensus).with_default(libraries)
}

/// One opened output.
enum Output {
    Stderr,
    Stdout,
    File(File),
}

impl Output {
    fn open(output: &LogOutput) -> Result<Output, LogError> {
        Ok(match output {
            LogOutput::Stderr => Output::Stderr,
            LogOutput::Stdout => Output::Stdout,
            LogOutput::File(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(path);
                Output::File(opened.map_err(|source| LogError::File { path: path.clone(), source })?)
            }
        })
    }

    fn write(&self, text: &[u8]) -> std::io::Result<()> {
        match self {
            Output::Stderr => std::io::stderr().lock().write_all(text),
            Output::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(text)?;
                stdout.flush()
            }
            Output::File(file) => {
                let mut file = file;
                file.write_all(text)
            }
        }
    }
}

/// Turns events into lines.
struct LogLayer {
    clock: Arc<dyn Clock>,
    format: LogFormat,
    outputs: Vec<Output>,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let line = Line::of(event, self.clock.wall_ms());
        let text = match self.format {
            LogFormat::Json => line.json(),
            LogFormat::Console => line.console(),
        };
        for output in &self.outputs {
            // A full disk or a closed pipe must not stop a server.
            let _lost = output.write(text.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_differ_by_who_speaks() {
        for (level, target, at, want) in [
            ("info", "quorate::node", Level::INFO, true),
            ("info", "quorate::node", Level::DEBUG, false),
            ("info", "h2::server", Level::INFO, false),
            ("info", "h2::server", Level::WARN, true),
            ("info", "openraft::core", Level::ERROR, false),
            ("debug", "openraft::core", Level::INFO, true),
            ("debug", "quorate::node", Level::DEBUG, true),
            ("error", "quorate::node", Level::WARN, false),
            ("error", "quorate::node", Level::ERROR, true),
        ] {
            assert_eq!(filter(level).would_enable(target, &at), want, "{level} {target} {at}");
        }
    }
}
