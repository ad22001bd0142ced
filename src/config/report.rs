//! Decides how problems look: under the line they are in for people, one object each for programs.
//!
//! Must never show more of a file than the lines that problems are in.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{Annotation, AnnotationKind, Level, Origin, Renderer, Snippet};

use super::ledger::Said;
use super::place::{Place, written};
use crate::problem::Severity;

/// One problem or lint, with its place.
#[derive(Debug, Clone)]
pub struct Finding {
    /// Does it refuse the configuration?
    pub severity: Severity,
    /// The file, as it was named.
    pub file: PathBuf,
    /// The way to the value, such as `rules[2].from.namespace`; empty for the whole file.
    pub path: String,
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What helps, where something is known.
    pub hint: Option<String>,
    bytes: std::ops::Range<usize>,
    hides_line: bool,
}

/// One file that was read: its name as shown and its text.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) name: PathBuf,
    pub(super) text: String,
}

/// Everything that is to be said of one configuration, in the order of files and lines.
#[derive(Debug, Clone, Default)]
pub struct Report {
    findings: Vec<Finding>,
    sources: Vec<Source>,
    dropped: usize,
}

impl Report {
    pub(super) fn new((said, dropped): (Vec<(Severity, Place, Said)>, usize), sources: Vec<Source>) -> Self {
        let mut placed: Vec<(usize, Finding)> = said
            .into_iter()
            .map(|(severity, place, said)| {
                let finding = Finding {
                    severity,
                    file: sources.get(place.file).map(|source| source.name.clone()).unwrap_or_default(),
                    path: written(&place.path),
                    line: place.span.line,
                    column: place.span.column,
                    message: said.message,
                    hint: said.hint,
                    bytes: place.span.bytes,
                    hides_line: said.hides_line,
                };
                (place.file, finding)
            })
            .collect();
        placed.sort_by_key(|(file, finding)| (*file, finding.line, finding.column));
        let mut findings: Vec<Finding> = placed.into_iter().map(|(_, finding)| finding).collect();
        // What is hidden for one finding is hidden for its neighbours on the line.
        let hidden: BTreeSet<(PathBuf, u64)> = findings
            .iter()
            .filter(|finding| finding.hides_line)
            .map(|finding| (finding.file.clone(), finding.line))
            .collect();
        for finding in &mut findings {
            finding.hides_line = hidden.contains(&(finding.file.clone(), finding.line));
        }
        findings.dedup_by(|next, last| {
            next.path == last.path && next.message == last.message && next.file == last.file && next.line == last.line
        });
        Self { findings, sources, dropped }
    }

    /// Problems and lints.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many of them refuse the configuration.
    pub fn problems(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity == Severity::Problem).count()
    }

    /// For people: each finding under its line. `color` adds ANSI styles.
    pub fn render(&self, color: bool) -> String {
        let renderer = match color {
            true => Renderer::styled(),
            false => Renderer::plain(),
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii).term_width(160);
        let mut shown: Vec<String> = self.findings.iter().map(|finding| self.render_one(finding, &renderer)).collect();
        if self.dropped > 0 {
            shown.push(format!("and {} more", self.dropped));
        }
        shown.join("\n\n")
    }

    /// For programs: an array of `path, file, line, column, message, hint, severity`.
    pub fn to_json(&self) -> serde_json::Value {
        let object = |finding: &Finding| {
            serde_json::json!({
                "severity": match finding.severity {
                    Severity::Problem => "problem",
                    Severity::Lint => "lint",
                },
                "path": finding.path,
                "file": finding.file.display().to_string(),
                "line": finding.line,
                "column": finding.column,
                "message": finding.message,
                "hint": finding.hint,
            })
        };
        self.findings.iter().map(object).collect()
    }

    fn render_one(&self, finding: &Finding, renderer: &Renderer) -> String {
        let level = match finding.severity {
            Severity::Problem => Level::ERROR.with_name("problem"),
            Severity::Lint => Level::WARNING.with_name("lint"),
        };
        let title = match finding.path.as_str() {
            "" => finding.message.clone(),
            path => format!("{path}: {}", finding.message),
        };
        let name = finding.file.display().to_string();
        let (title, origin) = (level.primary_title(title), Origin::path(&name));
        let mut group = match self.snippet(finding, &name) {
            Some(snippet) => title.element(snippet),
            // A file that could not be read has no lines to show, and a line with a password is not shown.
            None if finding.hides_line => {
                title.element(origin.line(as_usize(finding.line)).char_column(as_usize(finding.column)))
            }
            None => title.element(origin),
        };
        if let Some(hint) = &finding.hint {
            group = group.element(Level::HELP.with_name("hint").message(hint.as_str()));
        }
        renderer.render(&[group])
    }

    /// The one line that the finding begins in, and not the file around it.
    fn snippet<'a>(&'a self, finding: &Finding, name: &'a str) -> Option<Snippet<'a, Annotation<'a>>> {
        let text = &self.sources.iter().find(|source| source.name == finding.file)?.text;
        if text.is_empty() || finding.hides_line {
            return None;
        }
        let line_number = as_usize(finding.line);
        let start = text.split_inclusive('\n').take(line_number.saturating_sub(1)).map(str::len).sum::<usize>();
        let line = text.get(start..)?.lines().next().unwrap_or_default();
        let from = finding.bytes.start.saturating_sub(start).min(line.len());
        let to = finding.bytes.end.saturating_sub(start).clamp(from, line.len());
        // A place of no length still gets one mark under it.
        let to = to.max(from + line.get(from..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8));
        line.get(from..to)?;
        let annotation = AnnotationKind::Primary.span(from..to);
        Some(Snippet::source(line).path(name).line_start(line_number).annotation(annotation))
    }
}

fn as_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
