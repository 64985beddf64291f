use super::{super::sample, *};

const PIPE: Screen = Screen { width: None, colour: false };

fn shown(apps: &[AppView], mini: bool, sort: Option<&str>, screen: Screen) -> String {
    let versions = [("/srv/api/server.js".into(), "1.2.3".to_owned())].into();
    let users = [(4711, "root".to_owned())].into();
    let sort = sort.map(|text| text.parse().expect("a column"));
    let listing =
        Listing { apps, versions: &versions, users: &users, now: sample::NOW, mini, sort };
    list(&listing, screen)
}

fn two() -> Vec<AppView> {
    let mut idle = sample::app();
    idle.name = "idle".into();
    idle.number = 1;
    idle.workers = vec![sample::worker(2, 0, Status::Stopped)];
    idle.ports.clear();
    idle.watching = true;
    vec![sample::app(), idle]
}

#[test]
fn a_row_a_worker() {
    let expected = "\
ID  NAME  NAMESPACE  VERSION  MODE     PID   UPTIME  RESTARTS       STATUS   CPU   MEM       USER  WATCHING  PORTS
0   api   default    1.2.3    cluster  4711  1m      0              online   0.3%  35.4 MiB  root  no        8003 127.0.0.1:9000
1   api   default    1.2.3    cluster  -     -       17 (16 crash)  errored  0.0%  0 B       -     no        8003 127.0.0.1:9000
2   idle  default    1.2.3    fork     -     -       0              stopped  0.0%  0 B       -     yes       -
";
    assert_eq!(shown(&two(), false, None, PIPE), expected);
}

#[test]
fn a_short_list_has_few_columns() {
    let expected = "\
ID  NAME  MODE     RESTARTS       STATUS   CPU   MEM
0   api   cluster  0              online   0.3%  35.4 MiB
1   api   cluster  17 (16 crash)  errored  0.0%  0 B
2   idle  fork     0              stopped  0.0%  0 B
";
    assert_eq!(shown(&two(), true, None, PIPE), expected);
}

#[test]
fn columns_go_before_lines_are_broken() {
    let text = shown(&two(), false, None, Screen { width: Some(90), colour: false });
    assert!(text.lines().all(|line| line.chars().count() <= 90), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(!text.contains("VERSION") && text.contains("PORTS"), "{text}");
    let text = shown(&two(), false, None, Screen { width: Some(50), colour: false });
    assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
    for word in ["errored", "stopped", "4711"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn only_a_terminal_gets_colours_and_they_do_not_move_columns() {
    let coloured = shown(&two(), false, None, Screen { width: Some(200), colour: true });
    assert!(coloured.contains("\x1b[32monline\x1b[0m   0.3%"), "{coloured}");
    assert!(coloured.contains("\x1b[31merrored\x1b[0m  0.0%"), "{coloured}");
    assert!(!shown(&two(), false, None, PIPE).contains('\x1b'));
}

#[test]
fn rows_are_sorted_as_asked() {
    let ids = |sort| -> Vec<String> {
        let text = shown(&two(), true, Some(sort), PIPE);
        text.lines().skip(1).map(|line| line.chars().take(1).collect()).collect()
    };
    assert_eq!(ids("name:desc"), ["2", "0", "1"]);
    assert_eq!(ids("id:desc"), ["2", "1", "0"]);
    assert_eq!(ids("restarts:desc")[0], "1");
    assert_eq!(ids("memory"), ["1", "2", "0"]);
    assert!("colour".parse::<Sort>().unwrap_err().contains("there are name"));
    assert!("name:up".parse::<Sort>().unwrap_err().contains("name:asc"));
}

#[test]
fn what_an_app_has_to_say_follows() {
    let mut apps = two();
    apps[0].note = Some("the last reload failed".into());
    assert!(shown(&apps, false, None, PIPE).ends_with("\n\napi: the last reload failed\n"));
}

#[test]
fn an_empty_list_says_how_to_begin() {
    assert_eq!(
        shown(&[], false, None, PIPE),
        "no app is known; start one: tine start server.js -i 3\n"
    );
}
