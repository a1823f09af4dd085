//! JSON in the shape that scripts read today: fields in a fixed order, whole 64-bit numbers, bytes in base64,
//! and most empty fields left out.
//!
//! Written here and not derived, because the order and the omissions *are* the format.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::pb::etcdserverpb::ResponseHeader;
use crate::pb::mvccpb::KeyValue;

/// A JSON value with ordered fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A signed number.
    Signed(i64),
    /// An unsigned number.
    Unsigned(u64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// Fields, in this order.
    Object(Object),
}

/// The fields of a JSON object, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(Vec<(&'static str, Json)>);

impl Object {
    /// No fields yet.
    pub fn new() -> Object {
        Object::default()
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Json>) -> Object {
        self.0.push((name, value.into()));
        self
    }

    /// Adds a field unless its value is zero, false, empty or absent.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: impl Into<Json>) -> Object {
        let value = value.into();
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// Adds the fields of a header to this object.
    #[must_use]
    pub fn with_header_fields(self, header: Option<&ResponseHeader>) -> Object {
        let header = header_of(header);
        self.with_some("cluster_id", header.cluster_id)
            .with_some("member_id", header.member_id)
            .with_some("revision", header.revision)
            .with_some("raft_term", header.raft_term)
    }

    /// Adds a header as a field of its own.
    #[must_use]
    pub fn with_header(self, name: &'static str, header: Option<&ResponseHeader>) -> Object {
        match header {
            Some(_) => self.with(name, Object::new().with_header_fields(header)),
            None => self,
        }
    }
}

/// A header's fields, zero where there is none.
pub fn header_of(header: Option<&ResponseHeader>) -> ResponseHeader {
    header.copied().unwrap_or_default()
}

impl Json {
    fn is_empty(&self) -> bool {
        match self {
            Json::Null => true,
            Json::Bool(value) => !value,
            Json::Signed(value) => *value == 0,
            Json::Unsigned(value) => *value == 0,
            Json::Text(text) => text.is_empty(),
            Json::List(items) => items.is_empty(),
            Json::Object(_) => false,
        }
    }

    /// Bytes, in base64.
    pub fn bytes(bytes: &[u8]) -> Json {
        Json::Text(STANDARD.encode(bytes))
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Json {
        Json::Bool(value)
    }
}

impl From<i64> for Json {
    fn from(value: i64) -> Json {
        Json::Signed(value)
    }
}

impl From<u64> for Json {
    fn from(value: u64) -> Json {
        Json::Unsigned(value)
    }
}

impl From<u32> for Json {
    fn from(value: u32) -> Json {
        Json::Unsigned(u64::from(value))
    }
}

impl From<&str> for Json {
    fn from(value: &str) -> Json {
        Json::Text(value.to_owned())
    }
}

impl From<Object> for Json {
    fn from(value: Object) -> Json {
        Json::Object(value)
    }
}

impl From<Vec<Json>> for Json {
    fn from(value: Vec<Json>) -> Json {
        Json::List(value)
    }
}

impl From<&[String]> for Json {
    fn from(value: &[String]) -> Json {
        Json::List(value.iter().map(|text| Json::from(text.as_str())).collect())
    }
}

impl From<&KeyValue> for Json {
    fn from(kv: &KeyValue) -> Json {
        Object::new()
            .with_some("key", Json::bytes(&kv.key))
            .with_some("create_revision", kv.create_revision)
            .with_some("mod_revision", kv.mod_revision)
            .with_some("version", kv.version)
            .with_some("value", Json::bytes(&kv.value))
            .with_some("lease", kv.lease)
            .into()
    }
}

impl<'a, T> From<Option<&'a T>> for Json
where
    Json: From<&'a T>,
{
    fn from(value: Option<&'a T>) -> Json {
        value.map_or(Json::Null, Json::from)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Signed(value) => write!(f, "{value}"),
            Json::Unsigned(value) => write!(f, "{value}"),
            Json::Text(text) => write_text(text, f),
            Json::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "{item}")?;
                }
                f.write_str("]")
            }
            Json::Object(Object(fields)) => {
                f.write_str("{")?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    if index > 0 {
                        f.write_str(",")?;
                    }
                    write!(f, "\"{name}\":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A JSON string; `<`, `>` and `&` are escaped too, so that the line can be put into a web page.
fn write_text(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => write!(f, "\\u{:04x}", u32::from(character))?,
            c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_omission_and_escapes() {
        let object = Object::new()
            .with("b", 1_i64)
            .with_some("gone", 0_u64)
            .with("a", Json::bytes(b"a"))
            .with("t", "x<\"\n\u{1}")
            .with("n", Json::Null)
            .with("l", vec![Json::Bool(true), Json::Unsigned(u64::MAX)]);
        assert_eq!(
            Json::from(object).to_string(),
            r#"{"b":1,"a":"YQ==","t":"x\u003c\"\n\u0001","n":null,"l":[true,18446744073709551615]}"#
        );
    }
}
