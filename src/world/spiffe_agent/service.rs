//! The five methods of the Workload API: the header rule, the counting, and streams that follow every change.
//!
//! Never sends the same message twice in a row on one stream.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::clock::Timestamp;

use super::agent::{Agent, Answer, Rpc};
use super::answers;
use super::proto::spiffe_workload_api_server::SpiffeWorkloadApi;
use super::proto::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svidRequest, X509svidResponse,
};

/// The header that every call must carry, with the value `true` (Workload Endpoint §3): a browser or a proxy can't send it by accident.
const SECURITY_HEADER: &str = "workload.spiffe.io";

type Messages<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

pub(super) struct Service {
    agent: Arc<Agent>,
    stop: CancellationToken,
}

impl Service {
    pub(super) const fn new(agent: Arc<Agent>, stop: CancellationToken) -> Self {
        Self { agent, stop }
    }

    fn admit<M>(&self, rpc: Rpc, request: &Request<M>) -> Result<(), Status> {
        self.agent.counts.of(rpc).fetch_add(1, Ordering::Relaxed);
        let mut values = request.metadata().get_all(SECURITY_HEADER).iter();
        let only = values.next().filter(|_| values.next().is_none());
        if only.is_none_or(|value| value != "true") {
            self.agent.counts.without_header.fetch_add(1, Ordering::Relaxed);
            return Err(Status::invalid_argument("security header missing from request"));
        }
        willing(&self.agent)
    }

    /// The message of now, and again after every change that changes it.
    fn follow<M: Clone + PartialEq + Send + 'static>(
        &self,
        make: fn(&Agent) -> Result<M, Status>,
        due: fn(&Agent) -> Timestamp,
    ) -> Result<Response<Messages<M>>, Status> {
        // A refusal of the first message is the answer to the call itself.
        make(&self.agent)?;
        let follower = Follower {
            agent: Arc::clone(&self.agent),
            changes: self.agent.pulse.subscribe(),
            stop: self.stop.clone(),
            make,
            due,
            sent: None,
            ended: false,
        };
        Ok(Response::new(Box::pin(stream::unfold(follower, |mut follower| async move {
            let item = follower.next().await?;
            Some((item, follower))
        }))))
    }
}

/// One open stream.
struct Follower<M> {
    agent: Arc<Agent>,
    changes: watch::Receiver<u64>,
    stop: CancellationToken,
    make: fn(&Agent) -> Result<M, Status>,
    /// When a new message is due without any change.
    due: fn(&Agent) -> Timestamp,
    sent: Option<M>,
    ended: bool,
}

impl<M: Clone + PartialEq> Follower<M> {
    async fn next(&mut self) -> Option<Result<M, Status>> {
        if self.ended {
            return None;
        }
        loop {
            // Marked as seen before looking, so that a change in between is not lost.
            self.changes.borrow_and_update();
            if self.stop.is_cancelled() {
                return self.end(Status::unavailable("the agent is shutting down"));
            }
            match willing(&self.agent).and_then(|()| (self.make)(&self.agent)) {
                Err(status) => return self.end(status),
                Ok(message) if self.sent.as_ref() != Some(&message) => {
                    self.sent = Some(message.clone());
                    return Some(Ok(message));
                }
                Ok(_same) => {}
            }
            self.wait().await;
        }
    }

    async fn wait(&mut self) {
        let due = (self.due)(&self.agent);
        tokio::select! {
            // The agent holds the sender, and this holds the agent.
            _ = self.changes.changed() => {}
            () = self.stop.cancelled() => {}
            () = self.agent.domain.surroundings().clock().sleep_until(due) => {}
        }
    }

    fn end(&mut self, status: Status) -> Option<Result<M, Status>> {
        self.ended = true;
        Some(Err(status))
    }
}

fn willing(agent: &Agent) -> Result<(), Status> {
    match agent.state().answer {
        Answer::Truth | Answer::NoBundles => Ok(()),
        Answer::PermissionDenied => Err(Status::permission_denied("no identity issued")),
        Answer::InvalidArgument => Err(Status::invalid_argument("the request is not one that this agent takes")),
        Answer::Unavailable => Err(Status::unavailable("the agent cannot reach its server")),
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Service {
    type FetchX509SVIDStream = Messages<X509svidResponse>;
    type FetchX509BundlesStream = Messages<X509BundlesResponse>;
    type FetchJWTBundlesStream = Messages<JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        self.admit(Rpc::FetchX509Svid, &request)?;
        self.follow(answers::x509_svids, Agent::x509_svids_due)
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.admit(Rpc::FetchX509Bundles, &request)?;
        self.follow(answers::x509_bundles, |_| Timestamp::MAX)
    }

    async fn fetch_jwtsvid(&self, request: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        self.admit(Rpc::FetchJwtSvid, &request)?;
        answers::jwt_svids(&self.agent, request.get_ref()).map(Response::new)
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.admit(Rpc::FetchJwtBundles, &request)?;
        self.follow(answers::jwt_bundles, |_| Timestamp::MAX)
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        self.admit(Rpc::ValidateJwtSvid, &request)?;
        answers::validate(&self.agent, request.get_ref()).map(Response::new)
    }
}
