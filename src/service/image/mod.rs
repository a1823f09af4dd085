//! The state of a member as a bbolt image: what `Maintenance.Snapshot` sends, and what etcd's own tools read.
//!
//! The state is read twice through one view, first to learn where everything will be and then to send it, a piece at a
//! time: neither the state nor the image is ever whole in memory. Writes go on meanwhile; they are in no part of the image.
//! Its last bytes are the SHA-256 of all before them, as clients of the API expect.
//!
//! [`Image`] reads and computes, and belongs on a worker; [`send`] carries its pieces to a client.

mod content;
mod send;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use self::content::{Content, Cursor, Step};
use crate::storage::bolt::{BoltWriter, Layout};
use crate::storage::engine::{EngineError, Reader};

pub use send::{ImageSender, Sent};

/// The version of etcd whose files the image is one of: the newest that etcd 3.5 and 3.6 both restore.
pub const IMAGE_VERSION: &str = "3.5.0";
/// Bytes of one piece, but for the last ones.
const PIECE_BYTES: usize = 32 * 1024;

/// Why an image ends early.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Too much was written since its view was taken. The state is sound, and another image may well be made.
    #[error("the state changed too much while its image was made")]
    TooOld,
    /// The state cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

impl From<EngineError> for ImageError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::ReaderTooOld { .. } => ImageError::TooOld,
            error => ImageError::Unreadable(error.to_string()),
        }
    }
}

/// An image that is being made.
pub struct Image {
    content: Content,
    cursor: Cursor,
    /// `None` once the trees are written.
    writer: Option<BoltWriter>,
    /// `None` while it is measured.
    layout: Option<Layout>,
    /// `None` once the checksum is sent.
    hash: Option<Sha256>,
    /// What is written and not sent.
    written: BytesMut,
    left: u64,
}

/// What a step of making an image came to.
#[derive(Debug)]
pub enum Progress {
    /// Nothing to send yet.
    More,
    /// A piece to send.
    Piece(ImagePiece),
    /// That was all.
    Done,
}

/// A piece of an image.
#[derive(Debug)]
pub struct ImagePiece {
    /// Its bytes.
    pub bytes: Bytes,
    /// Bytes behind it, the checksum aside.
    pub left: u64,
}

impl Image {
    /// The image of what `view` sees. Blocks.
    ///
    /// # Errors
    /// See [`ImageError`].
    pub fn begin(view: Box<dyn Reader>) -> Result<Image, ImageError> {
        Ok(Image {
            content: Content::new(view)?,
            cursor: Cursor::default(),
            writer: Some(BoltWriter::default()),
            layout: None,
            hash: Some(Sha256::new()),
            written: BytesMut::new(),
            left: 0,
        })
    }

    /// Goes on a little. Blocks.
    ///
    /// # Errors
    /// See [`ImageError`]; the image is of no use then.
    pub fn step(&mut self) -> Result<Progress, ImageError> {
        if self.layout.is_some() && (self.written.len() >= PIECE_BYTES || self.writer.is_none()) {
            return Ok(self.piece());
        }
        let Some(mut writer) = self.writer.take() else { return Ok(Progress::Done) };
        match self.content.step(&mut self.cursor)? {
            Some(Step::Pairs(pairs)) => {
                pairs.into_iter().for_each(|(key, value)| writer.put(key, value, &mut self.written));
                self.writer = Some(writer);
            }
            Some(Step::End(name)) => {
                writer.end_bucket(name, &mut self.written);
                self.writer = Some(writer);
            }
            None => self.end_pass(writer),
        }
        if self.layout.is_none() {
            self.written.clear();
        }
        Ok(Progress::More)
    }

    /// All content was read: the first time, begins again and sends; the second time, the image is written.
    fn end_pass(&mut self, writer: BoltWriter) {
        let layout = writer.finish(&mut self.written);
        if let Some(measured) = self.layout {
            assert!(layout == measured, "one view gives one image, however often it is read");
            return;
        }
        self.layout = Some(layout);
        self.left = layout.file_bytes();
        self.written = layout.head();
        self.cursor = Cursor::default();
        self.writer = Some(BoltWriter::default());
    }

    fn piece(&mut self) -> Progress {
        let bytes = self.written.split_to(self.written.len().min(PIECE_BYTES)).freeze();
        if bytes.is_empty() {
            let Some(hash) = self.hash.take() else { return Progress::Done };
            return Progress::Piece(ImagePiece { bytes: Bytes::copy_from_slice(&hash.finalize()), left: 0 });
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&bytes);
        }
        self.left = self.left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Progress::Piece(ImagePiece { bytes, left: self.left })
    }
}
