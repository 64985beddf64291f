//! A version that does not work never takes one down that does.

use compliance::{Serving, Version, Who};

use crate::loaded::Loaded;

/// The reload fails and says so, and those who served go on; a repaired version is then taken.
fn is_survived(serving: Serving, who: Who, broken: Version) {
    let options = ["--listen-timeout", "1500ms"];
    let Some(app) = Loaded::start(serving, who, &options) else { return };
    app.becomes(broken);
    let exit = app.tine("reload app");
    assert_eq!(exit.code, Some(1), "{exit:?}");
    let said = format!("{}{}", exit.stdout, exit.stderr);
    let reason = if broken == Version::Crashes { "no licence" } else { "was not ready in 1.5s" };
    assert!(said.contains(reason), "{said}");
    // Node may have answered from fewer than all before: those who do now did before.
    let after = app.servers(app.before.len());
    assert_eq!(after, app.before);
    app.becomes(Version::Serves(2));
    app.must("reload app");
    app.serves(2);
    app.nothing_was_lost();
}

macro_rules! is_survived {
    ($($fact:ident: $serving:ident $who:ident $broken:ident,)*) => { $(
        #[test]
        fn $fact() {
            is_survived(Serving::$serving, Who::$who, Version::$broken);
        }
    )* };
}

is_survived! {
    node_that_crashes_at_boot_fails_the_reload_alone: Node Root Crashes,
    node_that_never_listens_fails_the_reload_alone: Node User IsSilent,
    python_that_crashes_at_boot_fails_the_reload_alone: Python User Crashes,
    go_that_crashes_at_boot_fails_the_reload_alone: Go Root Crashes,
    go_that_never_listens_fails_the_reload_alone: Go User IsSilent,
    ruby_that_never_listens_fails_the_reload_alone: Ruby Root IsSilent,
}
