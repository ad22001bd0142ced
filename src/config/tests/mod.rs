//! Whole files in, settings or whole reports out.

mod binding;
mod bundles;
mod delegation;
mod faults;
mod forms;
mod includes;
mod listen;
mod oidc;
mod published;
mod push;
mod reader;

use super::scratch::Folder;
use super::{Environment, Loaded, Report, load};

/// A configuration around one list of sources.
pub(super) fn with_source(source: &str) -> String {
    format!(
        "issuer: https://id.example\n\
         listen: {{ tls: {{ certificate: a, key: b }} }}\n\
         resources: [{{ name: orders, audience: https://orders.example, scopes: [read] }}]\n\
         rules: [{{ name: a rule, from: {{ source: a, everyone: true }}, to: {{ resource: orders, scopes: [read] }} }}]\n\
         trust:\n  - {}\n",
        source.trim().replace('\n', "\n    ")
    )
}

/// Loads one file of that text, and gives it back with its folder still there.
pub(super) fn load_text(name: &str, text: &str) -> Result<Loaded, Report> {
    let folder = Folder::new(name);
    load(&folder.write("countersign.yaml", text), &Environment::default())
}

/// `line:column path: message (hint)` of every finding.
pub(super) fn said(report: &Report) -> Vec<String> {
    let line = |finding: &super::Finding| {
        let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{}:{} {}: {}{hint}", finding.line, finding.column, finding.path, finding.message)
    };
    report.findings().iter().map(line).collect()
}

/// The whole report of a file that is refused, in the form of [`said`].
pub(super) fn refused(name: &str, text: &str) -> Vec<String> {
    said(&load_text(name, text).unwrap_err())
}
