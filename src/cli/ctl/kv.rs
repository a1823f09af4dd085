//! `put`, `get`, `del`, `compaction`: from words to requests, and how their answers look.
//!
//! The functions that make requests serve `txn` as well, whose steps are written as these commands.

use bytes::Bytes;
use prost::Message as _;

use crate::cli::ctl::args::{Compaction, Del, Get, Put};
use crate::cli::ctl::client::Client;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::number;
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::{Format, Render, Style};
use crate::pb::etcdserverpb::range_request::{SortOrder, SortTarget};
use crate::pb::etcdserverpb::{
    CompactionRequest, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
    RangeResponse,
};
use crate::pb::mvccpb::KeyValue;

/// The request of a `put`. Where the value is missing, `standard_input` gives it.
///
/// # Errors
/// Too few or too many words, a bad lease.
pub fn put_request(put: Put, standard_input: Option<&mut dyn std::io::Read>) -> Result<PutRequest, CtlError> {
    let lease = number::parse(&put.lease, 16)
        .map_err(|why| CtlError::bad_args(format!("bad lease ID ({why}), expecting ID in Hex")))?;
    let mut words = put.words.into_iter();
    let too_few = || CtlError::bad_args("put command needs 1 argument and input from stdin or 2 arguments");
    let key = words.next().ok_or_else(too_few)?;
    let value = match (words.next(), put.ignore_value) {
        (Some(_), true) => {
            return Err(CtlError::bad_args("put command needs only 1 argument when 'ignore-value' is set"));
        }
        (None, true) => Bytes::new(),
        (Some(value), false) => Bytes::from(value),
        (None, false) => {
            let mut value = Vec::new();
            standard_input.ok_or_else(too_few)?.read_to_end(&mut value)?;
            // Nothing on standard input is a forgotten argument, not an empty value.
            if value.is_empty() {
                return Err(too_few());
            }
            Bytes::from(value)
        }
    };
    Ok(PutRequest {
        key: Bytes::from(key),
        value,
        lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    })
}

/// Key and range end from words and switches, as `get`, `del` and `watch` share them.
///
/// # Errors
/// Words and switches that contradict each other.
pub fn range_of(
    command: &str,
    words: &[String],
    prefix: bool,
    from_key: bool,
) -> Result<(Bytes, Bytes), CtlError> {
    if prefix && from_key {
        return Err(CtlError::bad_args(
            "`--prefix` and `--from-key` cannot be set at the same time, choose one",
        ));
    }
    let (key, end) = match words {
        [key] => (key, None),
        [key, end] => (key, Some(end)),
        _ => {
            return Err(CtlError::bad_args(format!(
                "{command} command needs one argument as key and an optional argument as range_end"
            )));
        }
    };
    let everything = Bytes::from_static(&[0]);
    let start = Bytes::copy_from_slice(key.as_bytes());
    match (end, prefix, from_key) {
        (Some(_), true, _) | (Some(_), _, true) => Err(CtlError::bad_args(
            "too many arguments, only accept one argument when `--prefix` or `--from-key` is set",
        )),
        (Some(end), false, false) => Ok((start, Bytes::copy_from_slice(end.as_bytes()))),
        (None, false, false) => Ok((start, Bytes::new())),
        (None, _, _) if key.is_empty() => Ok((everything.clone(), everything)),
        (None, true, _) => Ok((start, prefix_end(key.as_bytes()))),
        (None, false, true) => Ok((start, everything)),
    }
}

/// The first key after all keys with this prefix; one zero byte where there is none.
fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(&[0])
}

