//! Decides what we are and where: issuer, identity domain, addresses, folders.
//!
//! Must never let plain HTTP leave the machine (TOK-09, MD-01).

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Desk, duration, parsed};
use crate::clock::Lifetime;
use crate::config::field::Field;
use crate::config::ledger::Said;
use crate::config::net;
use crate::config::place::PlaceId;
use crate::config::raw::{Listen, Main, RateText, Signing, Size, Text, Tls};
use crate::exchange::{AuditSettings, Grants, LimitSettings, Rate};
use crate::identity::{IssuerUrl, SourceName, TrustDomain};
use crate::issue::{DEFAULT_ROTATION, LONGEST_ROTATION, SHORTEST_ROTATION, SigningSettings};
use crate::reason::quoted;
use crate::store::{SMALLEST_JOURNAL, StateSettings};
use crate::telemetry::TelemetrySettings;
use crate::wire::{AdminSettings, GrpcSettings, ListenSettings, TlsFiles, TlsSettings};

/// Where workloads come in, unless set.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8484);
/// Where health and metrics are read, unless set.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9443);

/// Space for decisions, unless set.
const DECISIONS: u64 = 256 << 20;
/// The most that may be asked for: a number with a unit too many is a mistake.
const MOST_DECISIONS: u64 = 64 << 30;

/// Requests at a time that may be asked for: each may hold its 64 KiB, and a number with a digit too many is a mistake.
const MOST_IN_FLIGHT: usize = 100_000;

/// The server's own part of the configuration.
#[derive(Debug)]
pub(in crate::config) struct Server {
    pub(in crate::config) issuer: IssuerUrl,
    pub(in crate::config) identity_domain: TrustDomain,
    pub(in crate::config) listen: ListenSettings,
    pub(in crate::config) admin: AdminSettings,
    pub(in crate::config) signing: SigningSettings,
    pub(in crate::config) canary_ca: Option<PathBuf>,
    pub(in crate::config) state: StateSettings,
    pub(in crate::config) audit: AuditSettings,
    pub(in crate::config) limits: LimitSettings,
    pub(in crate::config) grpc: GrpcSettings,
    pub(in crate::config) telemetry: TelemetrySettings,
    pub(in crate::config) grants: Vec<Grants>,
    pub(in crate::config) dpop_nonce: bool,
}

/// The parts of it that other checks need as soon as they are known.
pub(in crate::config) struct Names {
    pub(in crate::config) issuer: Option<IssuerUrl>,
    pub(in crate::config) identity_domain: Option<TrustDomain>,
    /// The source whose agent gives us an X.509-SVID to show, and where it is named.
    pub(in crate::config) svid_of: Option<(SourceName, PlaceId)>,
}

