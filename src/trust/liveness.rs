//! Whether a workload of a cluster still lives, as its API server says it (K8S-16 to K8S-19).
//!
//! Never asked about what was not verified, never asked twice at once about the same, and never takes silence for a yes.

mod answer;
mod verdict;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};

use aws_lc_rs::digest;
use http::StatusCode;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use url::Url;

use self::answer::{judge_object, judge_review};
use super::Endpoint;
use super::outbound::{Call, Outbound};
use super::source::locked;
use crate::clock::{Clock, Lifetime, Timestamp};
use crate::identity::{Instance, Object, SourceName};
use crate::secret::Secret;
use crate::telemetry::LivenessNumbers;

pub use self::answer::Expected;
pub use self::verdict::Verdict;

/// How long a caller waits: an API server answers within milliseconds, or is in trouble.
const LONGEST_WAIT: Lifetime = Lifetime::from_seconds(2);
/// How long an answer counts, whatever it says: so late is a deletion noticed.
const REMEMBERED: Lifetime = Lifetime::from_seconds(5);
/// How long it is remembered that there was no answer.
const FAILURE_REMEMBERED: Lifetime = Lifetime::from_seconds(1);
/// Answers that are remembered: 32 bytes and a verdict each.
const MOST_REMEMBERED: usize = 4096;
/// Questions to one API server at a time.
const MOST_AT_ONCE: usize = 16;
/// Questions to one API server that begin in one second.
const MOST_A_SECOND: u32 = 100;
/// After so long without too many questions the next one too many is news.
const QUIET: Lifetime = Lifetime::from_minutes(1);

/// What is to be said of the questions so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LivenessStatus {
    /// When the API server last answered.
    pub last_answer: Option<Timestamp>,
    /// Why the last question had no answer; `None`: it had one. Names no workload.
    pub last_error: Option<String>,
    /// When a question was last not put, because there were too many.
    pub last_turned_away: Option<Timestamp>,
}

/// Asks one API server for one source.
pub struct Liveness {
    source: String,
    endpoint: Endpoint,
    clock: Arc<dyn Clock>,
    numbers: LivenessNumbers,
    places: Arc<Semaphore>,
    /// Those that are not in use: each keeps its connection.
    clients: Mutex<Vec<Outbound>>,
    state: Mutex<State>,
}

/// SHA-256 of what is asked about: the whole token, or the objects.
type Key = [u8; 32];

#[derive(Default)]
struct State {
    remembered: HashMap<Key, (Timestamp, Verdict)>,
    asking: HashMap<Key, watch::Receiver<Option<Verdict>>>,
    /// The running second, and the questions that began in it.
    second: (i64, u32),
    status: LivenessStatus,
}

enum Question {
    Review { token: Secret<String>, audiences: Vec<String>, expected: Expected },
    Objects(Instance),
}

enum Begun {
    Known(Verdict),
    Asking(watch::Receiver<Option<Verdict>>),
}

impl Liveness {
    pub(super) fn new(source: &str, endpoint: Endpoint, clock: Arc<dyn Clock>, numbers: LivenessNumbers) -> Arc<Self> {
        Arc::new(Self {
            source: source.to_owned(),
            endpoint,
            clock,
            numbers,
            places: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            clients: Mutex::default(),
            state: Mutex::default(),
        })
    }

    /// Whether a token that we have verified counts at its API server, for one of these audiences and as what we have read in it.
    ///
    /// Waits at most 2 s. An answer counts for 5 s, for the same token and whatever it says; that there was none, for 1 s. Who asks
    /// about the same token meanwhile waits for the same answer.
    pub async fn review(
        self: &Arc<Self>,
        token: &Secret<String>,
        audiences: &BTreeSet<String>,
        expected: Expected,
    ) -> Verdict {
        let token = Secret::new("token", token.expose().clone());
        let key = hash(&["token", token.expose()]);
        self.ask(key, Question::Review { token, audiences: audiences.iter().cloned().collect(), expected }).await
    }

    /// Whether the objects that a token of ours rests on are there still: the service account, and the pod. Bounded as
    /// [`review`](Self::review). Secrets and nodes are not asked for.
    pub async fn objects(self: &Arc<Self>, instance: &Instance) -> Verdict {
        let object = |object: &Object| [object.name.clone(), object.uid.clone()];
        let (account, pod) = (object(&instance.service_account), instance.pod.as_ref().map(object));
        let key = hash(&["objects", &json!([instance.namespace, account, pod]).to_string()]);
        self.ask(key, Question::Objects(instance.clone())).await
    }

