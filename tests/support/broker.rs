//! A real Kafka broker for tests: Apache Kafka from its jars, a KRaft node on loopback with a data directory of its own.
//!
//! Owns the jars (fetched once into the target directory), the Java process, its ports and its data. Creates no topics and
//! speaks to Kafka only to learn whether it answers: everything else is the tests' own client's work.
//!
//! The broker never outlives the test process, not even one killed with `kill -9`. Java runs under a few lines of shell (see
//! [`WATCHDOG`]) that read a pipe whose only writer is the test process. Signals for Java are lines on that pipe; its end
//! means that the test process is gone, and the shell kills Java and removes the data. Nothing polls.
//!
//! ```no_run
//! let mut broker = Broker::start();
//! let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).create()?;
//! broker.kill();
//! broker.restart(); // the same port, the same data
//! ```

#[path = "cluster.rs"]
mod cluster;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The version of `org.apache.kafka:kafka_2.13` that tests run against.
const KAFKA_VERSION: &str = "4.1.1";
/// How long a broker may take to answer; it takes about 4 s on two idle cores.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a broker told to stop may take before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How often a condition outside this process is looked at again.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How many pairs of ports are tried.
const PORT_ATTEMPTS: usize = 5;
/// How many lines of the broker's log an error shows.
const LOG_TAIL_LINES: usize = 40;

/// Runs `$2…` until it ends, and exits as it did. Each line on stdin is a signal for it. The end of stdin kills it and
/// removes the directory `$1`.
///
/// Standard input moves to descriptor 3, because a shell gives its background jobs none.
const WATCHDOG: &str = r#"
home=$1; shift
exec 3<&0 </dev/null
"$@" 3<&- &
broker=$!
{
    while read -r signal <&3; do kill -s "$signal" "$broker"; done
    : >"$home/abandoned"
    kill -s KILL "$broker"
} &
orders=$!
exec 3<&-
wait "$broker"; status=$?
kill "$orders" 2>/dev/null
if [ -e "$home/abandoned" ]; then rm -rf "$home"; fi
exit "$status"
"#;

/// Small memory and a quick start, rather than peak throughput.
const JAVA_OPTIONS: [&str; 6] =
    ["-Xms128m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.awt.headless=true"];

/// What every test broker is configured with, before a test's own settings. Sizes of messages and batches are left at
/// Kafka's defaults, so that tests meet the limits that production has.
const SERVER_SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
# One node: nothing is replicated, and internal topics are small, so that they are created and loaded at once.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A misspelt topic is an error.
auto.create.topics.enable=false
delete.topic.enable=true
# Failures are noticed in test time: groups settle at once, short sessions are allowed, transactions that ran out are
# looked for twice a second, and a killed broker may come back after 2 s.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
# Compaction that a test needn't wait for, in little memory.
log.cleaner.backoff.ms=200
log.cleaner.min.cleanable.ratio=0.01
log.cleaner.dedupe.buffer.size=4194304
# Two cores.
num.network.threads=2
num.io.threads=4
";

/// Warnings, and the broker's own progress, on standard output.
const LOG_SETTINGS: &str = "\
rootLogger.level=WARN
rootLogger.appenderRef.stdout.ref=stdout
appender.stdout.type=Console
appender.stdout.name=stdout
appender.stdout.layout.type=PatternLayout
appender.stdout.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1}: %m%n
logger.server.name=kafka.server
logger.server.level=INFO
";

/// What Kafka logs once every part of it is up.
const STARTED: &str = "Kafka Server started";
/// What it logs when a port isn't free.
const PORT_TAKEN: &str = "Address already in use";

/// One Kafka broker. Dropping it kills the broker and removes its data.
pub struct Broker {
    jars: PathBuf,
    home: TempDir,
    bootstrap: String,
    ports: Ports,
    running: Option<Child>,
}

/// The ports of a broker, on loopback.
#[derive(Clone, Copy)]
struct Ports {
    broker: u16,
    controller: u16,
    /// Of a second listener, and which port it tells clients to come to.
    proxied: Option<(u16, u16)>,
}

