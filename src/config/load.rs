//! Decides whether the files on disk are a configuration.
//!
//! Must never give back settings while one problem is known.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::build::{self, Built, Desk, Server};
use super::field::Field;
use super::files;
use super::ledger::{Ledger, Said};
use super::place::{Place, PlaceId};
use super::raw::{Included, Main};
use super::read;
use super::report::{Report, Source};
use super::tree::{self, Node};
use super::{Configuration, Environment, Loaded, checks};
use crate::policy::{ResourceSettings, RuleSettings, TestSettings};
use crate::trust::SourceSettings;

/// Readings of files that do not come to rest.
const MOST_READINGS: usize = 4;
/// Rules of all files: each is compared with each other one.
const MAX_RULES: usize = 10_000;

/// Reads `path` and what it includes. It blocks on files; it reads no key, bundle, certificate or token.
///
/// # Errors
/// A [`Report`] with every problem that was found, and the lints beside them.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Report> {
    let ledger = Ledger::default();
    let mut opened = Opened::default();
    let configuration = opened.main(path, &ledger).and_then(|(main, top)| {
        let included = opened.included(&main, &ledger);
        let parts = Parts::build(&opened, &ledger, environment, &main, &included, top);
        checks::run(&parts, &opened, &ledger);
        parts.into_configuration(&opened)
    });
    let refused = ledger.problems() > 0;
    let report = Report::new(ledger.into_said(), opened.sources);
    match configuration {
        Some(configuration) if !refused => Ok(Loaded { configuration, lints: report }),
        _ => Err(report),
    }
}

/// As [`load`], and reads until two readings in a row are alike, four times at most: files that are being replaced one by one are not taken
/// half old, half new.
///
/// # Errors
/// As [`load`].
pub fn load_settled(path: &Path, environment: &Environment) -> Result<Loaded, Report> {
    let hash = |loaded: &Result<Loaded, Report>| loaded.as_ref().ok().map(|loaded| loaded.configuration.hash.clone());
    let mut loaded = load(path, environment);
    for _ in 1..MOST_READINGS {
        let again = load(path, environment);
        let at_rest = hash(&loaded) == hash(&again);
        loaded = again;
        if at_rest {
            break;
        }
    }
    loaded
}

/// The files that were read, each with its tree. The number of a file is its place in both lists.
#[derive(Default)]
pub(super) struct Opened {
    sources: Vec<Source>,
    trees: Vec<Option<Node>>,
    seen: BTreeSet<PathBuf>,
}

impl Opened {
    /// The tree of a file.
    pub(super) fn tree(&self, file: usize) -> Option<&Node> {
        self.trees.get(file)?.as_ref()
    }

    fn name(&self, file: usize) -> &Path {
        self.sources.get(file).map_or(Path::new(""), |source| &source.name)
    }

    fn main(&mut self, path: &Path, ledger: &Ledger) -> Option<(Main, PlaceId)> {
        let text = files::read(path).unwrap_or_else(|message| {
            ledger.problem(ledger.place(Place::file(0)), Said::new(message));
            String::new()
        });
        let unreadable = ledger.problems() > 0;
        let file = self.add(path, text);
        let top = ledger.place(Place::file(file));
        if unreadable {
            return None;
        }
        self.parse(file, ledger);
        match read::read(self.tree(file)?, top, ledger) {
            Field::Given { value, at } => Some((value, at)),
            Field::Absent | Field::Bad => None,
        }
    }

    /// The files that `include` names, each once, in the order of the entries and of their names.
    fn included(&mut self, main: &Main, ledger: &Ledger) -> Vec<(usize, Included)> {
        let Some((patterns, _)) = main.include.given() else { return Vec::new() };
        let mut included = Vec::new();
        for (pattern, at) in patterns.iter().filter_map(Field::given) {
            let paths = files::matching(self.name(0), pattern).unwrap_or_else(|message| {
                ledger.problem(at, Said::new(message));
                vec![PathBuf::new()]
            });
            if paths.is_empty() {
                ledger.lint(at, Said::new("no file fits this pattern"));
            }
            for path in paths.into_iter().filter(|path| !path.as_os_str().is_empty()) {
                included.extend(self.include(&path, at, ledger));
            }
        }
        included
    }