    /// Why it cannot be asked, or which of its rights our own account lacks: about a token and objects that there are not. That it
    /// could not check that token is what a good one says.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub async fn probe(self: &Arc<Self>, source: &SourceName) -> Result<(), String> {
        let nobody = || Object { name: "countersign-probe".to_owned(), uid: "none".to_owned() };
        let instance =
            |pod| Instance { source: source.clone(), namespace: "default".to_owned(), service_account: nobody(), pod };
        let audiences = BTreeSet::from(["countersign-probe".to_owned()]);
        let token = Secret::new("token", "countersign-probe".to_owned());
        for verdict in [
            self.review(&token, &audiences, Expected::default()).await,
            self.objects(&instance(Some(nobody()))).await,
            self.objects(&instance(None)).await,
        ] {
            if let Verdict::Unknown(why) = verdict {
                return Err(why);
            }
        }
        Ok(())
    }

    /// How the questions went.
    pub fn status(&self) -> LivenessStatus {
        locked(&self.state).status.clone()
    }

    async fn ask(self: &Arc<Self>, key: Key, question: Question) -> Verdict {
        let mut asking = match self.begin(key, question) {
            Begun::Known(verdict) => return verdict,
            Begun::Asking(asking) => asking,
        };
        let told = asking.wait_for(Option::is_some).await;
        told.ok()
            .and_then(|told| told.clone())
            .unwrap_or_else(|| Verdict::Unknown("the question was interrupted".to_owned()))
    }

    /// What is remembered, the question that is under way, or a new one. The question outlives the caller that asked first: others
    /// wait for it too.
    fn begin(self: &Arc<Self>, key: Key, question: Question) -> Begun {
        let now = self.clock.now();
        let mut state = locked(&self.state);
        if let Some((_, verdict)) = state.remembered.get(&key).filter(|(at, verdict)| counts(*at, verdict, now)) {
            return Begun::Known(verdict.clone());
        }
        // One whose task has died is asked again.
        if let Some(asking) = state.asking.get(&key).filter(|asking| asking.has_changed().is_ok()) {
            return Begun::Asking(asking.clone());
        }
        let second = match state.second {
            (second, count) if second == now.seconds() => (second, count.saturating_add(1)),
            _ => (now.seconds(), 1),
        };
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = match (place, second.1) {
            (Err(_), _) => Err(format!("{MOST_AT_ONCE} questions to the API server are under way")),
            (_, count) if count > MOST_A_SECOND => {
                Err(format!("{MOST_A_SECOND} questions to the API server began in this second"))
            }
            (Ok(place), _) => Ok(place),
        };
        let place = match place {
            Ok(place) => place,
            Err(why) => {
                self.numbers.answered(&self.source, "unavailable", None);
                state.turned_away(&self.source, &why, now);
                return Begun::Known(Verdict::Unknown(why));
            }
        };
        state.second = second;
        let (tell, asking) = watch::channel(None);
        state.asking.insert(key, asking.clone());
        tokio::spawn(Arc::clone(self).answer(key, question, tell, place, now));
        Begun::Asking(asking)
    }

    async fn answer(
        self: Arc<Self>,
        key: Key,
        question: Question,
        tell: watch::Sender<Option<Verdict>>,
        place: OwnedSemaphorePermit,
        began: Timestamp,
    ) {
        let verdict = tokio::select! {
            biased;
            verdict = self.put(&question) => verdict,
            () = self.clock.sleep_until(began.plus(LONGEST_WAIT)) => {
                Verdict::Unknown(format!("no whole answer of the API server within {LONGEST_WAIT}"))
            }
        };
        let now = self.clock.now();
        self.numbers.answered(&self.source, verdict.word(), Some(now.since(began)));
        let mut state = locked(&self.state);
        state.asking.remove(&key);
        state.note(&self.source, &verdict, now);
        state.remember(key, verdict.clone(), now);
        drop(state);
        drop(place);
        tell.send_replace(Some(verdict));
    }

    async fn put(&self, question: &Question) -> Verdict {
        let kept = locked(&self.clients).pop();
        let mut client = kept.unwrap_or_else(|| Outbound::new(self.endpoint.clone()).keeping_connections());
        let verdict = match question {
            Question::Review { token, audiences, expected } => {
                self.put_review(&mut client, token, audiences, expected).await
            }
            Question::Objects(instance) => self.put_objects(&mut client, instance).await,
        };
        locked(&self.clients).push(client);
        verdict.unwrap_or_else(Verdict::Unknown)
    }

    async fn put_review(
        &self,
        client: &mut Outbound,
        token: &Secret<String>,
        audiences: &[String],
        expected: &Expected,
    ) -> Result<Verdict, String> {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token.expose(), "audiences": audiences },
        });
        let call = Call {
            url: self.url(&["apis", "authentication.k8s.io", "v1", "tokenreviews"])?,
            what: "TokenReview",
            accept: "application/json",
            body: Some(body.to_string().into_bytes()),
        };
        match client.call(call).await? {
            (StatusCode::OK | StatusCode::CREATED, body) => Ok(judge_review(&body, audiences, expected)),
            (status, _) => Err(self.sentence(status, "review tokens")),
        }
    }

    async fn put_objects(&self, client: &mut Outbound, instance: &Instance) -> Result<Verdict, String> {
        let objects = [("pods", instance.pod.as_ref()), ("serviceaccounts", Some(&instance.service_account))];
        for (plural, object) in objects {
            let Some(object) = object else { continue };
            let call = Call {
                url: self.url(&["api", "v1", "namespaces", &instance.namespace, plural, &object.name])?,
                what: plural,
                // What a pod runs and with which values is none of our business.
                accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json",
                body: None,
            };
            let (status, body) = client.call(call).await?;
            match judge_object(status, &body, plural, object, self.clock.now()) {
                Some(Verdict::Alive) => {}
                Some(verdict) => return Ok(verdict),
                None => return Err(self.sentence(status, "get pods and service accounts")),
            }
        }
        Ok(Verdict::Alive)
    }

    fn url(&self, segments: &[&str]) -> Result<Url, String> {
        let mut url = self.endpoint.url.clone();
        url.path_segments_mut().map_err(|()| "the URL has no path".to_owned())?.pop_if_empty().extend(segments);
        Ok(url)
    }

    /// Why an answer is none.
    fn sentence(&self, status: StatusCode, doing: &str) -> String {
        let file = self.endpoint.token.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let url = self.endpoint.url.origin().ascii_serialization();
        match status.as_u16() {
            401 => format!(
                "401 of {url}: our own token in {file}, read just now, was not accepted; is the file renewed, and is it for this API server?"
            ),
            403 => format!(
                "403 of {url}: the account of our token in {file} may not {doing}; bind the role of deploy/kubernetes/liveness.yaml to it"
            ),
            429 => format!("429 of {url}: it has too much to do"),
            200 => format!("the answer of {url} is not what an API server says"),
            code => format!("{code} of {url} instead of an answer: is it the API server?"),
        }
    }
}

