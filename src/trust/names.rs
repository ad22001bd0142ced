//! Which addresses a name has for one call: looked up once, and then the one that answered (design §7).
//!
//! Without this, a name that changes its address between discovery and the keys would lead us where the operator never pointed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::source::locked;

/// More addresses of one name are not tried.
const MOST_ADDRESSES: usize = 16;

/// How a name becomes addresses.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The addresses of one source's host.
#[derive(Clone)]
pub(super) struct PinnedNames {
    lookup: Lookup,
    pinned: Arc<Mutex<Option<Vec<IpAddr>>>>,
}

impl PinnedNames {
    pub(super) fn new(lookup: Lookup) -> Self {
        Self { lookup, pinned: Arc::default() }
    }

    /// A new call begins: the name is looked up anew.
    pub(super) fn forget(&self) {
        *locked(&self.pinned) = None;
    }

    /// What is left of the call goes to this address. Nothing changes for a host that is an address already.
    pub(super) fn answered_by(&self, address: IpAddr) {
        if let Some(pinned) = &mut *locked(&self.pinned) {
            *pinned = vec![address];
        }
    }
}

impl Resolve for PinnedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, pinned) = (Arc::clone(&self.lookup), Arc::clone(&self.pinned));
        Box::pin(async move {
            let known = locked(&pinned).clone();
            let addresses = match known {
                Some(addresses) => addresses,
                None => {
                    let mut found = lookup(name.as_str().to_owned()).await?;
                    found.truncate(MOST_ADDRESSES);
                    locked(&pinned).get_or_insert(found).clone()
                }
            };
            // The port is the URL's.
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// The machine's own resolver.
pub(super) fn system() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}
