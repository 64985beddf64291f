//! What programs tell of themselves in the words of `@pm2/io`, and what they answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the program of a worker has told of itself over its channel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What [`AppRequest::Trigger`](super::apps::AppRequest::Trigger) can ask for: `axm:action`, each with
    /// its `action_name`. pm2's `axm_actions`.
    #[serde(default)]
    pub actions: Vec<Value>,
    /// By name, with `value`, `unit`, `type` and `historic`: the last `axm:monitor`. pm2's `axm_monitor`.
    #[serde(default)]
    pub metrics: Map<String, Value>,
    /// `axm:option:configuration`. pm2's `axm_options`.
    #[serde(default)]
    pub options: Map<String, Value>,
}

impl Told {
    /// Whether it has told nothing.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.actions.is_empty() && self.metrics.is_empty() && self.options.is_empty()
    }

    /// Of the actions, in the order in which the program told them.
    pub fn action_names(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().filter_map(|action| action.get("action_name")?.as_str())
    }
}

/// What one worker answered to an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionReply {
    /// Whose worker.
    pub app: String,
    /// The worker's id.
    pub id: u32,
    /// What the program gave back, if it did.
    pub reply: Option<Value>,
    /// Why there is no answer, as a sentence.
    pub error: Option<String>,
}
