//! The binary as a child process: its output, its HTTP endpoints, its end.
//!
//! A child never outlives its guard; if a test fails, the guard prints the end of what the child has said.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test counts as hung.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How often a condition outside this process is looked at again.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// How much of a child's output a failure shows.
const TAIL_BYTES: usize = 4000;

/// Waits until `look` finds something.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Milliseconds since 1970, by this machine's clock, which the program and the brokers share.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// A running, or ended, process of the program.
pub struct Process {
    child: Child,
    output: TempDir,
    /// The exit status, once it is known.
    ended: Option<i32>,
}

impl Process {
    /// Starts the program with `arguments`; `variables` are added to its environment.
    pub fn start(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let output = TempDir::new().unwrap();
        let file = |name: &str| File::create(output.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_surprisal"))
            .args(arguments)
            .envs(variables.iter().copied())
            .env_remove("SURPRISAL_LOG")
            .current_dir(output.path())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Self { child, output, ended: None }
    }

    /// Starts the service.
    pub fn run(config: &Path) -> Self {
        Self::run_with(config, &[])
    }

    /// Starts the service with `variables` in its environment.
    pub fn run_with(config: &Path, variables: &[(&str, &str)]) -> Self {
        Self::start(&["run", "--log-format", "json", "--config", text(config)], variables)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What was printed so far.
    pub fn stdout(&self) -> String {
        self.said("stdout")
    }

    /// What was logged so far.
    pub fn stderr(&self) -> String {
        self.said("stderr")
    }

    fn said(&self, file: &str) -> String {
        String::from_utf8(fs::read(self.output.path().join(file)).unwrap()).expect("output is UTF-8")
    }

    /// The lines of a log in JSON. The last may be half written.
    pub fn log(&self) -> Vec<Value> {
        self.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Where metrics are served, as the log says.
    pub fn address(&self) -> SocketAddr {
        eventually("the address of the metrics is logged", || {
            let log = self.log();
            log.iter().find_map(|line| line["address"].as_str()).map(|address| address.parse().expect("an address"))
        })
    }

    /// Status and body of an answer.
    pub fn get(&self, path: &str) -> (u16, String) {
        get(self.address(), path).expect("the endpoints are served")
    }

    pub fn is_ready(&self) -> bool {
        self.get("/readyz").0 == 200
    }

    #[track_caller]
    pub fn await_ready(&self) {
        eventually("ready", || self.is_ready().then_some(()));
    }

    /// All metrics by name and labels, as Prometheus would scrape them.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200);
        let samples = body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        samples
            .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
            .collect()
    }

    pub fn metric(&self, name: &str) -> f64 {
        *self.metrics().get(name).unwrap_or_else(|| panic!("no metric {name}"))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Holds the process still (SIGSTOP) until [`go_on`](Self::go_on).
    pub fn hold(&self) {
        self.signal("STOP");
    }

    /// Lets the process go on (SIGCONT).
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let script = format!("kill -{name} \"$0\"");
        let sent = Command::new("sh").args(["-c", &script, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// The exit status, if the process has ended.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        let status = status.code().or(status.signal().map(|signal| -signal));
        self.ended = self.ended.or(status);
        self.ended
    }

    /// Whether the process has ended by `abort`, as it does at a failpoint.
    pub fn aborted(&mut self) -> bool {
        const SIGABRT: i32 = 6;
        let aborted = self.child.try_wait().unwrap().is_some_and(|status| status.signal() == Some(SIGABRT));
        self.ended = self.ended.or(aborted.then_some(-SIGABRT));
        aborted
    }

    /// Sends SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.ended = Some(-9);
    }

    /// The exit status.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        let status = eventually("the process ends", || self.child.try_wait().unwrap());
        let status = status.code().expect("it ends by itself");
        self.ended = Some(status);
        status
    }

    /// Sends SIGTERM and expects a quick end in good order.
    #[track_caller]
    pub fn stop(&mut self) {
        let asked = Instant::now();
        self.terminate();
        assert_eq!(self.wait(), 0, "{}", self.stderr());
        assert!(asked.elapsed() < Duration::from_secs(5), "stopped after {:?}", asked.elapsed());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // It may have ended on its own; then there is nothing to kill.
            self.child.kill().ok();
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            for file in ["stdout", "stderr"] {
                let said = fs::read(self.output.path().join(file)).unwrap_or_default();
                let tail = String::from_utf8_lossy(&said[said.len().saturating_sub(TAIL_BYTES)..]);
                eprintln!("--- end of {file} of process {} (status {:?})\n{tail}", self.child.id(), self.ended);
            }
        }
    }
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Ok((status, body.to_owned()))
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}

/// A file of a test's own.
pub fn file(folder: &TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}