/// Builds the server's part.
pub(in crate::config) fn server(desk: Desk<'_>, main: &Main, top: PlaceId) -> (Names, Option<Server>) {
    let issuer = main.issuer.try_map(desk.ledger, issuer);
    let identity_domain = identity_domain(desk, main, &issuer);
    let listen = listen(desk, main, &issuer);
    let admin = admin(desk, main);
    let signing = signing(desk, &main.signing);
    let canary_ca = match &main.signing {
        Field::Absent => Some(None),
        Field::Bad => None,
        Field::Given { value, .. } => value.canary_ca.try_map(desk.ledger, |text| desk.path(text)).optional(),
    };
    let state = folder(desk, main.state.given().map(|(raw, _)| &raw.directory), &main.state, "./state");
    if let (Some(listen), Some(admin)) = (&listen, &admin)
        && listen.address == *admin
        && admin.port() != 0
    {
        let at = main.admin.given().map_or(top, |(_, at)| at);
        desk.ledger.problem(
            at,
            Said::new(format!("`listen` and `admin` are both {admin}")).hint("give one of them another port"),
        );
    }
    if let (Some(keys), Some(state)) = (&signing, &state)
        && keys.path().starts_with(state)
    {
        let at = main.signing.given().map_or(top, |(_, at)| at);
        let said = Said::new("signing keys may not be inside the state folder");
        desk.ledger.problem(
            at,
            said.hint("state may be shared and copied, private keys may not: give the keys a folder of their own"),
        );
    }
    let decisions = match &main.state {
        Field::Absent => Some(DECISIONS),
        Field::Bad => None,
        Field::Given { value, .. } => value.decisions.try_map(desk.ledger, journal_size).or(DECISIONS),
    };
    let audit = audit(desk, main);
    let limits = limits(desk, main);
    let grpc = grpc(desk, main);
    let telemetry = telemetry(desk, main);
    let grants = grants(desk, main);
    let dpop_nonce = dpop_nonce(desk, main);
    let issuer = issuer.needed(desk.ledger, top, "issuer");
    let svid_of = || {
        let (source, at) = main.listen.given()?.0.tls.given()?.0.spiffe.given()?;
        Some((SourceName::parse(source).ok()?, at))
    };
    let names = Names { issuer: issuer.clone(), identity_domain: identity_domain.clone(), svid_of: svid_of() };
    let server = || {
        Some(Server {
            issuer: issuer?,
            identity_domain: identity_domain?,
            listen: listen?,
            admin: AdminSettings { address: admin? },
            signing: signing?,
            canary_ca: canary_ca?,
            state: StateSettings { directory: state?, decisions: decisions? },
            audit: audit?,
            limits: limits?,
            grpc: grpc?,
            telemetry: telemetry?,
            grants: grants?,
            dpop_nonce: dpop_nonce?,
        })
    };
    (names, server())
}

/// The grants that are served: the assertion grant only where it is switched on.
fn grants(desk: Desk<'_>, main: &Main) -> Option<Vec<Grants>> {
    let assertion = match &main.assertion_grant {
        Field::Absent => false,
        Field::Bad => return None,
        Field::Given { value, .. } => value.enabled.try_map(desk.ledger, |enabled| Ok(*enabled)).or(false)?,
    };
    Some(Grants::ALL.into_iter().filter(|grant| *grant != Grants::Assertion || assertion).collect())
}

/// Whether proofs must repeat a nonce of ours.
fn dpop_nonce(desk: Desk<'_>, main: &Main) -> Option<bool> {
    match &main.dpop {
        Field::Absent => Some(false),
        Field::Bad => None,
        Field::Given { value, .. } => value.nonce.try_map(desk.ledger, |nonce| Ok(*nonce)).or(false),
    }
}

fn audit(desk: Desk<'_>, main: &Main) -> Option<AuditSettings> {
    let (raw, _) = match main.audit.given() {
        Some(given) => given,
        None => return (!main.audit.is_written()).then_some(AuditSettings { stdout: true, required: false }),
    };
    let flag = |field: &Field<bool>, default: bool| field.try_map(desk.ledger, |value| Ok(*value)).or(default);
    let (stdout, required) = (flag(&raw.stdout, true), flag(&raw.required, false));
    Some(AuditSettings { stdout: stdout?, required: required? })
}

fn grpc(desk: Desk<'_>, main: &Main) -> Option<GrpcSettings> {
    let reflection = match &main.grpc {
        Field::Absent => Some(true),
        Field::Bad => None,
        Field::Given { value, .. } => value.reflection.try_map(desk.ledger, |value| Ok(*value)).or(true),
    };
    Some(GrpcSettings { reflection: reflection? })
}

fn limits(desk: Desk<'_>, main: &Main) -> Option<LimitSettings> {
    let standard = LimitSettings::default();
    let raw = match &main.limits {
        Field::Absent => return Some(standard),
        Field::Bad => return None,
        Field::Given { value, .. } => value,
    };
    let per_identity = raw.per_identity.try_map(desk.ledger, |RateText(text)| {
        let said = || Said::new(format!("{} is not a rate", quoted(text)));
        Rate::parse(text).ok_or_else(|| said().hint(format!("50/s or 90/m, from 1 to {}", Rate::MOST)))
    });
    let in_flight = raw.in_flight.try_map(desk.ledger, |places| match usize::try_from(*places) {
        Ok(places) if (1..=MOST_IN_FLIGHT).contains(&places) => Ok(places),
        _ => Err(Said::new(format!("{places} requests at a time are too few or too many"))
            .hint(format!("from 1 to {MOST_IN_FLIGHT}"))),
    });
    Some(LimitSettings { per_identity: per_identity.optional()?, in_flight: in_flight.or(standard.in_flight)? })
}

