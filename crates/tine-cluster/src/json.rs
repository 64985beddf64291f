//! What programs say to each other.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A message: some JSON, as the other side wrote it. It is known to be well formed, and is not read
/// until somebody wants to know what it says, so passing it on costs nothing.
#[derive(Clone, Debug)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The message that says `value`.
    ///
    /// # Errors
    ///
    /// When the value has no form in JSON: a map with keys that are no strings, for example.
    pub fn of(value: &impl Serialize) -> serde_json::Result<Self> {
        serde_json::value::to_raw_value(value).map(Self)
    }

    /// What it says.
    ///
    /// # Errors
    ///
    /// When it says something else than a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.get())
    }

    /// Its text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// As `serde_json` calls it.
    #[must_use]
    pub const fn raw(&self) -> &RawValue {
        &self.0
    }
}

impl From<Box<RawValue>> for Json {
    fn from(raw: Box<RawValue>) -> Self {
        Self(raw)
    }
}

/// By their text: `1.0` is not `1`.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json {}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(from).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_keeps_its_text_and_says_what_it_said() {
        let message: Json = serde_json::from_str(r#"{"price": 1.10}"#).unwrap();
        assert_eq!(message.get(), r#"{"price": 1.10}"#);
        let said: std::collections::BTreeMap<String, f64> = message.parse().unwrap();
        assert_eq!(said["price"].to_string(), "1.1");
        assert!(message.parse::<u8>().is_err());
    }
}
