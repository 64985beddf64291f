//! The servers of `compliance/servers`: every byte of their answers is known, and they have versions.

use std::fs;

use crate::build;
use crate::home::Home;
use crate::who::Who;

/// A server program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Without a handler of any signal.
    Node,
    /// Finishes what it is doing at SIGINT and SIGTERM.
    NodeHandlers,
    /// `http.server`.
    Python,
    /// A static program.
    Go,
    /// A thread for each connection.
    Ruby,
    /// `com.sun.net.httpserver`.
    Java,
    /// Two worker processes.
    Nginx,
}

/// What a server is to become at its next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One that serves, and says this number.
    Serves(u32),
    /// One that ends at once.
    Crashes,
    /// One that runs and never listens.
    IsSilent,
}

impl Serving {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Node,
        Self::NodeHandlers,
        Self::Python,
        Self::Go,
        Self::Ruby,
        Self::Java,
        Self::Nginx,
    ];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::NodeHandlers => "node with handlers",
            Self::Python => "python",
            Self::Go => "go",
            Self::Ruby => "ruby",
            Self::Java => "java",
            Self::Nginx => "nginx",
        }
    }

    /// The program that must be installed, when it is not.
    #[must_use]
    pub fn missing(self, who: Who) -> Option<&'static str> {
        let needs: &[&str] = match self {
            Self::Node | Self::NodeHandlers => &["node"],
            Self::Python => &["python3"],
            Self::Go => &["go"],
            Self::Ruby => &["ruby"],
            Self::Java => &["java", "javac"],
            Self::Nginx => &["nginx"],
        };
        // Go is needed to build it only.
        let who = if self == Self::Go { Who::Root } else { who };
        needs.iter().find(|program| who.find(program).is_none()).copied()
    }

    /// Puts the server there, in its first version.
    pub fn furnish(self, home: &Home, port: u16) {
        let servers = build::file("servers");
        for entry in fs::read_dir(&servers).expect("it is in the repository").flatten() {
            home.copy(&entry.path());
        }
        match self {
            Self::Go => home.copy(&build::go_program(&servers.join("serve.go"), "serve-go")),
            Self::Java => home.copy(&build::java_class(&servers.join("Serve.java"), "Serve.class")),
            Self::Node | Self::NodeHandlers | Self::Python | Self::Ruby | Self::Nginx => {}
        }
        self.become_version(home, port, Version::Serves(1));
    }

    /// What it is from its next start on.
    pub fn become_version(self, home: &Home, port: u16, version: Version) {
        let text = match version {
            Version::Serves(number) => number.to_string(),
            Version::Crashes => "crash".to_owned(),
            Version::IsSilent => "silent".to_owned(),
        };
        home.write("version", &text);
        let template = fs::read_to_string(build::file("servers/nginx.conf.template"));
        let conf = template.expect("it is in the repository");
        let conf = conf.replace("{port}", &port.to_string()).replace("{version}", &text);
        let conf = match version {
            Version::Serves(_) => conf,
            Version::Crashes => "no licence".to_owned(),
            Version::IsSilent => "daemon off;\npid nginx.pid;\nevents {\n}\n".to_owned(),
        };
        home.write("nginx.conf", &conf);
    }

    /// The last words of `tine start`.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        match self {
            Self::Node | Self::NodeHandlers => vec!["serve.js"],
            Self::Python => vec!["serve.py"],
            Self::Go => vec!["./serve-go"],
            Self::Ruby => vec!["serve.rb"],
            Self::Java => {
                let quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
                vec!["--interpreter", "none", "java", "--", quick[0], quick[1], "-cp", ".", "Serve"]
            }
            Self::Nginx => {
                let words = ["-e", "stderr", "-p", "./", "-c", "nginx.conf"];
                ["--interpreter", "none", "nginx", "--"].into_iter().chain(words).collect()
            }
        }
    }

    /// `tine start` of so many, with these options; the app's name is `app`.
    #[must_use]
    pub fn start(self, port: u16, instances: usize, options: &[&str]) -> Vec<String> {
        let (port, instances) = (format!("PORT={port}"), instances.to_string());
        let mut words = vec!["start", "--name", "app", "-i", &instances, "--env", &port];
        if self == Self::NodeHandlers {
            words.extend(["--env", "HANDLERS=1"]);
        }
        words.extend(options);
        words.extend(self.words());
        words.into_iter().map(str::to_owned).collect()
    }
}
