//! What a command prints: one answer, five formats.
//!
//! The formats are the ones that scripts parse today, byte for byte. Each answer says how it looks in each format
//! ([`Render`]); a format that an answer does not have is an error with its own exit code, never an empty output.

pub mod fields;
pub mod json;
pub mod table;
pub mod text;

use crate::cli::ctl::error::{CtlError, Exit};
use fields::Fields;
use json::Json;
use table::Table;

/// An output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people and for `$(...)`.
    Simple,
    /// One JSON object a line.
    Json,
    /// One `"Name" : value` a line.
    Fields,
    /// A drawn table.
    Table,
    /// The answer as it came over the wire.
    Protobuf,
}

/// How this run prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// The format.
    pub format: Format,
    /// Whether keys and values of the simple format are written in hex.
    pub hex: bool,
}

/// An answer that can be printed.
pub trait Render {
    /// For people; ends with a line break unless empty.
    fn simple(&self, style: Style, out: &mut Vec<u8>);
    /// As JSON.
    fn json(&self) -> Json;
    /// As fields.
    fn fields(&self, out: &mut Fields);
    /// As a table, if there is one.
    fn table(&self) -> Option<Table> {
        None
    }
    /// As on the wire, if it is one message.
    fn protobuf(&self) -> Option<Vec<u8>> {
        None
    }
}

impl Style {
    /// Reads the options of the command line.
    ///
    /// # Errors
    /// There is no such format.
    pub fn new(format: &str, hex: bool) -> Result<Style, CtlError> {
        let format = match format {
            "simple" => Format::Simple,
            "json" => Format::Json,
            "fields" => Format::Fields,
            "table" => Format::Table,
            "protobuf" => Format::Protobuf,
            _ => return Err(CtlError::new(Exit::BadFeature, "unsupported output format")),
        };
        Ok(Style { format, hex })
    }

    /// The answer in this format.
    ///
    /// # Errors
    /// The answer does not have this format.
    pub fn render(self, answer: &impl Render) -> Result<Vec<u8>, CtlError> {
        let mut out = Vec::new();
        let missing =
            |name: &str| CtlError::new(Exit::BadFeature, format!("{name} not supported as output format"));
        match self.format {
            Format::Simple => answer.simple(self, &mut out),
            Format::Json => out.extend(format!("{}\n", answer.json()).into_bytes()),
            Format::Fields => {
                let mut fields = Fields::default();
                answer.fields(&mut fields);
                out = fields.into_bytes();
            }
            Format::Table => {
                let table = answer.table().ok_or_else(|| missing("table"))?;
                out.extend(table.to_string().into_bytes());
            }
            Format::Protobuf => out = answer.protobuf().ok_or_else(|| missing("protobuf"))?,
        }
        Ok(out)
    }

    /// A key or value as the simple format shows it.
    pub fn bytes(self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.hex {
            out.extend(text::hex(bytes).into_bytes());
        } else {
            out.extend_from_slice(bytes);
        }
    }
}