/// Why a broker isn't up.
enum StartError {
    /// Someone took a port between its choice and its use: worth another try.
    PortTaken,
    /// Anything else, said in full.
    Failed(String),
}

impl Broker {
    /// The broker that all tests of this test binary share, started by the first that asks. It can't be stopped.
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Broker::start)
    }

    /// Starts a broker and returns once it answers.
    ///
    /// # Panics
    ///
    /// When it can't, saying what is missing or how the broker's log ends.
    #[track_caller]
    pub fn start() -> Broker {
        Broker::start_with(&[])
    }

    /// As [`Broker::start`], with `settings` of `server.properties` added to or in place of the usual ones.
    #[track_caller]
    pub fn start_with(settings: &[(&str, &str)]) -> Broker {
        Broker::start_at(settings, None)
    }

    /// Starts a broker with a second listener, whose clients are told to come to the port `advertised`: someone in between is
    /// to send them on to [`proxied`](Self::proxied).
    #[track_caller]
    pub fn start_behind(advertised: u16) -> Broker {
        Broker::start_at(&[], Some(advertised))
    }

    #[track_caller]
    fn start_at(settings: &[(&str, &str)], advertised: Option<u16>) -> Broker {
        let jars = match kafka_jars() {
            Ok(jars) => jars,
            Err(message) => panic!("{message}"), // here, so that it names the caller's line
        };
        for _ in 0..PORT_ATTEMPTS {
            match Broker::try_start(&jars, settings, advertised) {
                Ok(broker) => return broker,
                Err(StartError::PortTaken) => {}
                Err(StartError::Failed(message)) => panic!("{message}"),
            }
        }
        panic!("no free port for Kafka in {PORT_ATTEMPTS} attempts")
    }

    /// Where clients connect: a value for `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The port of the second listener.
    pub fn proxied(&self) -> u16 {
        self.ports.proxied.expect("a broker that was started behind something").0
    }

    /// Shuts the broker down in good order (SIGTERM), or kills it if that takes more than [`STOP_LIMIT`].
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    /// Kills the broker (SIGKILL). Its data stays.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// Stops the broker if it runs, and starts it again on the same port with the same data.
    ///
    /// # Panics
    ///
    /// When it doesn't come back.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.revive();
    }

    /// Starts the broker, which is down, again: the same port, the same data.
    #[track_caller]
    pub fn revive(&mut self) {
        for _ in 0..PORT_ATTEMPTS {
            match self.launch() {
                Ok(()) => return,
                Err(StartError::PortTaken) => {}
                Err(StartError::Failed(message)) => panic!("{message}"),
            }
        }
        panic!("port {} was taken while Kafka was down", self.ports.broker)
    }

    fn try_start(jars: &Path, settings: &[(&str, &str)], advertised: Option<u16>) -> Result<Broker, StartError> {
        let ports = Ports::free(advertised).map_err(failed("find free ports"))?;
        let quorum = format!("controller.quorum.bootstrap.servers=127.0.0.1:{}", ports.controller);
        let mut broker = Broker::make(jars, ports, &quorum, settings)?;
        broker.format(&["--standalone"])?;
        broker.launch()?;
        Ok(broker)
    }

    /// Writes what a broker is started with.
    fn make(jars: &Path, ports: Ports, quorum: &str, settings: &[(&str, &str)]) -> Result<Broker, StartError> {
        let home = tempfile::Builder::new().prefix("kafka-").tempdir().map_err(failed("make a directory for Kafka"))?;
        let Ports { broker: port, controller, proxied } = ports;
        let listener = |port| format!(",PROXIED://127.0.0.1:{port}");
        let (listening, advertised) = proxied.map_or_else(Default::default, |(at, told)| (listener(at), listener(told)));
        let mut properties = format!(
            "{SERVER_SETTINGS}\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listening}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}\n\
             {quorum}\n\
             log.dirs={}\n",
            home.path().join("data").display()
        );
        for (name, value) in settings {
            properties += &format!("{name}={value}\n"); // the later of two lines counts
        }
        let broker = Broker { jars: jars.to_owned(), home, bootstrap: format!("127.0.0.1:{port}"), ports, running: None };
        fs::write(broker.properties(), properties).map_err(failed("write server.properties"))?;
        fs::write(broker.log_settings(), LOG_SETTINGS).map_err(failed("write log4j2.properties"))?;
        Ok(broker)
    }

    /// Writes the metadata that an empty data directory needs, with Kafka's own tool.
    fn format(&self, quorum: &[&str]) -> Result<(), StartError> {
        let output = Command::new("java")
            .args(self.java_arguments("kafka.tools.StorageTool"))
            .args(["format", "--cluster-id", "AAAAAAAAAAAAAAAAAAAAAQ"])
            .args(quorum)
            .arg("--config")
            .arg(self.properties())
            .output()
            .map_err(|error| StartError::Failed(not_run("java", &error)))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        Err(StartError::Failed(format!("Kafka's storage tool failed ({}):\n{said}", output.status)))
    }

    /// Runs Kafka until it answers.
    fn launch(&mut self) -> Result<(), StartError> {
        self.spawn()?;
        self.await_answer()
    }

    /// Runs Kafka under the watchdog.
    fn spawn(&mut self) -> Result<(), StartError> {
        let log = File::create(self.log()).map_err(failed("write Kafka's log"))?;
        let log_for_errors = log.try_clone().map_err(failed("write Kafka's log"))?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "kafka-watchdog"])
            .arg(self.home.path())
            .arg("java")
            .args(self.java_arguments("kafka.Kafka"))
            .arg(self.properties())
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(log_for_errors)
            .process_group(0) // Ctrl-C reaches the test process; the end of the pipe reaches Kafka
            .spawn()
            .map_err(|error| StartError::Failed(not_run("sh", &error)))?;
        self.running = Some(watchdog);
        Ok(())
    }

    fn await_answer(&mut self) -> Result<(), StartError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            let log = fs::read(self.log()).map_err(failed("read Kafka's log"))?;
            let log = String::from_utf8_lossy(&log);
            if let Some(status) = self.exit_status() {
                self.running = None;
                return Err(match log.contains(PORT_TAKEN) {
                    true => StartError::PortTaken,
                    false => StartError::Failed(format!("Kafka ended while starting ({status}); {}", tail(&log))),
                });
            }
            if log.contains(STARTED) && answers(self.ports.broker) {
                return Ok(());
            }
            if Instant::now() > deadline {
                self.kill();
                return Err(StartError::Failed(format!("Kafka didn't answer in {START_LIMIT:?}; {}", tail(&log))));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Sends `signal` to Kafka and waits for its end.
    fn end(&mut self, signal: &str) {
        self.send(signal);
        let deadline = Instant::now() + STOP_LIMIT;
        while self.running.is_some() && self.exit_status().is_none() {
            if Instant::now() > deadline {
                self.send("KILL");
            }
            thread::sleep(POLL_INTERVAL);
        }
        self.running = None;
    }

    /// Has the watchdog send `signal` to Kafka. To one that has ended, nothing is sent.
    fn send(&mut self, signal: &str) {
        if let Some(orders) = self.running.as_mut().and_then(|watchdog| watchdog.stdin.as_mut()) {
            // Fails only if the watchdog has ended, and Kafka before it: `end` sees that next.
            let _ = writeln!(orders, "{signal}");
        }
    }

    /// How Kafka ended, if it was started and has.
    fn exit_status(&mut self) -> Option<ExitStatus> {
        let watchdog = self.running.as_mut()?;
        watchdog.try_wait().expect("a child of this process can be waited for")
    }

    fn java_arguments(&self, class: &str) -> Vec<String> {
        let mut arguments: Vec<String> = JAVA_OPTIONS.map(String::from).into();
        arguments.push(format!("-Dlog4j2.configurationFile={}", self.log_settings().display()));
        arguments.push("-cp".into());
        arguments.push(format!("{}/*", self.jars.display()));
        arguments.push(class.into());
        arguments
    }

    fn properties(&self) -> PathBuf {
        self.home.path().join("server.properties")
    }

    fn log_settings(&self) -> PathBuf {
        self.home.path().join("log4j2.properties")
    }

    /// Kafka's log since its latest start.
    fn log(&self) -> PathBuf {
        self.home.path().join("broker.log")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The directory of Kafka's jars, fetched with Maven if this is the first use of this version.
///
/// The jars arrive in a temporary directory that is renamed when complete, so that what exists is whole; a lock on a file
/// makes test processes that start together fetch once.
fn kafka_jars() -> Result<PathBuf, String> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let cache = manifest.join(target).join("kafka");
    let jars = cache.join(KAFKA_VERSION);
    let context = |error: io::Error| format!("can't fetch Kafka into {}: {error}", cache.display());

    fs::create_dir_all(&cache).map_err(context)?;
    let lock = File::create(cache.join("lock")).map_err(context)?;
    lock.lock().map_err(context)?; // until this function returns
    if jars.is_dir() {
        return Ok(jars);
    }

    let fetched = tempfile::Builder::new().prefix("fetch-").tempdir_in(&cache).map_err(context)?;
    let pom = fetched.path().join("pom.xml");
    fs::write(&pom, pom_xml()).map_err(context)?;
    let output = Command::new("mvn")
        .args(["--quiet", "--batch-mode", "--file"])
        .arg(&pom)
        .arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies")
        .args(["-DincludeScope=runtime", "-DoutputDirectory=jars"])
        .output()
        .map_err(|error| not_run("mvn", &error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        return Err(format!("Maven couldn't fetch Kafka {KAFKA_VERSION}; {}", tail(&said)));
    }
    fs::rename(fetched.path().join("jars"), &jars).map_err(context)?;
    Ok(jars)
}

/// A project that is nothing but Kafka and a log4j 2 binding for the slf4j 1.7 that it uses.
fn pom_xml() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>kafka-for-tests</artifactId>\
         <version>1</version><packaging>pom</packaging><dependencies>{}{}</dependencies></project>",
        dependency("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
    )
}

impl Ports {
    /// Ports that were free a moment ago.
    fn free(advertised: Option<u16>) -> io::Result<Self> {
        let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let [broker, controller, proxied] = held.each_ref().map(|held| match held {
            Ok(listener) => listener.local_addr().map(|address| address.port()),
            Err(error) => Err(error.kind().into()),
        });
        let proxied = proxied?;
        Ok(Self { broker: broker?, controller: controller?, proxied: advertised.map(|advertised| (proxied, advertised)) })
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortTaken => f.write_str("a port for Kafka was taken between its choice and its use"),
            Self::Failed(message) => f.write_str(message),
        }
    }
}

