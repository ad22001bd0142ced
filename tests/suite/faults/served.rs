//! Real processes of the binary over a pretend world that keeps the machine's time.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use countersign::clock::Lifetime;
use countersign::world::cluster::{PretendCluster, TokenAsk};
use countersign::world::{ScratchDirectory, Surroundings, World, WorldSettings};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::evidence;
use crate::stage::{API, Answer, JWT_BEARER, JWT_SPIFFE, ORDERS, answer, encode, free_address};

/// Sources and folders for one or more processes of one issuer.
pub struct Town {
    pub world: World,
    pub directory: ScratchDirectory,
    pub issuer: String,
    client: reqwest::Client,
    _stop: DropGuard,
}

impl Town {
    pub async fn new() -> Self {
        let stop = CancellationToken::new();
        let directory = ScratchDirectory::new().unwrap();
        let settings = WorldSettings::in_directory(directory.path());
        let world = World::start(settings, &Surroundings::system(), &stop).await.unwrap();
        world.agent().register([API]);
        let issuer = format!("http://{}", free_address());
        Self { world, directory, issuer, client: crate::stage::client(), _stop: stop.drop_guard() }
    }

    /// The standard configuration of one process: its own addresses and state, and the folder of signing keys that all share.
    pub fn config(&self, name: &str, listen: &str, admin: &str) -> PathBuf {
        let text = crate::stage::standard_config(&self.world, &self.issuer)
            .replace(&format!("\"{}\"", self.issuer.trim_start_matches("http://")), &format!("\"{listen}\""))
            .replace("127.0.0.1:0", admin)
            .replace("./state", &format!("./state-{name}"));
        let path = self.directory.path().join(format!("{name}.yaml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A process at the issuer's own address, ready.
    pub async fn serve(&self, name: &str) -> Process {
        self.serve_at(name, self.issuer.trim_start_matches("http://")).await
    }

    /// A process at another address, ready.
    pub async fn serve_at(&self, name: &str, listen: &str) -> Process {
        let admin = free_address().to_string();
        let config = self.config(name, listen, &admin);
        let mut process = Process::new(name, config, listen, &admin);
        process.start();
        process.ready().await;
        process
    }

    pub fn svid(&self) -> String {
        self.world.trust_domain().mint(API, &[&self.issuer], Lifetime::from_minutes(5)).unwrap()
    }

    pub fn cluster(&self, name: &str) -> &PretendCluster {
        self.world.cluster(name).unwrap()
    }

    pub fn pod_token(&self, cluster: &str) -> String {
        self.cluster(cluster).mint(&TokenAsk::new("shop", "api", &self.issuer)).unwrap()
    }

    /// Exchanges a JWT-SVID at a process; an error when the connection fails.
    pub async fn exchange_svid(&self, at: &Process, svid: &str) -> reqwest::Result<Answer> {
        self.post(at, &form(JWT_SPIFFE, svid)).await
    }

    /// Exchanges a pod's token at a process.
    pub async fn exchange_pod(&self, at: &Process, token: &str) -> reqwest::Result<Answer> {
        self.post(at, &form(JWT_BEARER, token)).await
    }

    /// `POST /token` with a body as it is.
    pub async fn post(&self, at: &Process, body: &str) -> reqwest::Result<Answer> {
        body.split(['&', '=']).for_each(evidence::secret);
        let request = self.client.post(format!("http://{}/token", at.public)).body(body.to_owned());
        Ok(answer(request.header("content-type", "application/x-www-form-urlencoded").send().await?).await)
    }

    /// Both kinds of credentials are granted.
    pub async fn grants(&self, at: &Process) {
        for answer in [
            self.exchange_svid(at, &self.svid()).await.unwrap(),
            self.exchange_pod(at, &self.pod_token("eu1")).await.unwrap(),
            self.exchange_pod(at, &self.pod_token("edge-2")).await.unwrap(),
        ] {
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }
}

/// The form of an exchange for `orders`.
pub fn form(assertion_type: &str, assertion: &str) -> String {
    encode(&[
        ("grant_type", "client_credentials"),
        ("client_assertion_type", assertion_type),
        ("client_assertion", assertion),
        ("resource", ORDERS),
    ])
}

/// One process of `countersign serve`. Ends when dropped; what it printed is kept.
pub struct Process {
    pub public: String,
    pub admin: String,
    config: PathBuf,
    stdout: PathBuf,
    stderr: PathBuf,
    child: Option<Child>,
}

impl Process {
    pub fn new(name: &str, config: PathBuf, public: &str, admin: &str) -> Self {
        let beside = |ending: &str| config.with_file_name(format!("{name}.{ending}"));
        let (stdout, stderr) = (beside("stdout"), beside("stderr"));
        Self { public: public.to_owned(), admin: admin.to_owned(), config, stdout, stderr, child: None }
    }

    /// Starts the binary; what it prints is appended to its files.
    pub fn start(&mut self) {
        let stdout = append(&self.stdout);
        self.start_with(stdout.into());
    }

    /// Starts the binary with another standard output.
    pub fn start_with(&mut self, stdout: Stdio) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.arg("serve").arg("--config").arg(&self.config).stdin(Stdio::null());
        let command = command.stdout(stdout).stderr(append(&self.stderr)).env_remove("COUNTERSIGN_LOG");
        self.child = Some(command.spawn().unwrap());
    }

    /// Starts the binary where no file can grow past a few kilobytes, its log and its journal among them.
    pub fn start_on_a_full_disk(&mut self) {
        // Without the trap the signal of that limit would end it; a full disk is an error alone.
        let script = "trap '' XFSZ; ulimit -f 16; exec \"$0\" serve --config \"$1\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_countersign")]).arg(&self.config).stdin(Stdio::null());
        let command = command.stdout(Stdio::null()).stderr(append(&self.stderr)).env("COUNTERSIGN_LOG", "trace");
        self.child = Some(command.spawn().unwrap());
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    pub fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    /// Waits until it says that it is ready and every source has keys.
    pub async fn ready(&mut self) {
        for _ in 0..3000 {
            if let Some(status) = self.child().try_wait().unwrap() {
                panic!("it ended: {status}: {}", self.errors());
            }
            if let Ok(answer) = self.admin("/readyz").await {
                let sources = answer.body["sources"].as_array().cloned().unwrap_or_default();
                let known = sources.iter().all(|source| source["keys"].as_u64() > Some(0));
                if answer.status == 200 && known {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it is not ready: {}", self.errors());
    }

    pub async fn admin(&self, path: &str) -> reqwest::Result<Answer> {
        Ok(answer(crate::stage::client().get(format!("http://{}{path}", self.admin)).send().await?).await)
    }

    /// The value of a metric.
    pub async fn metric(&self, line: &str) -> Option<f64> {
        let text = self.admin("/metrics").await.unwrap().text;
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    }

    /// The public keys that it shows.
    pub async fn jwks(&self) -> Value {
        let request = crate::stage::client().get(format!("http://{}/jwks", self.public));
        answer(request.send().await.unwrap()).await.body
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status().unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self, seconds: u64) -> ExitStatus {
        for _ in 0..seconds * 100 {
            if let Some(status) = self.child().try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it did not end within {seconds} s: {}", self.errors());
    }

    /// Memory that is resident, in KiB.
    pub fn resident(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Everything on its standard error so far.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// Every line on its standard output so far, each a whole JSON object with a reference.
    pub fn records(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.stdout).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "the last line is cut: {:?}", text.lines().last());
        let read = |line: &str| -> Value {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            assert!(record["ref"].is_string() && record["outcome"].is_string(), "{line}");
            record
        };
        text.lines().map(read).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        for file in [&self.stdout, &self.stderr] {
            evidence::keep("processes.txt", &std::fs::read_to_string(file).unwrap_or_default());
        }
    }
}

fn append(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}
