//! Reloads that are verified, with the real program.

use serde_json::Value;

use super::shell::{Shell, free_port};

/// A server on the port in `PORT`; if it is `bad`, each worker answers once.
const SERVER: &str = r"
let count = 0;
require('http').createServer((request, response) => {
  if (process.argv[2] === 'bad' && ++count > 1) return request.socket.destroy();
  response.end('well');
}).listen(process.env.PORT, '127.0.0.1');
";

fn started(options: &str) -> Shell {
    let mut shell = Shell::new();
    shell.set("PORT", &free_port().to_string());
    shell.write("app.js", SERVER);
    shell.ok(&format!("start app.js -i 2 --min-uptime 60s --silent {options}"));
    shell
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[test]
fn a_verified_reload_loses_nothing_and_the_numbers_stay() {
    for policy in ["rr", "random", "shared"] {
        let shell = started(&format!("--health /health --policy {policy}"));
        let said = json(&shell.ok("reload app --verify --json"));
        let verified = &said[0]["verified"];
        assert_eq!(
            (&verified["lost"], &verified["path"]),
            (&0.into(), &"/health".into()),
            "{said}"
        );
        assert!(verified["sent"].as_u64().is_some_and(|sent| sent > 5), "{said}");
        assert!(verified["longest_wait"].as_u64() >= verified["usual_wait"].as_u64(), "{said}");
        let described = json(&shell.ok("describe app --json"));
        assert_eq!(&described[0]["full"]["verified"], verified);
        let described = shell.ok("describe app");
        assert!(
            described.contains("\n  last verified       verified: GET /health on"),
            "{described}"
        );
        let out = shell.ok("reload app --verify");
        assert!(out.contains("\n  verified: GET /health on 127.0.0.1:"), "{out}");
        assert!(out.contains(" sent, 0 lost\n"), "{out}");
    }
}

#[test]
fn a_verified_reload_that_loses_requests_fails_and_says_how_many() {
    let shell = started("-- bad");
    let said = shell.tine("reload app --verify --json");
    let verified = json(&said.out)[0]["verified"].clone();
    let lost = verified["lost"].as_u64().expect("a number");
    assert!(said.code == 1 && lost > 0, "{said:?}");
    let causes = verified["causes"].as_object().expect("an object");
    assert_eq!(causes.values().filter_map(Value::as_u64).sum::<u64>(), lost);
    assert_eq!(shell.values("app", "/pm2_env/status"), ["online"; 2]);
}

#[test]
fn a_verified_reload_that_fails_shows_its_numbers_all_the_same() {
    let shell = started("");
    shell.write("app.js", "console.error('no such luck'); process.exit(3)");
    let error = shell.fails("reload app --verify");
    assert!(error.contains("ended before it was ready"), "{error}");
    assert!(error.contains("\n  verified: GET / on 127.0.0.1:"), "{error}");
    let described = shell.ok("describe app");
    assert!(described.contains("\n  last verified       the reload failed;"), "{described}");
    assert_eq!(json(&shell.ok("describe app --json"))[0]["full"]["verified"]["failed"], true);
    shell.write("app.js", SERVER);
    shell.ok("reload app --verify");
    assert!(!shell.ok("describe app").contains("the reload failed;"));
}

#[test]
fn what_does_not_listen_cannot_be_verified_and_is_left_alone() {
    let shell = Shell::new();
    shell.write("idle.js", "setInterval(() => {}, 1000)");
    shell.ok("start idle.js --silent");
    let before = shell.values("idle", "/pid");
    let error = shell.fails("reload idle --verify");
    assert!(error.contains("listens on nothing that could be asked"), "{error}");
    assert_eq!(shell.values("idle", "/pid"), before);
    assert!(shell.fails("restart idle --verify").contains("`tine reload`"));
}
