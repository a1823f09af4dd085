//! The `fields` format: one `"Name" : value` a line.

use std::fmt::Display;

use super::json::header_of;
use super::text;
use crate::pb::etcdserverpb::ResponseHeader;
use crate::pb::mvccpb::KeyValue;

/// Lines collected so far.
#[derive(Debug, Default)]
pub struct Fields(String);

impl Fields {
    /// A number, a switch, or any value that stands unquoted.
    pub fn value(&mut self, name: &str, value: impl Display) {
        self.0.push_str(&format!("\"{name}\" : {value}\n"));
    }

    /// A text or bytes, quoted.
    pub fn quoted(&mut self, name: &str, bytes: &[u8]) {
        self.value(name, text::quote(bytes));
    }

    /// An empty line.
    pub fn gap(&mut self) {
        self.0.push('\n');
    }

    /// The four fields of a header.
    pub fn header(&mut self, header: Option<&ResponseHeader>) {
        let header = header_of(header);
        self.value("ClusterID", header.cluster_id);
        self.value("MemberID", header.member_id);
        self.value("Revision", header.revision);
        self.value("RaftTerm", header.raft_term);
    }

    /// A key-value, with a prefix before each name.
    pub fn key_value(&mut self, prefix: &str, kv: &KeyValue) {
        self.quoted(&format!("{prefix}Key"), &kv.key);
        self.value(&format!("{prefix}CreateRevision"), kv.create_revision);
        self.value(&format!("{prefix}ModRevision"), kv.mod_revision);
        self.value(&format!("{prefix}Version"), kv.version);
        self.quoted(&format!("{prefix}Value"), &kv.value);
        self.value(&format!("{prefix}Lease"), kv.lease);
    }

    /// The lines as bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}
