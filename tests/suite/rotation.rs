//! Promises about the rotation of our own keys: nobody who verifies our tokens ever meets a key that he cannot know yet.
//!
//! Verifiers and the cache in front are real, and read the key set over HTTP. The clock is moved in steps, so that whoever looks
//! after the keys looks in time; at every step tokens are issued and verified.

mod canary;
mod edits;
mod files;
mod front;
mod shared;
mod slow;
mod suspended;
mod verifier;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use countersign::clock::{Clock, Lifetime, Timestamp};
use countersign::world::World;
use serde_json::Value;

use self::verifier::Verifier;
use crate::evidence;
use crate::stage::{
    Answer, JWT_SPIFFE, ORDERS, Stage, answer, client, encode, free_address, server_config, spiffe_source,
};

/// How long a key is published before it signs, if nobody is waited for.
const USUAL: Lifetime = Lifetime::from_minutes(10);
/// How often keys and their dates are looked at.
const LOOK: Lifetime = Lifetime::from_seconds(5);
/// So long before its activation a key is postponed that the public URL does not show.
const IN_TIME: Lifetime = Lifetime::from_seconds(60);

/// The product behind a public URL, and its folder of keys.
struct Ground {
    stage: Stage,
    /// Where it listens, as a URL: not the public one where there is a front.
    door: String,
    client: reqwest::Client,
}

/// The dates of a key, as its file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dates {
    key_id: String,
    algorithm: String,
    file: PathBuf,
    publish: Timestamp,
    activate: Timestamp,
}

/// What a command printed.
struct Told {
    code: i32,
    out: String,
    err: String,
}

/// One trust domain and the resource `orders`; `signing` is the section's line.
fn config(world: &World, issuer: &str, signing: &str) -> String {
    format!(
        "{}{}resources:\n  - {{ name: orders, audience: \"{ORDERS}\", scopes: [read], lifetime: 5m }}\nrules:\n  \
         - {{ name: svids, from: {{ source: prod, path: /ns/shop/sa/api }}, to: {{ resource: orders, scopes: [read] }} }}\n",
        server_config(issuer).replace("signing: { directory: ./keys }", signing),
        spiffe_source(world)
    )
}

impl Ground {
    /// The public URL is where it listens.
    async fn new() -> Self {
        Self::with(|world, issuer| config(world, issuer, "signing: { directory: ./keys }")).await
    }

    async fn with(config: impl FnOnce(&World, &str) -> String) -> Self {
        let stage = Stage::with(config).await;
        let door = stage.issuer.clone();
        Self { stage, door, client: client() }
    }

    /// It listens elsewhere than at its public URL, where nobody is yet.
    async fn behind_a_front(change: impl FnOnce(String) -> String) -> Self {
        let listen = free_address();
        let stage = Stage::with(|world, issuer| {
            let public = issuer.trim_start_matches("http://").to_owned();
            let text = config(world, issuer, "signing: { directory: ./keys }");
            change(text.replace(&format!("\"{public}\""), &format!("\"{listen}\"")))
        })
        .await;
        Self { stage, door: format!("http://{listen}"), client: client() }
    }

    /// As before, with a resource whose tokens have RS256.
    async fn with_two_algorithms_behind_a_front() -> Self {
        let further =
            "resources:\n  - { name: search, audience: \"https://search.example\", scopes: [find], algorithm: RS256 }";
        Self::behind_a_front(|text| text.replace("resources:", further)).await
    }

    fn now(&self) -> Timestamp {
        self.stage.clock.now()
    }

    fn keys_folder(&self) -> PathBuf {
        self.stage.directory.path().join("keys")
    }

    /// Every key of the folder, by its file.
    fn dates(&self) -> Vec<Dates> {
        dates_in(&self.keys_folder())
    }

    fn dates_of(&self, key_id: &str) -> Dates {
        self.dates().into_iter().find(|dates| dates.key_id == key_id).unwrap()
    }

    /// The only key of that algorithm that does not sign yet.
    fn waiting(&self, algorithm: &str) -> Dates {
        let now = self.now();
        let mut waiting: Vec<Dates> =
            self.dates().into_iter().filter(|dates| dates.algorithm == algorithm && dates.activate > now).collect();
        assert_eq!(waiting.len(), 1, "{waiting:?}");
        waiting.remove(0)
    }

    /// `countersign keys …` as a process, against the running service.
    fn keys(&self, arguments: &[&str]) -> Told {
        self.command(&[&["keys"], arguments].concat())
    }

    fn command(&self, arguments: &[&str]) -> Told {
        let state = self.stage.directory.path().join("state");
        run(self.stage.directory.path(), &[arguments, &["--state", state.to_str().unwrap()]].concat())
    }

    /// `keys rotate`, and the key that will take over.
    fn rotate(&self) -> Dates {
        let told = self.keys(&["rotate"]);
        assert_eq!(told.code, 0, "{}", told.err);
        self.waiting("ES256")
    }