/// The request of a `get`.
///
/// # Errors
/// Options that make no sense.
pub fn range_request(get: &Get) -> Result<RangeRequest, CtlError> {
    if get.keys_only && get.count_only {
        return Err(CtlError::bad_args(
            "`--keys-only` and `--count-only` cannot be set at the same time, choose one",
        ));
    }
    // Three words are one too many for a range, but `get` always took them and looked at two.
    let words = get.words.get(..2).unwrap_or(&get.words);
    let (key, range_end) = range_of("get", words, get.prefix, get.from_key)?;
    let bad = |text: String| CtlError::new(Exit::BadFeature, text);
    let serializable = match get.consistency.as_str() {
        "l" => false,
        "s" => true,
        other => return Err(bad(format!("unknown consistency flag {other:?}"))),
    };
    let order = match get.order.to_uppercase().as_str() {
        "" => SortOrder::None,
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        _ => return Err(bad(format!("bad sort order {}", get.order))),
    };
    let target = match get.sort_by.to_uppercase().as_str() {
        "" | "KEY" => SortTarget::Key,
        "CREATE" => SortTarget::Create,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(bad(format!("bad sort target {}", get.sort_by))),
    };
    // Ascending by key is the natural order: asking for it would only cost.
    let order = if (target, order) == (SortTarget::Key, SortOrder::Ascend) { SortOrder::None } else { order };
    Ok(RangeRequest {
        key,
        range_end,
        limit: get.limit,
        revision: get.rev,
        sort_order: order.into(),
        sort_target: target.into(),
        serializable,
        keys_only: get.keys_only,
        count_only: get.count_only,
        min_mod_revision: get.min_mod_rev,
        max_mod_revision: get.max_mod_rev,
        min_create_revision: get.min_create_rev,
        max_create_revision: get.max_create_rev,
    })
}

/// The request of a `del`.
///
/// # Errors
/// Words and switches that contradict each other.
pub fn delete_request(del: &Del) -> Result<DeleteRangeRequest, CtlError> {
    let (key, range_end) = range_of("del", &del.words, del.prefix, del.from_key)?;
    Ok(DeleteRangeRequest { key, range_end, prev_kv: del.prev_kv })
}

/// Runs `put`.
///
/// # Errors
/// As [`put_request`], or the server's.
pub async fn put(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    put: Put,
) -> Result<Vec<u8>, CtlError> {
    let mut standard_input = std::io::stdin();
    let request = put_request(put, Some(&mut standard_input))?;
    let client = connect().await?;
    let answer = client.call(client.kv().put(client.request(request))).await?;
    style.render(&answer)
}

/// Runs `get`.
///
/// # Errors
/// As [`range_request`], or the server's.
pub async fn get(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    get: Get,
) -> Result<Vec<u8>, CtlError> {
    let request = range_request(&get)?;
    if get.count_only && style.format != Format::Fields {
        return Err(CtlError::bad_args("--count-only is only for `--write-out=fields`"));
    }
    if get.print_value_only && style.format != Format::Simple {
        return Err(CtlError::bad_args("print-value-only is only for `--write-out=simple`"));
    }
    let client = connect().await?;
    let answer = if get.stream {
        client.collect_range(request).await?
    } else {
        client.call(client.kv().range(client.request(request))).await?
    };
    if get.print_value_only { style.render(&ValuesOnly(&answer)) } else { style.render(&answer) }
}

impl Client {
    /// Receives a range in pieces and puts them together.
    async fn collect_range(&self, request: RangeRequest) -> Result<RangeResponse, CtlError> {
        let mut pieces = self.call(self.kv().range_stream(self.request(request))).await?;
        let mut whole = RangeResponse::default();
        while let Some(piece) = pieces.message().await? {
            let Some(piece) = piece.range_response else { continue };
            whole.kvs.extend(piece.kvs);
            whole.header = piece.header.or(whole.header);
            whole.more |= piece.more;
            whole.count = whole.count.max(piece.count);
        }
        Ok(whole)
    }
}

/// Runs `del`.
///
/// # Errors
/// As [`delete_request`], or the server's.
pub async fn del(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    del: Del,
) -> Result<Vec<u8>, CtlError> {
    let request = delete_request(&del)?;
    let client = connect().await?;
    let answer = client.call(client.kv().delete_range(client.request(request))).await?;
    style.render(&answer)
}

/// Runs `compaction`; every format prints the same line.
///
/// # Errors
/// A bad revision, or the server's.
pub async fn compaction(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    compaction: Compaction,
) -> Result<Vec<u8>, CtlError> {
    let [revision] = compaction.words.as_slice() else {
        return Err(CtlError::bad_args("compaction command needs 1 argument"));
    };
    let revision = number::parse(revision, 10).map_err(|why| CtlError::new(Exit::Error, why))?;
    let client = connect().await?;
    let request = CompactionRequest { revision, physical: compaction.physical };
    client.call(client.kv().compact(client.request(request))).await?;
    Ok(format!("compacted revision {revision}\n").into_bytes())
}

