//! A bundle endpoint by either profile: how it is spoiled and mended.
//!
//! Where a source by `https_web` is told of another name or authority, one by `https_spiffe` is shown another X.509-SVID.

use tokio::net::TcpSocket;

use super::super::*;
use super::beside::hold_port;
use super::{Column, Fault};
use crate::clock::SystemClock;
use crate::identity::SpiffeId;
use crate::trust::EndpointProfile;
use crate::world::Behaviour;
use crate::world::spiffe_agent::{BUNDLE_PATH, BundleEndpoint, PretendTrustDomain};
use crate::world::x509::{CertificateAuthority, svid_params};

/// The identity of the server that shows an X.509-SVID.
const SERVER: &str = "spiffe://prod.example/spire/server";

/// One endpoint, and the files of the source that asks it.
pub(super) struct Bundles {
    endpoint: BundleEndpoint,
    by_svid: bool,
    ca: PathBuf,
    first: PathBuf,
    /// The bundle before the rotation.
    old: String,
}

impl Bundles {
    pub(super) async fn start(stand: &Stand, column: Column, of: &PretendTrustDomain) -> Self {
        let endpoint = BundleEndpoint::start(of, &stand.stop).await.unwrap();
        let old = of.spiffe_bundle().to_string();
        let (ca, first) = (stand.write("ca.crt", endpoint.ca_pem()), stand.write("first.json", &old));
        let by_svid = column == Column::BundleSpiffe;
        let served = Self { endpoint, by_svid, ca, first, old };
        served.show_itself();
        served
    }

    /// The keys of a source that asks it.
    pub(super) fn keys(&self) -> SpiffeKeys {
        let profile = match self.by_svid {
            true => EndpointProfile::Spiffe { server_id: SpiffeId::parse(SERVER).unwrap(), first: self.first.clone() },
            false => EndpointProfile::Web { ca: Some(self.ca.clone()) },
        };
        SpiffeKeys::BundleEndpoint { url: url::Url::parse(self.endpoint.url()).unwrap(), profile }
    }

    pub(super) fn requests(&self) -> u64 {
        self.endpoint.requests(BUNDLE_PATH)
    }

    pub(super) async fn stop(&self) -> Option<TcpSocket> {
        self.endpoint.stop().await;
        let address = self.endpoint.url().trim_start_matches("https://").trim_end_matches(BUNDLE_PATH);
        hold_port(address.parse().unwrap())
    }

    /// Somebody serves the bundle before the rotation, number and all.
    pub(super) fn replay(&self) {
        self.behave(Behaviour::Body(self.old.clone().into_bytes()));
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        self.endpoint.behave(BUNDLE_PATH, behaviour);
    }

    /// It is another server, and nothing is wrong with its certificate but that.
    pub(super) fn be_another(&self) {
        let domain = self.endpoint.domain();
        if self.by_svid {
            let other = PretendTrustDomain::new("other.example", domain.surroundings()).unwrap();
            return self.endpoint.show_svid(&other, "spiffe://other.example/spire/server").unwrap();
        }
        let mut params = svid_params(SERVER, SystemClock.now(), Lifetime::from_hours(24)).unwrap();
        params.subject_alt_names = vec![rcgen::SanType::DnsName("other.example".try_into().unwrap())];
        self.endpoint.show(&self.endpoint.authority().issue(&params).unwrap()).unwrap();
    }

    /// Another authority vouches for it, and nothing is wrong with its certificate but that.
    pub(super) fn be_vouched_for_by_another(&self) {
        if self.by_svid {
            let domain = self.endpoint.domain();
            let other = PretendTrustDomain::new(domain.name(), domain.surroundings()).unwrap();
            return self.endpoint.show_svid(&other, SERVER).unwrap();
        }
        let other = CertificateAuthority::for_servers("other").unwrap();
        std::fs::write(&self.ca, other.pem()).unwrap();
    }

    /// After an older bundle the old authority is the one that is left, and what it signed is shown still.
    pub(super) async fn mend(&self, fault: Fault) {
        let domain = self.endpoint.domain();
        if self.by_svid && fault == Fault::Empty {
            // Nobody can vouch for it any more: it is made anew, and an operator carries its bundle over.
            domain.rotate_x509().unwrap();
            domain.withdraw_old_x509();
            std::fs::write(&self.first, domain.spiffe_bundle().to_string()).unwrap();
        }
        std::fs::write(&self.ca, self.endpoint.ca_pem()).unwrap();
        if fault != Fault::RolledBack {
            self.show_itself();
        }
        self.endpoint.behave_well();
        self.endpoint.start_again().await.unwrap();
    }

    fn show_itself(&self) {
        match self.by_svid {
            true => self.endpoint.show_svid(self.endpoint.domain(), SERVER).unwrap(),
            false => self.endpoint.show_name().unwrap(),
        }
    }

    /// The bundle before the rotation.
    pub(super) fn old(&self) -> Value {
        serde_json::from_str(&self.old).unwrap()
    }
}