    fn include(&mut self, path: &Path, at: PlaceId, ledger: &Ledger) -> Option<(usize, Included)> {
        if self.seen.contains(&canonical(path)) {
            return None;
        }
        if self.sources.len() >= files::MAX_FILES {
            ledger.problem(at, Said::new(format!("a configuration has at most {} files", files::MAX_FILES)));
            return None;
        }
        match files::read(path) {
            Err(message) => {
                ledger.problem(at, Said::new(format!("{}: {message}", path.display())));
                None
            }
            Ok(text) => {
                let file = self.add(path, text);
                self.parse(file, ledger);
                let top = ledger.place(Place::file(file));
                match read::read(self.tree(file)?, top, ledger) {
                    Field::Given { value, .. } => Some((file, value)),
                    Field::Absent | Field::Bad => None,
                }
            }
        }
    }

    fn add(&mut self, path: &Path, text: String) -> usize {
        self.seen.insert(canonical(path));
        self.sources.push(Source { name: path.to_owned(), text });
        self.trees.push(None);
        self.sources.len() - 1
    }

    fn parse(&mut self, file: usize, ledger: &Ledger) {
        let Some(source) = self.sources.get(file) else { return };
        match tree::parse(&source.text) {
            Ok(node) => {
                if let Some(tree) = self.trees.get_mut(file) {
                    *tree = Some(node);
                }
            }
            Err(fault) => {
                let at = ledger.place(Place { file, path: Vec::new(), span: fault.span });
                ledger.problem(at, Said::new(fault.message).maybe_hint(fault.hint));
            }
        }
    }

    fn hash(&self) -> String {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for source in &self.sources {
            // The length first, so that no two lists of files have one input.
            context.update(&(source.text.len() as u64).to_be_bytes());
            context.update(source.text.as_bytes());
        }
        let mut text = String::with_capacity(64);
        for byte in context.finish().as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// One name for a file that has several.
fn canonical(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_missing| path.to_owned())
}

/// What could be built of the whole configuration, and where it stands.
pub(super) struct Parts {
    pub(super) names: build::Names,
    pub(super) server: Option<Server>,
    pub(super) sources: Built<SourceSettings>,
    pub(super) subjects: Built<SourceSettings>,
    pub(super) resources: Built<ResourceSettings>,
    pub(super) rules: Built<RuleSettings>,
    pub(super) tests: Built<TestSettings>,
    /// The resources that `only` names, with their places.
    pub(super) only: Vec<(String, PlaceId)>,
}

impl Parts {
    fn build(
        opened: &Opened,
        ledger: &Ledger,
        environment: &Environment,
        main: &Main,
        included: &[(usize, Included)],
        top: PlaceId,
    ) -> Self {
        let desk = Desk { ledger, file: opened.name(0), environment };
        let (names, server) = build::server(desk, main, top);
        let sources = build::sources(desk, &main.trust, top);
        let subjects = build::subjects(desk, &main.subjects);
        let resources = build::resources(desk, &main.resources, top);
        let mut rules = build::rules(desk, &main.rules, None);
        let mut tests = build::tests(desk, &main.tests);
        let mut only = Vec::new();
        for (file, raw) in included {
            let desk = Desk { file: opened.name(*file), ..desk };
            let bound = build::only(desk, &raw.only);
            let allowed = bound.as_ref().map(|names| names.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
            rules.append(build::rules(desk, &raw.rules, allowed.as_deref()));
            tests.append(build::tests(desk, &raw.tests));
            only.extend(bound.into_iter().flatten());
        }
        if rules.made.len() > MAX_RULES {
            ledger.problem(top, Said::new(format!("a configuration has at most {MAX_RULES} rules")));
            rules.made.truncate(MAX_RULES);
        }
        if rules.made.is_empty() && rules.whole {
            let said = Said::new("there is no rule").hint("everything is refused that no rule allows");
            match included.is_empty() {
                true => ledger.problem(top, said),
                false => ledger.lint(top, said),
            }
        }
        Self { names, server, sources, subjects, resources, rules, tests, only }
    }

    fn into_configuration(self, opened: &Opened) -> Option<Configuration> {
        let server = self.server?;
        Some(Configuration {
            issuer: server.issuer,
            identity_domain: server.identity_domain,
            listen: server.listen,
            admin: server.admin,
            signing: server.signing,
            canary_ca: server.canary_ca,
            state: server.state,
            audit: server.audit,
            grpc: server.grpc,
            limits: server.limits,
            telemetry: server.telemetry,
            grants: server.grants,
            dpop_nonce: server.dpop_nonce,
            sources: self.sources.into_values(),
            subjects: self.subjects.into_values(),
            resources: self.resources.into_values(),
            rules: self.rules.into_values(),
            tests: self.tests.into_values(),
            files: opened.sources.iter().map(|source| source.name.clone()).collect(),
            hash: opened.hash(),
        })
    }
}
