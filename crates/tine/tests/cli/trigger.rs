//! Programs that offer actions and metrics as `@pm2/io` does.

use super::shell::{Shell, wait_until};

/// What `@pm2/io` says and hears, without it.
const APP: &str = r"
const tell = (type, data) => process.send({ type, data });
const reply = (action_name, value) => tell('axm:reply', { at: Date.now(), action_name, return: value });
process.on('message', message => {
  const name = message.msg || message;
  if (name === 'where') reply(name, { pid: process.pid, given: message.opts });
  if (name === 'crash') process.exit(3);
});
for (const name of ['where', 'mute', 'crash'])
  tell('axm:action', { action_name: name, action_type: 'custom', arity: 2 });
tell('axm:monitor', { Sessions: { historic: true, unit: 'users', type: 'n', value: 42 } });
tell('axm:option:configuration', { module_name: 'sessions' });
setInterval(() => {}, 1000);
";

fn with(instances: u32) -> Shell {
    let shell = Shell::new();
    shell.write("app.js", APP);
    shell.ok(&format!("start app.js -i {instances} --silent"));
    let told = || shell.values("app", "/pm2_env/axm_options/module_name");
    assert!(wait_until(|| told().iter().all(|name| name == "sessions")), "{:?}", told());
    shell
}

#[test]
fn each_worker_answers_with_what_it_was_given() {
    let shell = with(2);
    let pids = shell.values("app", "/pid");
    let said = shell.ok("trigger app where");
    for (id, pid) in pids.iter().enumerate() {
        assert!(said.contains(&format!("app ({id}): {{\"pid\":{pid}}}\n")), "{said}");
    }
    let said = shell.ok("trigger 1 where home");
    assert_eq!(said, format!("app (1): {{\"given\":\"home\",\"pid\":{}}}\n", pids[1]));
    let said = shell.ok("trigger app where --json");
    let replies: serde_json::Value = serde_json::from_str(&said).expect("it is JSON");
    assert_eq!(replies[1]["reply"]["pid"].to_string(), pids[1]);
}

#[test]
fn what_a_program_offers_and_measures_is_shown() {
    let shell = with(1);
    assert_eq!(shell.values("app", "/pm2_env/axm_actions/0/action_name"), ["where"]);
    assert_eq!(shell.values("app", "/pm2_env/axm_monitor/Sessions/value"), ["42"]);
    let told = shell.ok("describe app");
    assert!(told.contains("where, mute, crash") && told.contains("Sessions"), "{told}");
    shell.ok("stop app --silent");
    assert_eq!(shell.values("app", "/pm2_env/axm_actions"), ["[]"], "it is gone");
}

#[test]
fn no_answer_is_an_error_that_says_why() {
    let shell = with(1);
    let said = shell.fails("trigger app when");
    assert_eq!(said, "tine: app: worker 0 has no action `when`; it has where, mute, crash\n");
    let said = shell.fails("trigger app mute --wait 100ms");
    assert_eq!(said, "tine: app: worker 0 has not answered within 100 ms\n");
    assert!(shell.fails("trigger app crash").contains("worker 0 has ended"));
    assert!(shell.fails("trigger ap where").contains("is `app` meant?"));
    shell.ok("stop app --silent");
    assert_eq!(shell.fails("trigger 0 where"), "tine: app: worker 0 does not run\n");
}

#[test]
fn a_program_that_offers_nothing_is_told_as_that() {
    let shell = Shell::new();
    shell.ok("start --name quiet sleep --silent -- 1000");
    let said = shell.fails("trigger quiet where");
    assert_eq!(said, "tine: quiet: worker 0 has no action `where`, and no other\n");
}

#[test]
fn what_a_program_offers_is_known_to_the_next_manager() {
    let shell = with(2);
    let pids = shell.values("app", "/pid");
    shell.ok("stop 1 --silent");
    let manager = shell.ok("pid").trim().parse().ok().and_then(rustix::process::Pid::from_raw);
    let manager = manager.expect("a manager has a pid");
    rustix::process::kill_process(manager, rustix::process::Signal::KILL).expect("it runs");
    assert!(wait_until(|| shell.tine("pid").out.trim() != manager.to_string()));
    assert!(wait_until(|| shell.values("app", "/pid")[0] == pids[0]), "it lives on");
    let said = shell.ok("trigger 0 where home");
    assert_eq!(said, format!("app (0): {{\"given\":\"home\",\"pid\":{}}}\n", pids[0]));
    assert_eq!(shell.values("app", "/pm2_env/axm_options/module_name"), ["sessions", "missing"]);
    shell.ok("start 1 --silent");
    let offers = || shell.values("app", "/pm2_env/axm_actions/2/action_name");
    assert!(wait_until(|| offers() == ["crash", "crash"]), "{:?}", offers());
}
