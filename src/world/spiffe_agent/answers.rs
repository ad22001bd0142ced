//! The messages of the Workload API, each made anew from the whole truth of the moment.
//!
//! Never remembers what was sent before: what is missing in a message is gone (WAP-06).

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tonic::Status;

use super::super::WorldFault;
use super::agent::{Agent, Answer, Registration};
use super::proto::{
    JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
    X509BundlesResponse, X509svid, X509svidResponse,
};

pub(super) fn jwt_bundles(agent: &Agent) -> Result<JwtBundlesResponse, Status> {
    let state = agent.state();
    if state.answer == Answer::NoBundles {
        return Ok(JwtBundlesResponse::default());
    }
    let mut bundles = BTreeMap::from([(agent.domain.id(), agent.domain.jwt_bundle())]);
    bundles.extend(state.federated.values().map(|domain| (domain.id(), domain.jwt_bundle())));
    bundles.extend(state.also.clone());
    Ok(JwtBundlesResponse { bundles })
}

pub(super) fn x509_bundles(agent: &Agent) -> Result<X509BundlesResponse, Status> {
    let state = agent.state();
    if state.answer == Answer::NoBundles {
        return Ok(X509BundlesResponse::default());
    }
    let mut bundles = BTreeMap::from([(agent.domain.id(), agent.domain.x509_bundle())]);
    bundles.extend(state.federated.values().map(|domain| (domain.id(), domain.x509_bundle())));
    Ok(X509BundlesResponse { crl: Vec::new(), bundles })
}

pub(super) fn x509_svids(agent: &Agent) -> Result<X509svidResponse, Status> {
    let (registrations, federated) = {
        let state = agent.state();
        let federated = state.federated.values().map(|domain| (domain.id(), domain.x509_bundle())).collect();
        (state.registrations.clone(), federated)
    };
    let bundle = agent.domain.x509_bundle();
    let entry = |registration: Registration| {
        let issued = agent.x509_svid(&registration.spiffe_id).map_err(|fault| internal(&fault))?;
        Ok(X509svid {
            x509_svid: issued.svid.der().to_vec(),
            x509_svid_key: issued.svid.key().expose().clone(),
            spiffe_id: registration.spiffe_id,
            bundle: bundle.clone(),
            hint: registration.hint,
        })
    };
    let svids: Vec<_> = entitled(registrations)?.into_iter().map(entry).collect::<Result<_, Status>>()?;
    Ok(X509svidResponse { svids, crl: Vec::new(), federated_bundles: federated })
}

pub(super) fn jwt_svids(agent: &Agent, request: &JwtsvidRequest) -> Result<JwtsvidResponse, Status> {
    if request.audience.is_empty() {
        return Err(Status::invalid_argument("audience must be specified"));
    }
    let (registrations, lifetime) = {
        let state = agent.state();
        (state.registrations.clone(), state.jwt_svid_lifetime)
    };
    let asked =
        |registration: &Registration| request.spiffe_id.is_empty() || registration.spiffe_id == request.spiffe_id;
    let audiences: Vec<&str> = request.audience.iter().map(String::as_str).collect();
    let entry = |registration: Registration| {
        let svid =
            agent.domain.mint(&registration.spiffe_id, &audiences, lifetime).map_err(|fault| internal(&fault))?;
        Ok(Jwtsvid { spiffe_id: registration.spiffe_id, svid, hint: registration.hint })
    };
    let chosen = entitled(registrations.into_iter().filter(asked).collect())?;
    let svids = chosen.into_iter().map(entry).collect::<Result<_, Status>>()?;
    Ok(JwtsvidResponse { svids })
}

/// Checks what a real agent checks: signature by the trust domain of `sub`, audience, end.
pub(super) fn validate(agent: &Agent, request: &ValidateJwtsvidRequest) -> Result<ValidateJwtsvidResponse, Status> {
    let federated: Vec<_> = agent.state().federated.values().cloned().collect();
    let refused = || Status::invalid_argument("token is not a valid JWT-SVID for this audience");
    let (domain, claims) = [agent.domain.clone()]
        .into_iter()
        .chain(federated)
        .find_map(|domain| domain.open(&request.svid).map(|claims| (domain, claims)))
        .ok_or_else(refused)?;
    let sub = claims.get("sub").and_then(Value::as_str).filter(|sub| sub.starts_with(&format!("{}/", domain.id())));
    let sub = sub.ok_or_else(refused)?.to_owned();
    let alive =
        claims.get("exp").and_then(Value::as_i64).is_some_and(|exp| agent.domain.surroundings().now().seconds() < exp);
    if !alive || !names_audience(&claims, &request.audience) {
        return Err(refused());
    }
    Ok(ValidateJwtsvidResponse { spiffe_id: sub, claims: Some(as_struct(claims)) })
}

fn entitled(registrations: Vec<Registration>) -> Result<Vec<Registration>, Status> {
    if registrations.is_empty() {
        return Err(Status::permission_denied("no identity issued"));
    }
    Ok(registrations)
}

fn names_audience(claims: &Map<String, Value>, audience: &str) -> bool {
    match claims.get("aud") {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one == audience),
        _ => false,
    }
}

fn internal(fault: &WorldFault) -> Status {
    Status::internal(fault.to_string())
}

fn as_struct(members: Map<String, Value>) -> prost_types::Struct {
    prost_types::Struct { fields: members.into_iter().map(|(name, value)| (name, as_value(value))).collect() }
}

fn as_value(value: Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(truth),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.into_iter().map(as_value).collect() })
        }
        Value::Object(members) => Kind::StructValue(as_struct(members)),
    };
    prost_types::Value { kind: Some(kind) }
}