fn telemetry(desk: Desk<'_>, main: &Main) -> Option<TelemetrySettings> {
    let raw = match &main.telemetry {
        Field::Absent => return Some(TelemetrySettings::default()),
        Field::Bad => return None,
        Field::Given { value, .. } => value,
    };
    let otlp = raw.otlp.try_map(desk.ledger, |text| match cfg!(feature = "otlp") {
        true => net::collector(text),
        false => Err(Said::new("this build sends no telemetry").hint("build countersign with the feature `otlp`")),
    });
    Some(TelemetrySettings { otlp: otlp.optional()? })
}

/// The space for decisions, in bytes.
fn journal_size(Size(text): &Size) -> Result<u64, Said> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(Said::new(format!("{} is not a size", quoted(text))).hint("for example 256MiB")),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes) if (SMALLEST_JOURNAL..=MOST_DECISIONS).contains(&bytes) => Ok(bytes),
        _ => Err(Said::new(format!("{} is too little or too much space for decisions", quoted(text)))
            .hint("from 1MiB to 64GiB")),
    }
}

fn issuer(text: &String) -> Result<IssuerUrl, Said> {
    let trimmed = text.trim();
    if trimmed != text && IssuerUrl::parse(trimmed).is_ok() {
        return Err(
            Said::new("the issuer has white space around it").hint("issuers are compared byte for byte: take it away")
        );
    }
    if text.contains('@') {
        return Err(Said::new("an issuer has no user information")
            .hint("take the part before `@` away")
            .hiding_the_line());
    }
    parsed("an issuer", IssuerUrl::parse)(text)
}

fn identity_domain(desk: Desk<'_>, main: &Main, issuer: &Field<IssuerUrl>) -> Option<TrustDomain> {
    match main.identity_domain.try_map(desk.ledger, parsed("a trust domain", TrustDomain::parse)) {
        Field::Given { value, .. } => Some(value),
        Field::Bad => None,
        Field::Absent => {
            let (issuer, at) = issuer.given()?;
            let host = issuer.host();
            let domain = TrustDomain::parse(&host).ok();
            if domain.is_none() {
                let said = Said::new(format!("the issuer's host {} is no name for identities", quoted(&host)));
                desk.ledger.problem(at, said.hint("set `identity_domain`"));
            }
            domain
        }
    }
}

fn listen(desk: Desk<'_>, main: &Main, issuer: &Field<IssuerUrl>) -> Option<ListenSettings> {
    let absent = Listen::default();
    let (raw, raw_at) = match &main.listen {
        Field::Absent => (&absent, None),
        Field::Bad => return None,
        Field::Given { value, at } => (value, Some(*at)),
    };
    let address = raw.address.try_map(desk.ledger, |text| net::listener(text));
    let tls = tls(desk, &raw.tls);
    if let (Some((address, at)), Some(None)) = (address.given(), &tls)
        && !address.ip().is_loopback()
    {
        let said = Said::new(format!("without TLS the listener must be on a loopback address, and {address} is none"));
        desk.ledger.problem(at, said.hint("set `listen.tls`, or listen on 127.0.0.1"));
        return None;
    }
    if let (Some((issuer, at)), Some(Some(_))) = (issuer.given(), &tls)
        && issuer.is_plain_http()
    {
        let said = Said::new("an `http` issuer is taken only while the listener has no TLS");
        let listen_at = raw_at.map(|at| desk.ledger.get(at).span.line);
        desk.ledger.problem(
            at,
            said.maybe_hint(listen_at.map(|line| format!("write https://, or take `tls` on line {line} away"))),
        );
    }
    Some(ListenSettings { address: address.or(LISTEN)?, tls: tls? })
}

