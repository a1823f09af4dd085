//! `txn`: comparisons, steps if they hold, steps if not, each list ended by an empty line.
//!
//! A comparison reads `target("key") op "value"`; a step reads as the command of the same name.

use std::io::BufRead;

use bytes::Bytes;
use clap::Parser as _;
use prost::Message as _;

use crate::cli::ctl::args::{Del, Get, Put, Txn};
use crate::cli::ctl::client::Client;
use crate::cli::ctl::error::{CtlError, Exit};
use crate::cli::ctl::render::fields::Fields;
use crate::cli::ctl::render::json::{Json, Object};
use crate::cli::ctl::render::{Render, Style};
use crate::cli::ctl::{emit, kv, number};
use crate::pb::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::pb::etcdserverpb::request_op::Request;
use crate::pb::etcdserverpb::response_op::Response;
use crate::pb::etcdserverpb::{Compare, RequestOp, ResponseOp, TxnRequest, TxnResponse};

fn invalid(text: impl Into<String>) -> CtlError {
    CtlError::new(Exit::InvalidInput, text)
}

/// Runs `txn`.
///
/// # Errors
/// Input that cannot be read as a transaction, or the server's.
pub async fn txn(
    connect: impl AsyncFnOnce() -> Result<Client, CtlError>,
    style: Style,
    txn: Txn,
) -> Result<Vec<u8>, CtlError> {
    let request = read_request(&mut std::io::stdin().lock(), txn.interactive)?;
    let client = connect().await?;
    let answer = client.call(client.kv().txn(client.request(request))).await?;
    style.render(&answer)
}

/// Reads a whole transaction, prompting for each part if asked to.
fn read_request(input: &mut dyn BufRead, interactive: bool) -> Result<TxnRequest, CtlError> {
    let prompt = |text: &str| if interactive { emit(text.as_bytes()) } else { Ok(()) };
    prompt("compares:\n")?;
    let compare = read_part(input, parse_compare)?;
    prompt("success requests (get, put, del):\n")?;
    let success = read_part(input, parse_step)?;
    prompt("failure requests (get, put, del):\n")?;
    let failure = read_part(input, parse_step)?;
    Ok(TxnRequest { compare, success, failure })
}

/// Reads lines up to an empty one. A part that ends with the input is cut off: refused, never run.
fn read_part<T>(
    input: &mut dyn BufRead,
    parse: impl Fn(&str) -> Result<T, CtlError>,
) -> Result<Vec<T>, CtlError> {
    let mut items = Vec::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).map_err(|error| invalid(error.to_string()))?;
        let Some(line) = line.strip_suffix('\n') else { return Err(invalid("EOF")) };
        let line = line.trim();
        if line.is_empty() {
            return Ok(items);
        }
        items.push(parse(line)?);
    }
}

fn parse_compare(line: &str) -> Result<Compare, CtlError> {
    let malformed = || invalid(format!("malformed comparison: {line}"));
    let (target, rest) = line.split_once('(').ok_or_else(malformed)?;
    let (key, rest) = quoted(rest.trim_start()).ok_or_else(malformed)?;
    let rest = rest.trim_start().strip_prefix(')').ok_or_else(malformed)?;
    let (op, rest) = rest.trim_start().split_once(char::is_whitespace).ok_or_else(malformed)?;
    let (value, rest) = quoted(rest.trim_start()).ok_or_else(malformed)?;
    if !rest.trim().is_empty() {
        return Err(malformed());
    }
    let result = match op {
        "=" => CompareResult::Equal,
        "!=" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        "<" => CompareResult::Less,
        _ => return Err(invalid(format!("malformed comparison: {line} (unknown operator {op})"))),
    };
    let number = |radix| {
        std::str::from_utf8(&value)
            .ok()
            .and_then(|text| number::parse(text, radix).ok())
            .ok_or_else(|| invalid(format!("invalid txn compare request: {line}")))
    };
    let (target, union) = match target.trim() {
        "ver" | "version" => (CompareTarget::Version, TargetUnion::Version(number(10)?)),
        "c" | "create" => (CompareTarget::Create, TargetUnion::CreateRevision(number(10)?)),
        "m" | "mod" => (CompareTarget::Mod, TargetUnion::ModRevision(number(10)?)),
        "val" | "value" => (CompareTarget::Value, TargetUnion::Value(Bytes::from(value))),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number(16)?)),
        other => {
            return Err(invalid(format!("malformed comparison: {line} (unknown target {other})")));
        }
    };
    Ok(Compare {
        result: result.into(),
        target: target.into(),
        key: Bytes::from(key),
        range_end: Bytes::new(),
        target_union: Some(union),
    })
}

