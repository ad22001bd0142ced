//! Keys in files: JWK Sets and SPIFFE bundle documents, read again every few seconds.
//!
//! A file that cannot be read, or is no key set, never takes the last good keys away; one without keys does (BUN-02).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::authorities::Authorities;
use super::engine::Shared;
use super::origin::Origin;
use super::source::{Confirmed, SourceKeys};
use super::{IssuerKeys, SourceKind, SourceSettings, bundle_endpoint};
use crate::clock::Lifetime;
use crate::jose::{KeyPurpose, KeySet};
use crate::problem::{Place, Problem};

/// Real documents have a few kilobytes; this is five hundred keys of the common sizes.
const MOST_BYTES: u64 = 1024 * 1024;
/// Contents are compared, not watched: a ConfigMap is swapped by a symlink, and network mounts tell nobody.
const POLL: Lifetime = Lifetime::from_seconds(5);

/// Reads the file again and again until the source is gone.
pub(super) async fn run(keys: Arc<SourceKeys>, shared: Arc<Shared>) {
    loop {
        shared.keep_soon(&keys);
        let next = shared.clock.now().plus(POLL);
        keys.plan(Some(next));
        tokio::select! {
            () = keys.cancel.cancelled() => return,
            () = shared.clock.sleep_until(next) => {}
        }
        let (of, within) = (Arc::clone(&keys), Arc::clone(&shared));
        // A mount may hang: reading is nothing for the threads of requests.
        if tokio::task::spawn_blocking(move || attempt(&of, &within)).await.is_err() {
            keys.failed("reading its file was interrupted".to_owned());
        }
    }
}

/// One attempt. Blocks on the file system.
pub(super) fn attempt(keys: &Arc<SourceKeys>, shared: &Shared) {
    let Some((path, purpose)) = keys.origin.file() else { return };
    let now = shared.clock.now();
    keys.began(now, false);
    match read(path, purpose) {
        Ok((set, authorities)) => {
            shared.ledger.publish(keys, set, Confirmed::At(now));
            keys.succeeded();
            if purpose == KeyPurpose::SpiffeBundle {
                keys.vouches_by(authorities, Confirmed::At(now));
            }
        }
        Err(why) => {
            if purpose == KeyPurpose::SpiffeBundle {
                keys.authorities.note(keys.name.as_str(), Some(why.clone()));
            }
            keys.failed(why);
        }
    }
}

/// The keys, and of a SPIFFE bundle the X.509 authorities beside them.
fn read(path: &Path, purpose: KeyPurpose) -> Result<(KeySet, Authorities), String> {
    let bytes = read_bounded(path, MOST_BYTES)?;
    let fault = |fault: String| format!("{} is no key set: {fault}", path.display());
    let keys = KeySet::parse(&bytes, purpose).map_err(|why| fault(why.to_string()))?;
    let authorities = match purpose {
        KeyPurpose::SpiffeBundle => Authorities::of_bundle(&bytes).map_err(fault)?,
        _ => Authorities::default(),
    };
    Ok((keys, authorities))
}

/// A regular file of at most `most` bytes.
///
/// # Errors
/// A sentence with the path.
pub(super) fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let about = std::fs::metadata(path).map_err(fault)?;
    if !about.is_file() {
        // Opening a pipe would wait for its writer.
        return Err(format!("{} is no file", path.display()));
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(fault)?.take(most + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > most {
        return Err(format!("{} has more than {most} bytes", path.display()));
    }
    Ok(bytes)
}

/// Compares the keys of file sources: one key in two that share an issuer is refused with both names (design §3, K8S-09).
///
/// A file that cannot be read now is a lint: it may come later. Reads files; places are `<section>[i]…`.
pub fn check_key_files(section: &'static str, sources: &[SourceSettings]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut earlier: Vec<(&SourceSettings, KeySet)> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let origin = Origin::of(source);
        let file = match &origin {
            Origin::Push { first, .. } => Some((first.as_path(), KeyPurpose::JwkSet)),
            other => other.file(),
        };
        let element = Place::element(section, index);
        problems.extend(bundle_endpoint::check_first(&origin, &element.key("spiffe").key("bundle").key("first")));
        let Some((path, purpose)) = file else { continue };
        let place = match &source.kind {
            SourceKind::Spiffe { .. } => element.key("spiffe").key("bundle").key("file"),
            SourceKind::Kubernetes { keys: IssuerKeys::Push { .. }, .. } => {
                element.key("kubernetes").key("keys").key("push").key("first")
            }
            SourceKind::Kubernetes { .. } => element.key("kubernetes").key("keys").key("file"),
            SourceKind::Oidc { .. } => element.key("oidc").key("keys").key("file"),
            SourceKind::People { .. } => element.key("keys").key("file"),
        };
        let set = match read(path, purpose) {
            Ok((set, _)) => set,
            Err(why) => {
                problems.push(Problem::lint(place, why, "nothing by this source can be verified until it can be read"));
                continue;
            }
        };
        for (other, their) in &earlier {
            if source.shares_issuer_with(other) {
                problems.extend(shared_key(&place, source, &set, other, their));
            }
        }
        earlier.push((source, set));
    }
    problems
}

fn shared_key(
    place: &Place,
    source: &SourceSettings,
    set: &KeySet,
    other: &SourceSettings,
    their: &KeySet,
) -> Option<Problem> {
    let common = |key: &&Arc<crate::jose::VerificationKey>| {
        their.keys().iter().any(|other| other.thumbprint() == key.thumbprint())
    };
    let key = set.keys().iter().find(common)?;
    Some(Problem::new(
        place.clone(),
        format!(
            "key thumbprint {} is in {} and in {}: a token by it could be from either",
            key.thumbprint(),
            other.name,
            source.name
        ),
        "clusters that were cloned have one signing key: give one of them a key of its own, or make them one source",
    ))
}