    /// `keys status -o json`: what that key waits for.
    fn wait_of(&self, key_id: &str) -> Value {
        let told = self.keys(&["status", "-o", "json"]);
        let report: Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}{}", told.out, told.err));
        let waits = report["waits"].as_array().unwrap();
        waits.iter().find(|wait| wait["key_id"] == key_id).cloned().unwrap_or(Value::Null)
    }

    /// Waits until the trial of that key through the public URL has ended so.
    async fn canary_is(&self, key_id: &str, state: &str) -> Value {
        self.looked_after(&format!("the canary of {key_id} has {state}"), || self.wait_of(key_id)["canary"] == state)
            .await;
        self.wait_of(key_id)
    }

    /// Waits until the file of that key has another activation, and returns it: later, as ever.
    async fn is_moved(&self, before: &Dates) -> Dates {
        self.looked_after("its activation is moved", || self.dates_of(&before.key_id).activate != before.activate)
            .await;
        assert!(self.now() < before.activate, "before it would have signed");
        let after = self.dates_of(&before.key_id);
        assert!(after.activate > before.activate, "never earlier: {before:?} {after:?}");
        assert_eq!(after.publish, before.publish);
        after
    }

    /// Waits for what happens at the next look. Who was still busy when the clock came here looks again a little later.
    async fn looked_after(&self, what: &str, mut condition: impl FnMut() -> bool) {
        for _ in 0..5 {
            for _ in 0..40 {
                if condition() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.stage.advance(LOOK).await;
        }
        panic!("it did not happen that {what}: {}", self.keys(&["status"]).out);
    }

    /// Lets time pass until `moment`, in steps of at most `step`. At each step the folder has been read, a token is issued, and
    /// every verifier knows its key. Returns the key ids that signed.
    async fn pass(&self, moment: Timestamp, step: Lifetime, verifiers: &mut [&mut Verifier]) -> Vec<String> {
        let mut signers: Vec<String> = Vec::new();
        while self.now() < moment {
            self.stage.advance(moment.since(self.now()).min(step)).await;
            self.folder_is_read().await;
            let signer = self.token_is_good(verifiers).await;
            if signers.last() != Some(&signer) {
                signers.push(signer);
            }
        }
        signers
    }

    /// Gives whoever looks after the folder the time to do so at this moment. If it was still busy at the last one, it looks at the next.
    async fn folder_is_read(&self) {
        let ring = self.stage.app.exchange().issuer().ring();
        for _ in 0..30 {
            if ring.read_at() >= self.now() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A token is issued to a valid SVID, and each verifier knows its key. Returns the key's id.
    async fn token_is_good(&self, verifiers: &mut [&mut Verifier]) -> String {
        let answer = self.exchange(&self.door).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let token = answer.body["access_token"].as_str().unwrap();
        for verifier in verifiers {
            verifier.keep_up(self.now()).await;
            verifier.verifies(token);
        }
        answer.token_header()["kid"].as_str().unwrap().to_owned()
    }

    async fn exchange(&self, door: &str) -> Answer {
        let svid = self.stage.svid();
        evidence::secret(&svid);
        let body = encode(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_SPIFFE),
            ("client_assertion", &svid),
            ("resource", ORDERS),
        ]);
        let request = self.client.post(format!("{door}/token")).body(body);
        answer(request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()).await
    }

    /// How often an activation was moved, or should have been, for that cause.
    async fn postponed(&self, cause: &str) -> f64 {
        let start = format!("countersign_signing_activations_postponed_total{{cause=\"{cause}\"}}");
        let text = self.stage.admin("/metrics").await.text;
        let found = text.lines().find_map(|line| line.strip_prefix(start.as_str())?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no {start}"))
    }

    /// Waits until that is counted: after the file, and after the log.
    async fn is_counted(&self, cause: &str) -> f64 {
        for _ in 0..500 {
            let count = self.postponed(cause).await;
            if count > 0.0 {
                return count;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing is counted for {cause}");
    }
}

fn run(directory: &Path, arguments: &[&str]) -> Told {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    let Output { status, stdout, stderr } =
        command.args(arguments).current_dir(directory).env_clear().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let told = Told { code: status.code().unwrap(), out: text(stdout), err: text(stderr) };
    evidence::keep("processes.txt", &format!("{arguments:?}\n{}{}", told.out, told.err));
    told
}

fn dates_in(folder: &Path) -> Vec<Dates> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || !name.ends_with(".json") {
            continue;
        }
        let text: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let date = |name: &str| Timestamp::parse_rfc3339(text[name].as_str().unwrap()).unwrap();
        let member = |name: &str| text["key"][name].as_str().unwrap().to_owned();
        let (key_id, algorithm) = (member("kid"), member("alg"));
        all.push(Dates { key_id, algorithm, publish: date("publish"), activate: date("activate"), file });
    }
    all
}
