//! What the clients play with.

use compliance::free_port;
use serde_json::json;

/// An app of the file.
pub(crate) struct App {
    /// No command in anybody's PATH: `start NAME` would run that when the app is gone.
    pub(crate) name: &'static str,
    script: &'static str,
    instances: Option<u32>,
    listens: bool,
}

pub(crate) const APPS: &[App] = &[
    App { name: "churn-node-server", script: "hello.js", instances: Some(2), listens: true },
    App { name: "churn-python-server", script: "hello.py", instances: Some(2), listens: true },
    App { name: "churn-single", script: "hello.py", instances: None, listens: true },
    App { name: "churn-idle", script: "idle.sh", instances: Some(3), listens: false },
    App { name: "churn-family", script: "family.sh", instances: Some(1), listens: false },
    App { name: "churn-stubborn", script: "stubborn.sh", instances: None, listens: false },
    App { name: "churn-crasher", script: "crasher.sh", instances: None, listens: false },
];

/// The file of all apps.
pub(crate) const FILE: &str = "churn.json";

const IDLE: &str = "#!/bin/sh\nexec sleep 1000\n";
/// Whose children stay when it goes, and one of which leaves its group.
const FAMILY: &str = "#!/bin/sh\nsleep 1000 &\nsetsid sleep 1000 &\nwait\n";
/// Has to be killed.
const STUBBORN: &str = "#!/bin/sh\ntrap '' INT TERM\nsleep 1000\n";
const CRASHER: &str = "#!/bin/sh\necho I will be gone\nsleep 0.2\nexit 3\n";

/// All files, for the folder where the manager runs.
pub(crate) fn files() -> Vec<(&'static str, String)> {
    let scripts = [
        ("idle.sh", IDLE),
        ("family.sh", FAMILY),
        ("stubborn.sh", STUBBORN),
        ("crasher.sh", CRASHER),
    ];
    let scripts = scripts.map(|(name, text)| (name, text.to_owned()));
    let apps: Vec<_> = APPS.iter().map(App::describe).collect();
    scripts.into_iter().chain([(FILE, json!({ "apps": apps }).to_string())]).collect()
}

impl App {
    fn describe(&self) -> serde_json::Value {
        let mut app = json!({
            "name": self.name,
            "script": self.script,
            "kill_timeout": 400,
            "min_uptime": 100,
            "restart_delay": 50,
            "max_restarts": 8,
        });
        if let Some(instances) = self.instances {
            app["instances"] = instances.into();
        }
        if self.listens {
            app["env"] = json!({ "PORT": free_port().to_string() });
        }
        app
    }
}
