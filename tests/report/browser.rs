//! A headless browser without a network, spoken to by the DevTools protocol over a pipe.
//!
//! The browser reads orders on descriptor 3 and answers on descriptor 4, each a JSON object that ends in a zero byte; a line of shell
//! puts them where this process has the child's standard input and output.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fetch::program;

/// How long an answer may take. Starting is what takes long, on a machine with other work.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

const ON_DESCRIPTORS: &str = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#;

/// A browser with one page.
pub struct Browser {
    child: Child,
    orders: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Value,
    /// What the browser has told without having been asked.
    told: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser, or says why there is none.
    pub fn start() -> Result<Self, String> {
        let program = program()?;
        let profile = TempDir::new().map_err(|error| format!("no folder for the browser's profile: {error}"))?;
        let mut command = Command::new("sh");
        command.args(["-c", ON_DESCRIPTORS, "browser"]).arg(&program.path);
        command.args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]);
        command.args(["--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND"]);
        command.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        if let Some(home) = &program.home {
            command.env("LD_LIBRARY_PATH", home.join("lib")).env("FONTCONFIG_PATH", home).env("HOME", profile.path());
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("can't start the browser: {error}"))?;
        let (orders, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("the protocol's JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self { child, orders, messages, last_id: 0, session: Value::Null, told: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].clone();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        let offline = json!({"offline": true, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0});
        browser.call("Network.emulateNetworkConditions", offline);
        Ok(browser)
    }

    /// Gives an order and returns its result. What else arrives meanwhile is kept.
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut order = json!({"id": self.last_id, "method": method, "params": parameters});
        if !self.session.is_null() {
            order["sessionId"] = self.session.clone();
        }
        self.orders.write_all(order.to_string().as_bytes()).and_then(|()| self.orders.write_all(&[0])).expect("the browser runs");
        loop {
            let message = self.next(method);
            if message["id"] == self.last_id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.told.push(message);
        }
    }

    fn next(&self, wanted: &str) -> Value {
        self.messages.recv_timeout(ANSWER_LIMIT).unwrap_or_else(|error| panic!("the browser says nothing to {wanted}: {error}"))
    }

    /// Opens a file and waits until it is loaded, its scripts included.
    pub fn open(&mut self, page: &Path) {
        self.told.clear();
        self.call("Page.navigate", json!({"url": format!("file://{}", page.display())}));
        while !self.told.iter().any(|message| message["method"] == "Page.loadEventFired") {
            let message = self.next("Page.navigate");
            self.told.push(message);
        }
    }

    /// Addresses asked for since the page was opened, and what the page had to complain of: exceptions, and lines on its console.
    pub fn heard(&self) -> (Vec<String>, Vec<&Value>) {
        let (mut asked, mut complaints) = (Vec::new(), Vec::new());
        for message in &self.told {
            match message["method"].as_str() {
                Some("Network.requestWillBeSent") => {
                    asked.push(message["params"]["request"]["url"].as_str().expect("an address").to_owned());
                }
                Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded") => complaints.push(message),
                _ => {}
            }
        }
        (asked, complaints)
    }

    /// The value of an expression in the page; a promise's when it is kept.
    pub fn value(&mut self, expression: &str) -> Value {
        let order = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", order);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    /// A count that an expression gives.
    pub fn count(&mut self, expression: &str) -> usize {
        let value = self.value(expression);
        value.as_u64().unwrap_or_else(|| panic!("{expression} is {value}")) as usize
    }

    /// Shows the page in a window of some width, in light or dark.
    pub fn show(&mut self, width: usize, scheme: &str) {
        let metrics = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500});
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}));
    }

    /// A picture of the whole page, as PNG in base64.
    pub fn picture(&mut self) -> String {
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let order = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        self.call("Page.captureScreenshot", order)["data"].as_str().expect("a picture").to_owned()
    }

    /// Different colours in a picture, and the share of its points that are not of the commonest, counted by the browser.
    pub fn colours(&mut self, picture: &str) -> (usize, f64) {
        let counted = self.value(&format!(
            "(async () => {{
                const image = new Image();
                image.src = 'data:image/png;base64,{picture}';
                await image.decode();
                const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext('2d');
                context.drawImage(image, 0, 0);
                const points = new Uint32Array(context.getImageData(0, 0, image.width, image.height).data.buffer), seen = new Map();
                for (const point of points) seen.set(point, (seen.get(point) ?? 0) + 1);
                return [seen.size, 1 - Math.max(...seen.values()) / points.length];
            }})()"
        ));
        (counted[0].as_u64().expect("a count") as usize, counted[1].as_f64().expect("a share"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The shell has become the browser, which takes its own processes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
