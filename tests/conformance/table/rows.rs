//! What the API consists of, from the descriptors that the build wrote of the `.proto` files.

use std::collections::BTreeSet;

use heck::{ToSnakeCase, ToUpperCamelCase};
use prost::Message;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// The packages whose services clients call.
const SERVED: [&str; 3] = ["etcdserverpb", "v3lockpb", "v3electionpb"];

/// One thing that must be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `Service/Call`, `Message.field` or `Message.Enumeration.VALUE`.
    pub name: String,
    /// What it belongs to: the service, the message or the enumeration.
    pub owner: String,
    /// What it is called in Rust; any of these.
    pub words: Vec<String>,
}

impl Row {
    fn new(owner: &str, separator: &str, part: &str, words: Vec<String>) -> Row {
        Row { name: format!("{owner}{separator}{part}"), owner: owner.to_owned(), words }
    }
}

/// Every call of the client API, then every message and enumeration that its calls carry, in the order of the files.
pub fn rows() -> Vec<Row> {
    let set = FileDescriptorSet::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/api.fds"))[..]).unwrap();
    let served = set.file.iter().filter(|file| SERVED.contains(&file.package()));
    let services = || served.clone().flat_map(|file| &file.service);
    let mut rows: Vec<Row> = services()
        .flat_map(|service| {
            let call = |name: &str| Row::new(service.name(), "/", name, vec![name.to_snake_case()]);
            service.method.iter().map(move |method| call(method.name()))
        })
        .collect();

    let mut carried = Carried { set: &set, names: BTreeSet::new() };
    for method in services().flat_map(|service| &service.method) {
        carried.add(method.input_type());
        carried.add(method.output_type());
    }
    for file in &set.file {
        let package = format!(".{}", file.package());
        for message in &file.message_type {
            rows.extend(rows_of(&carried.names, &package, "", message));
        }
        for kind in &file.enum_type {
            rows.extend(values_of(&carried.names, &package, "", kind));
        }
    }
    rows
}

/// Full names of what calls carry.
struct Carried<'s> {
    set: &'s FileDescriptorSet,
    names: BTreeSet<String>,
}

impl Carried<'_> {
    fn add(&mut self, name: &str) {
        if !self.names.insert(name.to_owned()) {
            return;
        }
        let in_file = |file: &FileDescriptorProto| {
            let rest = name.strip_prefix(&format!(".{}.", file.package()))?;
            find(&file.message_type, rest).map(|message| message.field.clone())
        };
        // An enumeration carries nothing further.
        for field in self.set.file.iter().find_map(in_file).into_iter().flatten() {
            if matches!(field.r#type(), Type::Message | Type::Enum) {
                self.add(field.type_name());
            }
        }
    }
}

fn find<'m>(messages: &'m [DescriptorProto], path: &str) -> Option<&'m DescriptorProto> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let message = messages.iter().find(|message| message.name() == first)?;
    rest.map_or(Some(message), |rest| find(&message.nested_type, rest))
}

fn rows_of(carried: &BTreeSet<String>, package: &str, within: &str, message: &DescriptorProto) -> Vec<Row> {
    let owner = format!("{within}{}", message.name());
    let mut rows = Vec::new();
    if carried.contains(&format!("{package}.{owner}")) {
        rows.extend(message.field.iter().map(|field| {
            // One of several alternatives is a variant as well.
            let variant = field.oneof_index.map(|_| field.name().to_upper_camel_case());
            let words = std::iter::once(field.name().to_snake_case()).chain(variant).collect();
            Row::new(&owner, ".", field.name(), words)
        }));
    }
    let within = format!("{owner}.");
    for nested in &message.nested_type {
        rows.extend(rows_of(carried, package, &within, nested));
    }
    for kind in &message.enum_type {
        rows.extend(values_of(carried, package, &within, kind));
    }
    rows
}

fn values_of(
    carried: &BTreeSet<String>,
    package: &str,
    within: &str,
    kind: &EnumDescriptorProto,
) -> Vec<Row> {
    let owner = format!("{within}{}", kind.name());
    if !carried.contains(&format!("{package}.{owner}")) {
        return Vec::new();
    }
    let value = |name: &str| Row::new(&owner, ".", name, vec![name.to_upper_camel_case()]);
    kind.value.iter().map(|it| value(it.name())).collect()
}
