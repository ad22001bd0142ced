//! Decides of whom it is asked whether a workload of a cluster still lives.
//!
//! Must never send a token of ours to an address that it was not given for, and never ask without one.

use super::Desk;
use crate::config::ledger::Said;
use crate::config::net;
use crate::config::place::PlaceId;
use crate::config::raw::{Liveness, TokenReview};
use crate::reason::quoted;
use crate::trust::{Endpoint, IssuerKeys};

/// `Some(None)`: nobody is asked.
pub(super) fn liveness(
    desk: Desk<'_>,
    raw: &Liveness,
    keys: Option<&IssuerKeys>,
    at: PlaceId,
) -> Option<Option<Endpoint>> {
    let asked = match raw {
        Liveness::Word(word) if word == "none" => return Some(None),
        Liveness::Word(word) => {
            let said = Said::new(format!("{} is not `none`", quoted(word)));
            desk.ledger.problem(at, said.hint("or `{ token_review: {} }`: the API server is asked"));
            return None;
        }
        Liveness::Asked(asked) => asked,
    };
    if !asked.token_review.is_written() {
        desk.ledger.problem(at, Said::new("`token_review` is missing").hint("or write `liveness: none`"));
    }
    let (raw, at) = asked.token_review.given()?;
    token_review(desk, raw, keys, at).map(Some)
}

fn token_review(desk: Desk<'_>, raw: &TokenReview, keys: Option<&IssuerKeys>, at: PlaceId) -> Option<Endpoint> {
    let url = raw.url.try_map(desk.ledger, |text| net::key_url(text, false)).optional()?;
    let ca = raw.ca.try_map(desk.ledger, |text| desk.path(text)).optional()?;
    let token = raw.token.try_map(desk.ledger, |text| desk.path(text)).optional()?;
    let endpoint = match (url, keys) {
        (Some(url), _) => Endpoint { url, ca, token },
        (None, Some(IssuerKeys::ApiServer(server))) => {
            Endpoint { url: server.url.clone(), ca: ca.or(server.ca.clone()), token: token.or(server.token.clone()) }
        }
        (None, Some(_)) => {
            let said = Said::new("`url` is missing").hint("it is the API server's own where keys are by `api_server`");
            desk.ledger.problem(at, said);
            return None;
        }
        // What is wrong with the keys has been said.
        (None, None) => return None,
    };
    if endpoint.token.is_none() {
        let said = Said::new("`token` is missing: no API server reviews tokens for somebody without one");
        desk.ledger.problem(
            at,
            said.hint("a file with the token of an account that has the role of deploy/kubernetes/liveness.yaml"),
        );
        return None;
    }
    Some(endpoint)
}