/// Whether a Kafka broker on `port` answers the request that every client sends first.
fn answers(port: u16) -> bool {
    api_versions(port).is_ok_and(|error_code| error_code == 0)
}

/// Asks for `ApiVersions`, version 0, and returns the error code of the answer.
fn api_versions(port: u16) -> io::Result<i16> {
    const REQUEST: [u8; 14] = [
        0, 0, 0, 10, // bytes that follow
        0, 18, // ApiVersions
        0, 0, // version
        0, 0, 0, 1, // correlation
        0xff, 0xff, // no client id
    ];
    let limit = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(&REQUEST)?;
    let mut answer = [0; 10]; // bytes that follow, correlation, error code, …
    stream.read_exact(&mut answer)?;
    Ok(i16::from_be_bytes([answer[8], answer[9]]))
}

/// The end of a log, for an error message.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
    format!("its log ends:\n{}", shown.join("\n"))
}

/// One line on why `program` couldn't be run, and what to do about it.
fn not_run(program: &str, error: &io::Error) -> String {
    let remedy = match program {
        _ if error.kind() != io::ErrorKind::NotFound => return format!("can't run `{program}`: {error}"),
        "mvn" => "install Maven (Debian: apt-get install maven)",
        "java" => "install Java 17 or later (Debian: apt-get install openjdk-17-jre-headless)",
        _ => "install it",
    };
    format!("tests on a real Kafka need `{program}`, which isn't on the PATH: {remedy}")
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::Failed(format!("can't {doing}: {error}"))
}
