//! Decides where a trust domain's bundle comes from, when no agent brings it.
//!
//! Must never work out how an endpoint is authenticated from anything but its profile (FED-01), and never read the files that it names.

use super::{Desk, parsed};
use crate::config::ledger::Said;
use crate::config::net;
use crate::config::place::PlaceId;
use crate::config::raw::{Bundle, Profile};
use crate::identity::SpiffeId;
use crate::trust::{EndpointProfile, SpiffeKeys};

/// A file, or an endpoint by one of its two profiles.
pub(super) fn bundle(desk: Desk<'_>, raw: &Bundle, at: PlaceId) -> Option<SpiffeKeys> {
    let ledger = desk.ledger;
    let file = raw.file.try_map(ledger, |text| desk.path(text)).optional();
    let url = raw.url.try_map(ledger, |text| net::key_url(text, true)).optional();
    let profile = raw.profile.try_map(ledger, |profile| Ok(*profile));
    let ca = raw.ca.try_map(ledger, |text| desk.path(text)).optional();
    let server_id = raw.server_id.try_map(ledger, parsed("a SPIFFE ID of a workload", SpiffeId::parse));
    let first = raw.first.try_map(ledger, |text| desk.path(text));
    let one = desk.exactly_one(at, &[("file", raw.file.is_written()), ("url", raw.url.is_written())])?;
    let without = |beside: &str, keys: &[(&str, bool)]| {
        let written: Vec<&str> = keys.iter().filter(|(_, written)| *written).map(|(key, _)| *key).collect();
        for key in &written {
            ledger.problem(at, Said::new(format!("`{key}` has no meaning beside `{beside}`")));
        }
        written.is_empty().then_some(())
    };
    let (with_ca, with_first) = (("ca", raw.ca.is_written()), ("first", raw.first.is_written()));
    let with_id = ("server_id", raw.server_id.is_written());
    if one == "file" {
        without("file", &[("profile", raw.profile.is_written()), with_ca, with_id, with_first])?;
        return Some(SpiffeKeys::BundleFile(file??));
    }
    let profile = match profile.needed(ledger, at, "profile")? {
        Profile::HttpsWeb => {
            without("profile: https_web", &[with_id, with_first])?;
            EndpointProfile::Web { ca: ca? }
        }
        Profile::HttpsSpiffe => {
            without("profile: https_spiffe", &[with_ca])?;
            let (id, first) = (server_id.needed(ledger, at, "server_id"), first.needed(ledger, at, "first"));
            EndpointProfile::Spiffe { server_id: id?, first: first? }
        }
    };
    Some(SpiffeKeys::BundleEndpoint { url: url??, profile })
}
