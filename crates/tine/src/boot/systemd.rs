//! Unit files, systemd.service(5).

use std::{ffi::OsStr, path::PathBuf};

use super::{Service, Step, run, try_run};

pub(super) fn file(service: &Service) -> PathBuf {
    PathBuf::from(format!("/etc/systemd/system/{}.service", service.name))
}

pub(super) fn file_of_user(service: &Service) -> PathBuf {
    service.home.join(format!(".config/systemd/user/{}.service", service.name))
}

pub(super) fn install(service: &Service) -> Vec<Step> {
    let unit = unit(service, &format!("User={}\n", value(&service.user)), "multi-user.target");
    vec![
        Step::Write { path: file(service), text: unit, mode: 0o644 },
        run(&["systemctl", "daemon-reload"]),
        run(&["systemctl", "enable", &service.name]),
    ]
}

pub(super) fn remove(service: &Service) -> Vec<Step> {
    vec![
        try_run(&["systemctl", "disable", &service.name]),
        Step::Remove(file(service)),
        run(&["systemctl", "daemon-reload"]),
    ]
}

pub(super) fn install_for_user(service: &Service) -> Vec<Step> {
    let unit = unit(service, "", "default.target");
    vec![
        Step::Write { path: file_of_user(service), text: unit, mode: 0o644 },
        run(&["systemctl", "--user", "daemon-reload"]),
        run(&["systemctl", "--user", "enable", &service.name]),
        // Otherwise the user's services start at login and end at logout.
        run(&["loginctl", "enable-linger", &service.user]),
    ]
}

/// Lingering may be wanted by other services of the user: it stays.
pub(super) fn remove_for_user(service: &Service) -> Vec<Step> {
    vec![
        try_run(&["systemctl", "--user", "disable", &service.name]),
        Step::Remove(file_of_user(service)),
        run(&["systemctl", "--user", "daemon-reload"]),
    ]
}

/// `Delegate`: each worker gets a cgroup below the service's. `KillMode=mixed`: the manager alone is told
/// to stop, and stops its workers with their connections finished.
fn unit(service: &Service, user: &str, wanted_by: &str) -> String {
    let (wants, after) = if service.wait_ip {
        ("Wants=network-online.target\n", "network-online.target")
    } else {
        ("", "network.target")
    };
    let tine = command(service.tine.as_os_str());
    format!(
        "# Written by `tine startup`; `tine unstartup` removes it.\n\
         [Unit]\n\
         Description=The apps that {name} saved with tine\n\
         {wants}After={after}\n\
         \n\
         [Service]\n\
         Type=notify\n\
         NotifyAccess=all\n\
         {user}\
         Environment={home}\n\
         Environment={path}\n\
         ExecStart={tine} daemon --foreground --resurrect\n\
         ExecReload={tine} reload all\n\
         Restart=on-failure\n\
         KillMode=mixed\n\
         TimeoutStartSec=300\n\
         TimeoutStopSec=120\n\
         Delegate=yes\n\
         OOMPolicy=continue\n\
         TasksMax=infinity\n\
         LimitNOFILE=1048576\n\
         \n\
         [Install]\n\
         WantedBy={wanted_by}\n",
        name = service.user.replace('%', "%%"),
        home = variable("TINE_HOME", service.tine_home.as_os_str()),
        path = variable("PATH", &service.path),
    )
}

/// `NAME=value` in quotes, as systemd.exec(5) reads `Environment=`.
fn variable(name: &str, text: &OsStr) -> String {
    format!("\"{}\"", value(&format!("{name}={}", text.to_string_lossy())).replace('"', "\\\""))
}

/// The first word of a command line: `$` and `%` mean something in one.
fn command(path: &OsStr) -> String {
    let text = value(&path.to_string_lossy()).replace('$', "$$");
    if text.contains([' ', '"']) { format!("\"{}\"", text.replace('"', "\\\"")) } else { text }
}

fn value(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            name: "tine-ann".to_owned(),
            user: "ann".to_owned(),
            home: "/home/ann".into(),
            tine_home: "/home/ann/.tine".into(),
            tine: "/opt/the tools/tine".into(),
            path: "/usr/bin:/home/ann/100%".into(),
            wait_ip: false,
        }
    }

    #[test]
    fn what_means_something_to_systemd_is_quoted() {
        let unit = unit(&service(), "User=ann\n", "multi-user.target");
        for line in [
            "ExecStart=\"/opt/the tools/tine\" daemon --foreground --resurrect",
            "Environment=\"PATH=/usr/bin:/home/ann/100%%\"",
            "Environment=\"TINE_HOME=/home/ann/.tine\"",
            "User=ann",
        ] {
            assert!(unit.lines().any(|found| found == line), "{line} in {unit}");
        }
    }

    #[test]
    fn it_waits_for_an_address_if_that_is_wanted() {
        let service = Service { wait_ip: true, ..service() };
        let unit = unit(&service, "", "default.target");
        assert!(unit.contains("Wants=network-online.target\nAfter=network-online.target\n"));
        assert!(!unit.contains("User="));
    }
}
