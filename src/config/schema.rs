//! Decides nothing: it publishes the form of the configuration as a JSON Schema.
//!
//! Must never be written by hand: it is made of the same types that files are read into.

use serde_json::Value;

use super::raw::Main;

/// The JSON Schema (draft 2020-12) of the main file. Editors check with it while people write.
pub fn schema() -> Value {
    let mut settings = schemars::generate::SchemaSettings::draft2020_12();
    settings.inline_subschemas = false;
    settings.into_generator().into_root_schema_for::<Main>().to_value()
}
