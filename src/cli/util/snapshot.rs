//! `snapshot status`: what an image holds, ours or one of etcd's.

use std::path::Path;

use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::table::Table;
use crate::cli::ctl::render::{Render, Style, text};
use crate::env::real::RealDisk;
use crate::env::{Disk, OpenMode};
use crate::storage::bolt::{BoltError, BoltFile};

/// The bucket of keys, whose own keys begin with the revision.
const KEYS: &[u8] = b"key";

/// What is told of an image.
#[derive(Debug, Default)]
struct Contents {
    hash: u32,
    revision: i64,
    pairs: u64,
    bytes: u64,
}

/// Runs the command.
///
/// # Errors
/// Bad words; the file cannot be read, or is no sound bbolt file.
pub fn status(words: &[String], style: Style) -> Result<Vec<u8>, CtlError> {
    let [path] = words else {
        return Err(CtlError::bad_args("snapshot status requires exactly one argument"));
    };
    let file = RealDisk.open(Path::new(path), OpenMode::Read);
    let file = file.map_err(|error| CtlError::new(Exit::Error, format!("{path}: {error}")))?;
    let contents = BoltFile::open(file).and_then(|image| contents(&image));
    style.render(&contents.map_err(|error| CtlError::new(Exit::Error, format!("{path}: {error}")))?)
}

/// Counts what is in the image, and sums it up: names of buckets, keys and values, in order.
fn contents(image: &BoltFile) -> Result<Contents, BoltError> {
    let mut contents = Contents { bytes: image.bytes(), ..Contents::default() };
    for name in image.names()? {
        contents.hash = crc32c::crc32c_append(contents.hash, &name);
        image.each(&name, &mut |key, value| {
            contents.hash = crc32c::crc32c_append(crc32c::crc32c_append(contents.hash, key), value);
            contents.pairs = contents.pairs.saturating_add(1);
            if name == KEYS
                && let Some(revision) = key.first_chunk()
            {
                contents.revision = i64::from_be_bytes(*revision);
            }
            Ok::<(), BoltError>(())
        })?;
    }
    Ok(contents)
}

impl Contents {
    fn row(&self) -> Vec<String> {
        let bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        vec![format!("{:x}", self.hash), self.revision.to_string(), self.pairs.to_string(), text::size(bytes)]
    }
}

impl Render for Contents {
    fn simple(&self, _style: Style, out: &mut Vec<u8>) {
        out.extend(format!("{}\n", self.row().join(", ")).into_bytes());
    }

    fn json(&self) -> Json {
        Object::new()
            .with("hash", self.hash)
            .with("revision", self.revision)
            .with("totalKey", self.pairs)
            .with("totalSize", self.bytes)
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.value("Hash", self.hash);
        out.value("Revision", self.revision);
        out.value("Keys", self.pairs);
        out.value("Size", self.bytes);
    }

    fn table(&self) -> Option<Table> {
        Some(Table { headings: vec!["hash", "revision", "total keys", "total size"], rows: vec![self.row()] })
    }
}
