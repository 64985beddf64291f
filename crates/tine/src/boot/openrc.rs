//! Init scripts for `openrc-run(8)`.

use std::{ffi::OsStr, path::PathBuf};

use super::{Service, Step, run, try_run};

pub(super) fn file(service: &Service) -> PathBuf {
    PathBuf::from(format!("/etc/init.d/{}", service.name))
}

pub(super) fn install(service: &Service) -> Vec<Step> {
    vec![
        Step::Write { path: file(service), text: script(service), mode: 0o755 },
        run(&["rc-update", "add", &service.name, "default"]),
    ]
}

pub(super) fn remove(service: &Service) -> Vec<Step> {
    vec![try_run(&["rc-update", "del", &service.name, "default"]), Step::Remove(file(service))]
}

fn script(service: &Service) -> String {
    format!(
        "#!/sbin/openrc-run\n\
         # Written by `tine startup`; `tine unstartup` removes it.\n\
         name={name}\n\
         description={description}\n\
         supervisor=supervise-daemon\n\
         command={tine}\n\
         command_args=\"daemon --foreground --resurrect\"\n\
         command_user={user}\n\
         retry=SIGTERM/120/SIGKILL/5\n\
         rc_ulimit=\"-n 1048576\"\n\
         export TINE_HOME={home}\n\
         export PATH={path}\n\
         \n\
         depend() {{\n\
         \tneed {net}\n\
         \tuse dns logger\n\
         }}\n",
        name = quoted(OsStr::new(&service.name)),
        description =
            quoted(OsStr::new(&format!("the apps that {} saved with tine", service.user))),
        tine = quoted(service.tine.as_os_str()),
        user = quoted(OsStr::new(&service.user)),
        home = quoted(service.tine_home.as_os_str()),
        path = quoted(&service.path),
        net = if service.wait_ip { "net" } else { "localmount" },
    )
}

/// For sh(1).
fn quoted(text: &OsStr) -> String {
    format!("'{}'", text.to_string_lossy().replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_script_is_one_for_the_shell_whatever_the_paths() {
        let service = Service {
            name: "tine-o'hara".to_owned(),
            user: "o'hara".to_owned(),
            home: "/home/o'hara".into(),
            tine_home: "/home/o'hara/.tine $HOME".into(),
            tine: "/usr/bin/tine".into(),
            path: "/usr/bin".into(),
            wait_ip: true,
        };
        let say = format!("{}\nprintf %s \"$TINE_HOME\"", script(&service));
        let output = Command::new("sh").args(["-c", &say]).output().expect("a shell");
        assert_eq!(output.stderr, b"");
        assert_eq!(output.stdout, b"/home/o'hara/.tine $HOME");
    }
}
