//! `countersign serve` as a process: signals, exit code, records alone on stdout.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use countersign::clock::Lifetime;
use countersign::world::spiffe_agent::PretendTrustDomain;
use countersign::world::{ScratchDirectory, Surroundings};
use serde_json::Value;

use super::metric;
use crate::evidence;
use crate::stage::{API, Answer, JWT_SPIFFE, answer, client, encode, free_address};

/// The process, which does not outlive the test.
struct Served {
    process: Child,
    directory: ScratchDirectory,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Served {
    async fn start(domain: &PretendTrustDomain) -> Self {
        let directory = ScratchDirectory::new().unwrap();
        let (public, admin) = (free_address(), free_address());
        std::fs::write(directory.path().join("bundle.json"), domain.spiffe_bundle().to_string()).unwrap();
        std::fs::write(directory.path().join("countersign.yaml"), config(public, admin, "read")).unwrap();
        let file = |name: &str| std::fs::File::create(directory.path().join(name)).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["serve", "--config", "countersign.yaml"])
            .current_dir(directory.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        let mut served = Self { process, directory, public, admin };
        served
            .wait_for("it is ready", async |served| served.admin("/readyz").await.is_some_and(|it| it.status == 200))
            .await;
        served
    }

    /// Waits for something that happens by itself, while the process runs.
    async fn wait_for(&mut self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        for _ in 0..1000 {
            if condition(self).await {
                return;
            }
            assert_eq!(self.process.try_wait().unwrap(), None, "it ended:\n{}", self.read("stderr"));
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("it did not happen that {what}:\n{}", self.read("stderr"));
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(file)).unwrap()
    }

    async fn admin(&self, path: &str) -> Option<Answer> {
        Some(answer(client().get(format!("http://{}{path}", self.admin)).send().await.ok()?).await)
    }

    async fn metric(&self, start: &str) -> Option<f64> {
        metric(&self.admin("/metrics").await?.text, start)
    }

    async fn exchange(&self, domain: &PretendTrustDomain) -> Answer {
        let svid = domain.mint(API, &[&format!("http://{}", self.public)], Lifetime::from_minutes(5)).unwrap();
        evidence::secret(&svid);
        let form = encode(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", &svid),
            ("audience", "orders"),
        ]);
        let request = client()
            .post(format!("http://{}/token", self.public))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        answer(request.send().await.unwrap()).await
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    fn configure(&self, text: &str) {
        replace(&self.directory.path().join("countersign.yaml"), text);
    }
}

/// In one step: the process looks at the file whenever it likes.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn config(public: SocketAddr, admin: SocketAddr, scope: &str) -> String {
    format!(
        r#"
issuer: http://{public}
identity_domain: id.example
listen: {{ address: "{public}" }}
admin: {{ address: "{admin}" }}
trust: [{{ name: prod, spiffe: {{ trust_domain: prod.example, bundle: {{ file: bundle.json }} }} }}]
resources: [{{ name: orders, audience: "https://orders.example", scopes: [read, write] }}]
rules: [{{ name: shop, from: {{ source: prod, path: /ns/shop/sa/api }}, to: {{ resource: orders, scopes: [{scope}] }} }}]
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_reloads_on_hangup_and_drains_on_terminate() {
    let domain = PretendTrustDomain::new("prod.example", &Surroundings::system()).unwrap();
    let mut served = Served::start(&domain).await;
    assert_eq!(served.exchange(&domain).await.body["scope"], "read");

    served.configure(&config(served.public, served.admin, "write"));
    served.signal("HUP");
    let taken = "countersign_config_reloads_total{outcome=\"taken\"}";
    served.wait_for("the new configuration is taken", async |it| it.metric(taken).await == Some(1.0)).await;
    assert_eq!(served.exchange(&domain).await.body["scope"], "write");

    served.configure("issuer: [");
    served.signal("HUP");
    let failed = "countersign_config_reload_failed";
    served.wait_for("the bad file is refused", async |it| it.metric(failed).await == Some(1.0)).await;
    assert_eq!(served.exchange(&domain).await.body["scope"], "write", "the old one stays");

    served.signal("TERM");
    let status = tokio::task::block_in_place(|| served.process.wait()).unwrap();
    assert_eq!(status.code(), Some(0), "{}", served.read("stderr"));
    let (stdout, stderr) = (served.read("stdout"), served.read("stderr"));
    evidence::keep("processes.txt", &format!("serve\n{stdout}{stderr}"));
    let outcomes: Vec<Value> =
        stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["outcome"].take()).collect();
    assert_eq!(outcomes, ["allow", "allow", "allow"], "stdout has the records and nothing else");
    for word in ["plain HTTP", "the old one stays", "draining"] {
        assert!(stderr.contains(word), "{word:?} is not in the log:\n{stderr}");
    }
}
