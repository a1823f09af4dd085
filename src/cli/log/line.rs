//! One log line: JSON with the keys that scrapers of such servers know, or text for people.
//!
//! JSON begins with `level`, `ts`, `caller` and `msg`, in this order; an event's own fields follow under their own
//! names. A field that has one of the four names gets a trailing underscore, so that no key stands twice.

use std::fmt::{Debug, Write};

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

use crate::cli::log::time::rfc3339;

/// Keys that a line always has.
const OWN_KEYS: [&str; 4] = ["level", "ts", "caller", "msg"];

/// What a line says.
#[derive(Debug)]
pub struct Line {
    level: Level,
    wall_ms: u64,
    caller: String,
    fields: Fields,
}

/// The message and the fields of an event, in the order in which they were written.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    named: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, field: &Field, value: Value) {
        self.named.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.push(field, Value::from(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message = value.to_owned();
        } else {
            self.push(field, Value::from(value));
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::from(value));
    }
}

impl Line {
    /// The line of an event that happened `wall_ms` milliseconds after 1970 began.
    pub fn of(event: &Event<'_>, wall_ms: u64) -> Line {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        Line { level: *metadata.level(), wall_ms, caller: caller(metadata), fields }
    }

    /// As one JSON object and a line break.
    pub fn json(&self) -> String {
        let level = self.level.as_str().to_ascii_lowercase();
        let own = [level, rfc3339(self.wall_ms), self.caller.clone(), self.fields.message.clone()];
        let mut text = String::from("{");
        for (key, value) in OWN_KEYS.into_iter().zip(own) {
            push_pair(&mut text, key, &Value::from(value));
        }
        for (name, value) in &self.fields.named {
            if OWN_KEYS.contains(name) {
                push_pair(&mut text, &format!("{name}_"), value);
            } else {
                push_pair(&mut text, name, value);
            }
        }
        text.push_str("}\n");
        text
    }

    /// For people: time, level, caller, message, and fields as `name=value`.
    pub fn console(&self) -> String {
        let Line { level, caller, fields, .. } = self;
        let mut text = format!("{} {level:<5} {caller} {}", rfc3339(self.wall_ms), one_line(&fields.message));
        for (name, value) in &fields.named {
            let value = match value {
                Value::String(word) if is_plain(word) => word.clone(),
                other => other.to_string(),
            };
            // Writing to a string cannot fail.
            let _always = write!(text, " {name}={value}");
        }
        text.push('\n');
        text
    }
}

fn push_pair(text: &mut String, key: &str, value: &Value) {
    if !text.ends_with('{') {
        text.push(',');
    }
    let _always = write!(text, "{}:{value}", Value::from(key));
}

/// Whether a word can stand in a line without quotes.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=')
}

/// A message of several lines, in one.
fn one_line(message: &str) -> String {
    if message.contains(char::is_control) { message.escape_debug().to_string() } else { message.to_owned() }
}

/// Where an event was written: the file with its folder, and the line.
fn caller(metadata: &Metadata<'_>) -> String {
    let Some(file) = metadata.file() else { return metadata.target().to_owned() };
    let file = file.replace('\\', "/");
    let folder = file.rmatch_indices('/').nth(1).map_or(0, |(position, _)| position + 1);
    let short = file.get(folder..).unwrap_or(&file);
    metadata.line().map_or_else(|| short.to_owned(), |line| format!("{short}:{line}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    use super::*;

    /// The lines of what `log` logs, as JSON and as text.
    fn lines(log: impl FnOnce()) -> Vec<(String, String)> {
        struct Collect(Arc<Mutex<Vec<(String, String)>>>);
        impl<S: Subscriber> Layer<S> for Collect {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                let line = Line::of(event, 1_709_164_800_007);
                self.0.lock().unwrap().push((line.json(), line.console()));
            }
        }
        let found = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Collect(found.clone()));
        tracing::subscriber::with_default(subscriber, log);
        std::mem::take(&mut *found.lock().unwrap())
    }

    #[test]
    fn json_begins_with_the_four_keys_and_keeps_kinds() {
        let found = lines(|| {
            tracing::info!(address = "127.0.0.1:2379", "local-member-id" = %16, term = 7_u64, late = true, "up");
        });
        let (json, console) = &found[0];
        let caller = format!("log/line.rs:{}", line!() - 3);
        let head = "{\"level\":\"info\",\"ts\":\"2024-02-29T00:00:00.007Z\",\"caller\":\"";
        let fields = "\"address\":\"127.0.0.1:2379\",\"local-member-id\":\"16\",\"term\":7,\"late\":true";
        assert_eq!(*json, format!("{head}{caller}\",\"msg\":\"up\",{fields}}}\n"));
        let fields = "address=127.0.0.1:2379 local-member-id=16 term=7 late=true";
        assert_eq!(*console, format!("2024-02-29T00:00:00.007Z INFO  {caller} up {fields}\n"));
    }

    #[test]
    fn anything_that_is_said_stays_one_line_and_one_object() {
        let found = lines(|| {
            tracing::warn!(msg = "mine", why = "a \"b\"\n\u{1b}[31m", empty = "", "line one\nline two");
        });
        let (json, console) = &found[0];
        let parsed: Value = serde_json::from_str(json).unwrap();
        assert_eq!(parsed["msg"], "line one\nline two");
        assert_eq!(parsed["msg_"], "mine");
        assert_eq!(parsed["why"], "a \"b\"\n\u{1b}[31m");
        for text in [json, console] {
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(text.ends_with('\n') && !text.contains('\u{1b}'), "{text:?}");
        }
        assert!(console.contains(" empty=\"\""), "{console}");
    }
}
