//! Some keys of an app, to be laid over an [`AppSpec`].

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use super::AppSpec;

/// Keys whose own keys are set one by one.
const INNER: [&str; 2] = ["env", "logs"];

/// Keys of [`AppSpec`] with new values. `null` gives a key its default back; within `env` it removes a
/// variable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patch {
    keys: Map<String, Value>,
}

/// A patch whose outcome is no app.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct PatchError(String);

impl Patch {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key; `value` is what the key's type serializes to.
    ///
    /// # Panics
    ///
    /// When `value` cannot be written as JSON: none of the types of a spec.
    pub fn set(&mut self, key: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).expect("a part of a spec is plain data");
        self.keys.insert(key.to_owned(), value);
    }

    /// Gives a key its default back.
    pub fn unset(&mut self, key: &str) {
        self.keys.insert(key.to_owned(), Value::Null);
    }

    /// What a key is set to.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key)
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Lays another one over this one. Of `env` and `logs` single keys are replaced, of all else the
    /// whole.
    pub fn merge(&mut self, over: Self) {
        for (key, value) in over.keys {
            match (self.keys.get_mut(&key), value) {
                (Some(Value::Object(old)), Value::Object(new)) if INNER.contains(&key.as_str()) => {
                    old.extend(new);
                }
                (_, value) => {
                    self.keys.insert(key, value);
                }
            }
        }
    }

    /// The app that comes of the defaults and this.
    ///
    /// # Errors
    ///
    /// When a key is unknown, or a value is not of its type.
    pub fn apply_to_default(self) -> Result<AppSpec, PatchError> {
        self.apply_to(&AppSpec::default())
    }

    /// The app that comes of this one and the patch; of `env` and `logs` single keys are replaced.
    ///
    /// # Errors
    ///
    /// When a key is unknown, or a value is not of its type.
    ///
    /// # Panics
    ///
    /// Never: a spec is an object.
    pub fn apply_to(self, spec: &AppSpec) -> Result<AppSpec, PatchError> {
        let whole = serde_json::to_value(spec).expect("a spec is plain data");
        let Value::Object(keys) = whole else { unreachable!("a spec is an object") };
        let mut base = Self { keys };
        base.merge(self);
        base.keys.retain(|_, value| !value.is_null());
        for key in INNER {
            if let Some(Value::Object(inner)) = base.keys.get_mut(key) {
                inner.retain(|_, value| !value.is_null());
            }
        }
        serde_json::from_value(Value::Object(base.keys))
            .map_err(|error| PatchError(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Instances;

    #[test]
    fn a_patch_changes_what_it_names_and_null_is_the_default() {
        let mut patch = Patch::new();
        patch.set("name", "api");
        patch.set("instances", Instances::Count(3));
        patch.set("env", [("A", "1")].into_iter().collect::<std::collections::BTreeMap<_, _>>());
        let spec = patch.apply_to_default().unwrap();
        assert_eq!((spec.name.as_str(), spec.instances), ("api", Instances::Count(3)));
        let mut patch = Patch::new();
        patch.unset("instances");
        patch.set("env", serde_json::json!({"B": "2", "A": null}));
        let spec = patch.apply_to(&spec).unwrap();
        assert_eq!(spec.instances, Instances::default());
        assert_eq!(spec.env.into_iter().collect::<Vec<_>>(), [("B".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn an_unknown_key_is_named() {
        let mut patch = Patch::new();
        patch.set("instence", 1);
        let error = patch.apply_to_default().unwrap_err().to_string();
        assert!(error.contains("instence"), "{error}");
    }
}
