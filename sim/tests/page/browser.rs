//! A real browser, driven through chromedriver: as much of the WebDriver protocol as the tests of pages need.
//!
//! The driver picks its own port and says so on its standard output. It and the browser end with the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// How long the driver may take over one command.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the driver says when it listens.
const STARTED: &str = "started successfully on port ";

/// Keys that have no letter, by the protocol's code points.
pub const LEFT: &str = "\u{e012}";
/// See [`LEFT`].
pub const RIGHT: &str = "\u{e014}";
/// See [`LEFT`].
pub const ESCAPE: &str = "\u{e00c}";
/// See [`LEFT`].
pub const ENTER: &str = "\u{e007}";

/// A browser with one window.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
}

/// Where a program is, by the folders of `PATH`.
fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Says past the test runner's capture that something was not tested, so that nobody takes the silence for a pass.
///
/// # Panics
/// Under `CI=true`, where nothing may be left out.
fn skip(what: &str, remedy: &str) {
    assert_ne!(
        std::env::var("CI").as_deref(),
        Ok("true"),
        "{what} may not be skipped under CI=true: {remedy}"
    );
    let text = format!("\n*** SKIPPED: {what} ({remedy}) ***\n");
    std::io::stderr().write_all(text.as_bytes()).expect("standard error is open");
}

impl Browser {
    /// Starts a browser; `None`, said loudly, where none is installed.
    pub fn start() -> Option<Browser> {
        let (Some(chromium), Some(driver)) = (program("chromium"), program("chromedriver")) else {
            skip("the pages in a real browser", "install chromium and chromedriver");
            return None;
        };
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split_once(STARTED)?.1.trim_end_matches('.').parse().ok())
            .expect("chromedriver says its port");
        // The pipe is read to its end, or the driver would stop when it is full.
        std::thread::spawn(move || lines.count());
        let mut browser = Browser { driver, port, session: String::new() };
        let options = json!({
            "binary": chromium,
            // Pages hold nothing foreign, and a container has no room for a sandbox or shared memory.
            "args": ["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1500,950"],
        });
        let wanted = json!({
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        });
        let session = browser.post("/session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = session["sessionId"].as_str().expect("a session has an id").to_owned();
        Some(browser)
    }

    /// Opens a file.
    pub fn open(&self, path: &Path) {
        self.command("url", &json!({ "url": format!("file://{}", path.display()) }));
    }

    /// Runs a script, whose `return` is the answer.
    pub fn script(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Strikes keys, one after the other.
    pub fn keys(&self, keys: &[&str]) {
        let strokes: Vec<Value> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key })))
            .collect();
        self.actions(&json!({ "type": "key", "id": "keyboard", "actions": strokes }));
    }

    /// Clicks a point of the window.
    pub fn click(&self, x: i64, y: i64) {
        self.actions(&json!({
            "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" },
            "actions": [
                { "type": "pointerMove", "x": x, "y": y, "duration": 0 },
                { "type": "pointerDown", "button": 0 },
                { "type": "pointerUp", "button": 0 },
            ],
        }));
    }

    /// Turns the wheel over a point of the window.
    pub fn wheel(&self, x: i64, y: i64, by: i64) {
        self.actions(&json!({
            "type": "wheel", "id": "wheel",
            "actions": [{
                "type": "scroll", "x": x, "y": y, "deltaX": 0, "deltaY": by, "duration": 0,
            }],
        }));
    }

    fn actions(&self, source: &Value) {
        self.command("actions", &json!({ "actions": [source] }));
        // Changes are drawn, and texts are typed, before the next look.
        self.command(
            "execute/async",
            &json!({
                "script": "const done = arguments[0]; setTimeout(() => requestAnimationFrame(() => done()), 100);",
                "args": [],
            }),
        );
    }

    /// Shows pages as for somebody who prefers this scheme, `light` or `dark`.
    pub fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command(
            "goog/cdp/execute",
            &json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } }),
        );
    }

    /// What pages have complained of since this was last asked.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().cloned().unwrap_or_default();
        let messages = entries.iter().map(|entry| entry["message"].to_string());
        // The tests read pixels back, which pages do not.
        messages.filter(|message| !message.contains("willReadFrequently")).collect()
    }

    fn command(&self, name: &str, body: &Value) -> Value {
        self.post(&format!("/session/{}/{name}", self.session), body)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) =
            self.request("POST", path, &body.to_string()).expect("chromedriver answers in time");
        assert_eq!(status, 200, "{path}: {answer}");
        answer["value"].clone()
    }

    /// One request on a connection of its own.
    fn request(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, Value)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap_or(0);
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // Ends the browser, which the driver would leave behind; a test that fails has its own words.
            drop(self.request("DELETE", &format!("/session/{}", self.session), ""));
        }
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}