fn parse_step(line: &str) -> Result<RequestOp, CtlError> {
    let words = split_words(line)?;
    let unknown = || invalid(format!("invalid txn request: {line}"));
    let unreadable = |error: clap::Error| invalid(format!("invalid txn request: {line} ({})", error.kind()));
    let request = match words.first().map(String::as_str) {
        Some("put") => {
            // Standard input is taken by the transaction itself.
            Request::RequestPut(kv::put_request(Put::try_parse_from(words).map_err(unreadable)?, None)?)
        }
        Some("get") => {
            Request::RequestRange(kv::range_request(&Get::try_parse_from(words).map_err(unreadable)?)?)
        }
        Some("del") => {
            Request::RequestDeleteRange(kv::delete_request(&Del::try_parse_from(words).map_err(unreadable)?)?)
        }
        _ => return Err(unknown()),
    };
    Ok(RequestOp { request: Some(request) })
}

/// Splits a line as a shell would: at spaces, but not in `"…"` (with escapes) or `'…'`.
fn split_words(line: &str) -> Result<Vec<String>, CtlError> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let after = if rest.starts_with('"') {
            let (word, after) =
                quoted(rest).ok_or_else(|| invalid(format!("invalid txn request: {line}")))?;
            words.push(String::from_utf8(word).map_err(|_| invalid("a quoted word is not UTF-8"))?);
            after
        } else if let Some(inner) = rest.strip_prefix('\'') {
            let (word, after) =
                inner.split_once('\'').ok_or_else(|| invalid(format!("invalid txn request: {line}")))?;
            words.push(word.to_owned());
            after
        } else {
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            words.push(word.to_owned());
            after
        };
        rest = after.trim_start();
    }
    Ok(words)
}

/// Reads a `"…"` with its escapes; returns its bytes and what follows.
fn quoted(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut out = Vec::new();
    let push = |out: &mut Vec<u8>, c: char| out.extend(c.encode_utf8(&mut [0; 4]).bytes());
    loop {
        match chars.next()? {
            '"' => return Some((out, chars.as_str())),
            '\\' => match chars.next()? {
                'n' => out.push(b'\n'),
                't' => out.push(b'\t'),
                'r' => out.push(b'\r'),
                'a' => out.push(7),
                'b' => out.push(8),
                'v' => out.push(11),
                'f' => out.push(12),
                'x' => out.push(u8::try_from(hex_digits(&mut chars, 2)?).ok()?),
                'u' => push(&mut out, char::from_u32(hex_digits(&mut chars, 4)?)?),
                'U' => push(&mut out, char::from_u32(hex_digits(&mut chars, 8)?)?),
                c @ ('"' | '\\' | '\'') => push(&mut out, c),
                _ => return None,
            },
            c => push(&mut out, c),
        }
    }
}

fn hex_digits(chars: &mut std::str::Chars<'_>, count: usize) -> Option<u32> {
    (0..count).try_fold(0_u32, |number, _| Some((number << 4) | chars.next()?.to_digit(16)?))
}

impl Render for TxnResponse {
    fn simple(&self, style: Style, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.succeeded { b"SUCCESS\n" } else { b"FAILURE\n" });
        for response in &self.responses {
            out.push(b'\n');
            match &response.response {
                Some(Response::ResponseRange(answer)) => answer.simple(style, out),
                Some(Response::ResponsePut(answer)) => answer.simple(style, out),
                Some(Response::ResponseDeleteRange(answer)) => answer.simple(style, out),
                Some(Response::ResponseTxn(answer)) => answer.simple(style, out),
                None => {}
            }
        }
    }

    fn json(&self) -> Json {
        let responses: Vec<Json> = self.responses.iter().map(json_step).collect();
        Object::new()
            .with_header("header", self.header.as_ref())
            .with_some("succeeded", self.succeeded)
            .with_some("responses", responses)
            .into()
    }

    fn fields(&self, out: &mut Fields) {
        out.header(self.header.as_ref());
        out.value("Succeeded", self.succeeded);
        for response in &self.responses {
            match &response.response {
                Some(Response::ResponseRange(answer)) => answer.fields(out),
                Some(Response::ResponsePut(answer)) => answer.fields(out),
                Some(Response::ResponseDeleteRange(answer)) => answer.fields(out),
                Some(Response::ResponseTxn(answer)) => answer.fields(out),
                None => {}
            }
        }
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.encode_to_vec())
    }
}