impl State {
    fn note(&mut self, source: &str, verdict: &Verdict, now: Timestamp) {
        let trouble = verdict.trouble().map(str::to_owned);
        if !matches!(verdict, Verdict::Unknown(_)) {
            self.status.last_answer = Some(now);
        }
        // Said when it changes, not at every question.
        if trouble != self.status.last_error {
            match &trouble {
                Some(why) => tracing::warn!(source, "liveness of {source}: {why}"),
                None => tracing::info!(source, "liveness of {source}: all is well again"),
            }
            self.status.last_error = trouble;
        }
    }

    /// Said when it begins, not at every question.
    fn turned_away(&mut self, source: &str, why: &str, now: Timestamp) {
        let before = self.status.last_turned_away.replace(now);
        if before.is_none_or(|before| before > now || now.since(before) > QUIET) {
            tracing::warn!(source, "liveness of {source}: callers are turned away, {why}");
        }
    }

    fn remember(&mut self, key: Key, verdict: Verdict, now: Timestamp) {
        if self.remembered.len() >= MOST_REMEMBERED {
            self.remembered.retain(|_, (at, verdict)| counts(*at, verdict, now));
        }
        // When even those that count are too many, this one is asked about again.
        if self.remembered.len() < MOST_REMEMBERED {
            self.remembered.insert(key, (now, verdict));
        }
    }
}

/// Whether an answer of `at` counts at `now`. One from ahead does not: the clock was set back.
fn counts(at: Timestamp, verdict: &Verdict, now: Timestamp) -> bool {
    let long = if verdict.trouble().is_some() { FAILURE_REMEMBERED } else { REMEMBERED };
    at <= now && now.since(at) < long
}

fn hash(parts: &[&str; 2]) -> Key {
    let mut key = [0; 32];
    let digest = digest::digest(&digest::SHA256, parts.join("\n").as_bytes());
    key.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    key
}

impl fmt::Debug for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "liveness of {}", self.source)
    }
}
