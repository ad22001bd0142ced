//! What a pod or a service account is called, and whether it is being deleted: its `PartialObjectMetadata`.
//!
//! Never the whole object: nothing here asks what a pod runs.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde_json::json;

use super::Core;
use super::api::Caller;
use super::objects::Kind;
use super::status::Refusal;

type Place = Path<(String, String)>;

pub(super) async fn pod(
    State(core): State<Arc<Core>>,
    Path(place): Place,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    metadata(&core, &headers, Kind::Pod, &place)
}

pub(super) async fn service_account(
    State(core): State<Arc<Core>>,
    Path(place): Place,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    metadata(&core, &headers, Kind::ServiceAccount, &place)
}

fn metadata(core: &Core, headers: &HeaderMap, kind: Kind, place: &(String, String)) -> Result<Response, Refusal> {
    let (namespace, name) = place;
    let what = format!("get resource \"{}\" in API group \"\" in the namespace \"{namespace}\"", kind.plural());
    Caller::of(core, headers)?.must_be_admin(&what)?;
    let state = core.state();
    let object = state.objects.get(kind, namespace, name).ok_or_else(|| Refusal::not_found(kind.plural(), name))?;
    let mut metadata = json!({ "name": name, "namespace": namespace, "uid": object.uid });
    if let (Some(at), Some(members)) = (object.deleted_at, metadata.as_object_mut()) {
        members.insert("deletionTimestamp".to_owned(), json!(at.to_rfc3339()));
    }
    let answer = json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata });
    Ok(Json(answer).into_response())
}