/// A key-value in the simple format: key, value, each on a line.
pub fn simple_pair(kv: &KeyValue, style: Style, out: &mut Vec<u8>) {
    for bytes in [&kv.key, &kv.value] {
        style.bytes(bytes, out);
        out.push(b'\n');
    }
}

fn list(kvs: &[KeyValue]) -> Json {
    Json::List(kvs.iter().map(Json::from).collect())
}

impl Render for PutResponse {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        out.extend_from_slice(b"OK\n");
        if let Some(kv) = &self.prev_kv {
            simple_pair(kv, style, out);
        }
    }

    fn json(&self) -> Json {
        let object = Object::new().with_header("header", self.header.as_ref());
        object.with_some("prev_kv", self.prev_kv.as_ref()).into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        if let Some(kv) = &self.prev_kv {
            out.key_value("Prev", kv);
        }
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

impl Render for RangeResponse {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        for kv in &self.kvs {
            simple_pair(kv, style, out);
        }
    }

    fn json(&self) -> Json {
        Object::new()
            .with_header("header", self.header.as_ref())
            .with_some("kvs", list(&self.kvs))
            .with_some("more", self.more)
            .with_some("count", self.count)
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        for kv in &self.kvs {
            out.key_value("", kv);
        }
        out.value("More", self.more);
        out.value("Count", self.count);
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

/// A range of which only the values are printed; exists in the simple format alone.
struct ValuesOnly<'a>(&'a RangeResponse);

impl Render for ValuesOnly<'_> {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        for kv in &self.0.kvs {
            style.bytes(&kv.value, out);
            out.push(b'\n');
        }
    }

    fn json(&self) -> Json {
        self.0.json()
    }

    fn fields(&self, out: &mut Fields) {
        self.0.fields(out);
    }
}

impl Render for DeleteRangeResponse {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        out.extend(format!("{}\n", self.deleted).into_bytes());
        for kv in &self.prev_kvs {
            simple_pair(kv, style, out);
        }
    }

    fn json(&self) -> Json {
        Object::new()
            .with_header("header", self.header.as_ref())
            .with_some("deleted", self.deleted)
            .with_some("prev_kvs", list(&self.prev_kvs))
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        out.value("Deleted", self.deleted);
        for kv in &self.prev_kvs {
            out.key_value("Prev", kv);
        }
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for (args, prefix, from_key, key, end) in [
            (&["a"][..], false, false, &b"a"[..], &b""[..]),
            (&["a", "c"], false, false, b"a", b"c"),
            (&["a"], true, false, b"a", b"b"),
            (&["a"], false, true, b"a", b"\0"),
            (&[""], true, false, b"\0", b"\0"),
            (&[""], false, true, b"\0", b"\0"),
        ] {
            let range = range_of("get", &words(args), prefix, from_key).unwrap();
            assert_eq!((range.0.as_ref(), range.1.as_ref()), (key, end), "{args:?}");
        }
        assert!(range_of("get", &words(&[]), false, false).is_err());
        assert!(range_of("get", &words(&["a", "b"]), true, false).is_err());
        assert!(range_of("get", &words(&["a"]), true, true).is_err());
        assert_eq!(prefix_end(b"a\xff"), Bytes::from_static(b"b"));
        assert_eq!(prefix_end(b"\xff\xff"), Bytes::from_static(b"\0"));
    }

    #[test]
    fn a_value_may_come_from_standard_input() {
        let put = |words: &[&str], input: &[u8]| {
            let put = Put {
                words: words.iter().map(|word| (*word).to_owned()).collect(),
                lease: "0".to_owned(),
                ..Put::default()
            };
            put_request(put, Some(&mut &input[..])).map(|request| request.value)
        };
        assert_eq!(put(&["k", "v"], b"ignored"), Ok(Bytes::from_static(b"v")));
        assert_eq!(put(&["k"], b"from afar\n"), Ok(Bytes::from_static(b"from afar\n")));
        assert!(put(&["k"], b"").is_err());
        assert!(put(&[], b"x").is_err());
    }
}
