//! Directories that are served, and the keys of pm2 that mean nothing here.

use serde_json::{Value, json};
use tine::config::keys;

use super::{
    super::shell::{free_port, get, wait_until},
    Shell, camel, listed, start,
};

/// A request with these lines; the whole answer.
fn ask(port: u16, path: &str, more: &str) -> String {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return String::new();
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
    let mut answer = Vec::new();
    let sent = stream.write_all(request.as_bytes());
    let _ = sent.and_then(|()| stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn every_key_of_a_static_is_heard_by_its_server() {
    let shell = Shell::new();
    std::fs::create_dir(shell.work().join("public")).expect("the directory is this test's own");
    shell.write("public/index.html", "the page");
    let [plain, one, listing, closed] = [(); 4].map(|()| free_port());
    let auth = json!({"username": "ann", "password": "secret"});
    let of = |port: u16, more: Value| {
        let mut one = json!({"path": "public", "port": port, "host": "127.0.0.1"});
        super::lay(&mut one, &more);
        one
    };
    let file = json!({"static": [
        of(plain, json!({"name": "plain", "monitor": true, "instances": 2})),
        of(one, json!({"spa": true})),
        of(listing, json!({"directory": false, "ftp": false, "basic_auth": false})),
        of(closed, json!({"basic_auth": auth})),
    ]});
    start(&shell, &file);
    for port in [plain, one, listing] {
        assert!(wait_until(|| get(port).as_deref() == Some("the page")));
    }
    assert!(ask(plain, "/no/page", "").contains("404"));
    assert!(ask(one, "/no/page", "").contains("the page"));
    assert_eq!(listed(&shell, "plain")["ports"], json!([format!("127.0.0.1:{plain}")]));
    assert_eq!(listed(&shell, "plain")["workers"].as_array().map(Vec::len), Some(2));
    assert!(wait_until(|| ask(closed, "/", "").contains("401")));
    // ann:secret
    let with = ask(closed, "/", "Authorization: Basic YW5uOnNlY3JldA==\r\n");
    assert!(with.contains("the page"), "{with}");
    assert!(listed(&shell, &format!("static-page-server-{closed}"))["name"].is_string());
}

/// What stands in files of pm2 and changes nothing here.
const QUIET: &str = r#"{
  "kill_retry_time": 100, "source_map_support": true, "disable_source_map_support": false,
  "vizion": false, "versioning": {}, "pmx": false, "automation": false, "trace": true,
  "disable_trace": true, "v8": true, "event_loop_inspector": true, "install_url": "x",
  "username": "ann", "write": true, "windows_hide": true
}"#;

/// And what whoever writes it should hear about.
const NOTED: &str = r#"{
  "force": true, "post_update": ["npm install"], "io": {"conf": {}}, "deep_monitoring": true
}"#;

#[test]
fn keys_that_mean_nothing_here_change_nothing_and_are_told_where_they_were_to() {
    let shell = Shell::new();
    let plain = json!({"name": "plain", "script": "sleep", "args": "1000"});
    let quiet: Value = serde_json::from_str(QUIET).expect("it is JSON");
    let noted: Value = serde_json::from_str(NOTED).expect("it is JSON");
    let known = |name: &str| keys::OTHER.iter().any(|key| key.name == name);
    let mut apps = vec![plain.clone()];
    for (number, (name, value)) in quiet.as_object().into_iter().flatten().enumerate() {
        assert!(known(name), "{name}");
        for (spelling, kind) in [(name.clone(), "a"), (camel(name), "b")] {
            let mut app = plain.clone();
            app["name"] = format!("{kind}{number}").into();
            app[&spelling] = value.clone();
            apps.push(app);
        }
    }
    shell.write("keys.json", &json!(apps).to_string());
    let said = shell.tine("start keys.json --silent");
    assert_eq!((said.code, said.err.as_str()), (0, ""), "not a word");
    let mut spec = spec(&shell, "plain");
    for app in &apps[1..] {
        let name = app["name"].as_str().expect("a name");
        let mut other = self::spec(&shell, name);
        for it in [&mut spec, &mut other] {
            it["name"] = Value::Null;
        }
        assert_eq!(other, spec, "{app}");
    }
    for (name, value) in noted.as_object().into_iter().flatten() {
        let mut app = plain.clone();
        app["name"] = name.as_str().into();
        app[name] = value.clone();
        shell.write("keys.json", &json!([app]).to_string());
        let said = shell.tine("start keys.json --silent");
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.err.contains(&format!("app `{name}`: `{name}` ")), "{said:?}");
    }
}

fn spec(shell: &Shell, app: &str) -> Value {
    let told: Value =
        serde_json::from_str(&shell.ok(&format!("describe {app} --json"))).expect("it is JSON");
    told[0]["spec"].clone()
}