fn json_step(step: &ResponseOp) -> Json {
    let (name, answer) = match &step.response {
        Some(Response::ResponseRange(answer)) => ("ResponseRange", answer.json()),
        Some(Response::ResponsePut(answer)) => ("ResponsePut", answer.json()),
        Some(Response::ResponseDeleteRange(answer)) => ("ResponseDeleteRange", answer.json()),
        Some(Response::ResponseTxn(answer)) => ("ResponseTxn", answer.json()),
        None => return Object::new().with("Response", Json::Null).into(),
    };
    Object::new().with("Response", Object::new().with(name, answer)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TxnRequest, CtlError> {
        read_request(&mut text.as_bytes(), false)
    }

    #[test]
    fn a_transaction_in_three_parts() {
        let request = read(
            "mod(\"a\") > \"3\"\nvalue(\"b c\")=\"x\"\nlease(\"a\") != \"1f\"\n\nput a \"1\\n\\\"2\\\"\" --prev-kv\nget a --prefix\n\ndel 'a b' z\n\n",
        );
        // The second comparison has no spaces around its operator, which the grammar wants.
        assert_eq!(request.unwrap_err().text, "malformed comparison: value(\"b c\")=\"x\"");
        let request = read(
            "mod(\"a\") > \"3\"\nvalue(\"b c\") = \"x\"\nlease(\"a\") != \"1f\"\n\nput a \"1\\n\\\"2\\\"\" --prev-kv\nget a --prefix\n\ndel 'a b' z\n\n",
        )
        .unwrap();
        assert_eq!(request.compare.len(), 3);
        assert_eq!(
            request.compare.iter().map(|compare| compare.target_union.clone()).collect::<Vec<_>>(),
            [
                Some(TargetUnion::ModRevision(3)),
                Some(TargetUnion::Value(Bytes::from_static(b"x"))),
                Some(TargetUnion::Lease(31)),
            ]
        );
        let Some(Request::RequestPut(put)) = request.success.first().and_then(|op| op.request.clone()) else {
            panic!("not a put: {:?}", request.success);
        };
        assert_eq!((put.value.as_ref(), put.prev_kv), (&b"1\n\"2\""[..], true));
        let Some(Request::RequestDeleteRange(del)) =
            request.failure.first().and_then(|op| op.request.clone())
        else {
            panic!("not a delete: {:?}", request.failure);
        };
        assert_eq!((del.key.as_ref(), del.range_end.as_ref()), (&b"a b"[..], &b"z"[..]));
    }

    #[test]
    fn refusals() {
        for (text, exit, want) in [
            (
                "valu(\"a\") = \"2\"\n\n\n\n",
                Exit::InvalidInput,
                "malformed comparison: valu(\"a\") = \"2\" (unknown target valu)",
            ),
            (
                "value(\"a\") ~ \"2\"\n\n\n\n",
                Exit::InvalidInput,
                "malformed comparison: value(\"a\") ~ \"2\" (unknown operator ~)",
            ),
            (
                "mod(\"a\") = \"x\"\n\n\n\n",
                Exit::InvalidInput,
                "invalid txn compare request: mod(\"a\") = \"x\"",
            ),
            ("\nfoo a\n\n\n", Exit::InvalidInput, "invalid txn request: foo a"),
            (
                "\nput a\n\n\n",
                Exit::BadArgs,
                "put command needs 1 argument and input from stdin or 2 arguments",
            ),
            ("mod(\"a\") = \"0\"\n", Exit::InvalidInput, "EOF"),
            ("\nput a b", Exit::InvalidInput, "EOF"),
        ] {
            assert_eq!(read(text).unwrap_err(), CtlError::new(exit, want), "{text:?}");
        }
    }
}