/// Either files or a source. That the source is there is checked once all are known.
fn tls(desk: Desk<'_>, tls: &Field<Tls>) -> Option<Option<TlsSettings>> {
    let (raw, at) = match tls {
        Field::Absent => return Some(None),
        Field::Bad => return None,
        Field::Given { value, at } => (value, *at),
    };
    if raw.spiffe.is_written() {
        let source = raw.spiffe.try_map(desk.ledger, parsed("a source name", SourceName::parse)).optional()?;
        if raw.certificate.is_written() || raw.key.is_written() {
            let said = Said::new("with `spiffe` there is no `certificate` and no `key`");
            desk.ledger.problem(at, said.hint("files, or our own X.509-SVID from the agent of a source: keep one"));
            return None;
        }
        return Some(source.map(TlsSettings::Svid));
    }
    let certificate =
        raw.certificate.try_map(desk.ledger, |text| desk.path(text)).needed(desk.ledger, at, "certificate");
    let key = raw.key.try_map(desk.ledger, |text| desk.path(text)).needed(desk.ledger, at, "key");
    Some(Some(TlsSettings::Files(TlsFiles { certificate: certificate?, key: key? })))
}

fn admin(desk: Desk<'_>, main: &Main) -> Option<SocketAddr> {
    match &main.admin {
        Field::Absent => Some(ADMIN),
        Field::Bad => None,
        Field::Given { value, .. } => value.address.try_map(desk.ledger, |text| net::listener(text)).or(ADMIN),
    }
}

fn signing(desk: Desk<'_>, section: &Field<Signing>) -> Option<SigningSettings> {
    let absent = Signing::default();
    let (raw, at) = match section {
        Field::Absent => (&absent, None),
        Field::Bad => return None,
        Field::Given { value, at } => (value, Some(*at)),
    };
    let directory = raw.directory.try_map(desk.ledger, |text| desk.path(text));
    let rotate = raw.rotate.try_map(desk.ledger, |text| duration(text).and_then(rotation));
    let files = raw.files.try_map(desk.ledger, |text| desk.path(text));
    if let Some(at) = at
        && files.is_written()
    {
        let also = [("directory", directory.is_written()), ("rotate", rotate.is_written())];
        let also: Vec<_> =
            also.into_iter().filter(|(_, written)| *written).map(|(key, _)| format!("`{key}`")).collect();
        if !also.is_empty() {
            let said = Said::new(format!("with `files` there is no {}", also.join(" and no ")));
            desk.ledger.problem(
                at,
                said.hint("`files` are keys that somebody else writes and rotates, `directory` are keys that we make: keep one"),
            );
            return None;
        }
        return files.optional()?.map(|path| SigningSettings::Files { path });
    }
    let path = directory.or(crate::config::files::resolve(desk.file, "./keys"));
    Some(SigningSettings::Directory { path: path?, rotate: rotate.or(DEFAULT_ROTATION)? })
}

fn rotation(rotate: Lifetime) -> Result<Lifetime, Said> {
    if (SHORTEST_ROTATION..=LONGEST_ROTATION).contains(&rotate) {
        return Ok(rotate);
    }
    Err(Said::new(format!("a key signs for between {SHORTEST_ROTATION} and {LONGEST_ROTATION}, not for {rotate}")))
}

/// A folder of ours: `written` is its key, inside of `section`.
fn folder<T>(desk: Desk<'_>, written: Option<&Text>, section: &Field<T>, default: &str) -> Option<PathBuf> {
    let absent = crate::config::files::resolve(desk.file, default);
    match (written, section) {
        (Some(text), _) => text.try_map(desk.ledger, |text| desk.path(text)).or(absent),
        (None, Field::Absent) => Some(absent),
        (None, _) => None,
    }
}
