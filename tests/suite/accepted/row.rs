//! One row of the table: a credential, a request, and everything that the answer says.

use super::house::House;
use crate::stage::{API, JWT_BEARER, JWT_SPIFFE, encode};

/// Something that must be granted.
#[derive(Clone, Copy)]
pub struct Row {
    /// The requirements that it checks, then what is accepted.
    pub name: &'static str,
    /// The credential that is shown.
    pub credential: fn(&House) -> String,
    /// How it is shown.
    pub request: Request,
    /// What comes out.
    pub gets: Gets,
    /// How often, one after the other.
    pub times: usize,
}

/// A request to the token endpoint.
#[derive(Clone, Copy)]
pub struct Request {
    pub assertion_type: &'static str,
    /// What is asked beside grant type and credential.
    pub ask: &'static [(&'static str, &'static str)],
    /// The bytes of the form.
    pub body: fn(&[(&str, &str)]) -> String,
    pub query: &'static str,
    pub content_type: &'static str,
    pub headers: &'static [(&'static str, &'static str)],
}

/// What a granted token and its record say.
#[derive(Clone, Copy)]
pub struct Gets {
    pub source: &'static str,
    pub kind: &'static str,
    pub sub: fn() -> String,
    /// The flat claims about who it is.
    pub flat: &'static [(&'static str, &'static str)],
    pub target: Target,
    pub scope: &'static str,
    /// `None`: the SPIFFE ID.
    pub client_id: Option<&'static str>,
    /// `exp` − `iat` in seconds.
    pub life: i64,
    pub rule: &'static str,
}

/// A resource of the house.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub audience: &'static str,
    pub algorithm: &'static str,
    pub typ: &'static str,
    /// The resource's own claims.
    pub claims: &'static [(&'static str, &'static str)],
}

pub const ORDERS: Target =
    Target { name: "orders", audience: "https://orders.example", algorithm: "ES256", typ: "at+jwt", claims: &[] };
pub const SEARCH: Target = Target {
    name: "search",
    audience: "https://search.example",
    algorithm: "RS256",
    typ: "JWT",
    claims: &[("azp", "orders-app")],
};
pub const VAULT: Target =
    Target { name: "vault", audience: "urn:example:vault", algorithm: "ES256", typ: "at+jwt", claims: &[] };

/// A form as any client library sends it.
const FORM: Request = Request {
    assertion_type: JWT_SPIFFE,
    ask: &[("resource", "https://orders.example")],
    body: encode,
    query: "",
    content_type: "application/x-www-form-urlencoded",
    headers: &[],
};

/// The standard workload shows a JWT-SVID.
pub const SVID: Row = Row {
    name: "",
    credential: |house| house.stage.svid(),
    request: FORM,
    gets: Gets {
        source: "prod",
        kind: "jwt_svid",
        sub: || API.to_owned(),
        flat: &[("namespace", "shop"), ("service_account", "api")],
        target: ORDERS,
        scope: "read write",
        client_id: None,
        life: 300,
        rule: "the shop's SPIFFE workload may use orders",
    },
    times: 1,
};

/// A workload of another trust domain, of which the configuration knows no path.
pub const GUEST: Row =
    Row { gets: Gets { flat: &[], scope: "read", rule: "guests may read orders", ..SVID.gets }, ..SVID };

/// The standard pod of the cluster eu1 shows its projected token.
pub const POD: Row = Row {
    name: "",
    credential: |house| house.stage.pod_token("eu1"),
    request: Request { assertion_type: JWT_BEARER, ..FORM },
    gets: Gets {
        source: "eu1",
        kind: "kubernetes",
        sub: || "spiffe://id.example/k8s/eu1/ns/shop/sa/api".to_owned(),
        flat: &[("cluster", "eu1"), ("namespace", "shop"), ("service_account", "api")],
        rule: "the shop may use orders from every cluster",
        ..SVID.gets
    },
    times: 1,
};
