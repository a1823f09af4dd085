//! `snapshot save`: takes the state of one member away as a file.
//!
//! What arrives is held against the checksum at its end before the file gets its name, and the name is durable when the
//! command ends. Until then the file is called `<name>.part`; one that is not whole is removed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::cli::ctl::args::Snapshot;
use crate::cli::ctl::client::Target;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::pb::etcdserverpb::SnapshotRequest;

/// Bytes of the checksum at the end.
const CHECKSUM_BYTES: usize = 32;

/// Runs the command. It takes as long as it takes: a store can be large.
///
/// # Errors
/// Bad words; more than one endpoint; the server's; the file cannot be written, or is not whole.
pub async fn snapshot(target: &Target, command: Snapshot) -> Result<Vec<u8>, CtlError> {
    let Snapshot::Save { words } = command;
    let [path] = words.as_slice() else {
        return Err(CtlError::bad_args("snapshot save expects one argument"));
    };
    let [endpoint] = target.endpoints.as_slice() else {
        let endpoints = target.endpoints.join(" ");
        let text = format!("snapshot must be requested to one selected node, not multiple [{endpoints}]");
        return Err(CtlError::new(Exit::Interrupted, text));
    };
    let client = target.connect_to(endpoint).await?;
    let answers = client.call(client.maintenance().snapshot(client.request(SnapshotRequest {}))).await;
    let mut answers = answers.map_err(interrupted)?;
    let mut saved = Saved::begin(Path::new(path))?;
    let mut version = String::new();
    while let Some(answer) = answers.message().await.map_err(|status| interrupted(status.into()))? {
        saved.take(&answer.blob)?;
        version = answer.version;
    }
    saved.finish()?;
    let mut output = format!("Snapshot saved at {path}\n");
    if !version.is_empty() {
        output.push_str(&format!("Server version {version}\n"));
    }
    Ok(output.into_bytes())
}

/// A snapshot that did not come to its end has an exit code of its own.
fn interrupted(error: CtlError) -> CtlError {
    CtlError::new(Exit::Interrupted, error.text)
}

/// The file while it is written; removed again unless it is finished.
struct Saved {
    path: PathBuf,
    part: PathBuf,
    file: File,
    hash: Sha256,
    /// The last bytes that came: they may be the checksum.
    last: Vec<u8>,
}

impl Saved {
    fn begin(path: &Path) -> io::Result<Saved> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let mut options = OpenOptions::new();
        let file = options.create(true).write(true).truncate(true).mode(0o600).open(&part);
        let file =
            file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", part.display())))?;
        Ok(Saved { path: path.to_owned(), part, file, hash: Sha256::new(), last: Vec::new() })
    }

    fn take(&mut self, blob: &[u8]) -> io::Result<()> {
        self.file.write_all(blob)?;
        self.last.extend_from_slice(blob);
        let certain = self.last.len().saturating_sub(CHECKSUM_BYTES);
        self.hash.update(self.last.drain(..certain).as_slice());
        Ok(())
    }

    fn finish(mut self) -> Result<(), CtlError> {
        if std::mem::take(&mut self.hash).finalize().as_slice() != self.last {
            let text = "the snapshot is not whole: its checksum does not match";
            return Err(CtlError::new(Exit::Interrupted, text));
        }
        self.file.sync_all()?;
        fs::rename(&self.part, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(())
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        // A finished one has its name by now, and there is nothing left to remove.
        let _gone = fs::remove_file(&self.part);
    }
}
