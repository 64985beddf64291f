//! A day with `alias pm2=tine`: commands as pm2's users and their scripts type them, through a shell.

use std::process::Command;

use super::shell::{Shell, free_port};

/// Each line is typed into bash, where `pm2` is tine; what it prints must contain the words.
const DAY: &str = "\
pm2 start app.js -i 2 --name api -- --x 1        => online
pm2 l                                            => api
pm2 prettylist | grep -c 'pm_id: [01],'          => 4
pm2 jlist | node -p 'JSON.parse(require(\"fs\").readFileSync(0)).length' => 2
test `pm2 jlist | wc -l` = 1 && echo one         => one
pm2 restart all                                  => online
pm2 reload api                                   => online
pm2 prettylist | grep -c 'restart_time: 2,'      => 2
pm2 reset api                                    => api
pm2 prettylist | grep -c 'restart_time: 0,'      => 2
pm2 scale api 3                                  => online
pm2 id api                                       => [ 0, 1, 2 ]
pm2 stop 0                                       => stopped
pm2 start 0                                      => online
pm2 stop api; echo code $?                       => code 0
pm2 stop nobody 2>/dev/null; echo code $?        => code 1
pm2 describe api                                 => --x 1
pm2 start app.js --name api 2>/dev/null; pm2 jlist | grep -o '\"status\":\"online\"' | wc -l => 3
pm2 restart api --name renamed                   => renamed
pm2 restart renamed --node-args='--harmony'      => online
pm2 prettylist | grep -c \"node_args: . '--harmony' .,\" => 3
pm2 sendSignal SIGUSR2 renamed; echo code $?     => code 0
pm2 start sleeper.sh -f; pm2 delete sleeper      => deleted
out=`pm2 pid renamed`; echo pids $out            => pids
pm2 delete all                                   => deleted
pm2 prettylist                                   => []
pm2 flush; echo code $?                          => code 0
pm2 start app.js --parallel 2 && pm2 stop app -f => stopped
pm2 env 0 -s | grep -c ^PORT                     => 1
pm2 id app -s; pm2 pid app --silent              => 0
pm2 scale app 2 -f && pm2 delete all -f          => deleted
pm2 expose . --port 0 --name files 2>&1; pm2 deepUpdate; echo code $? => code 0
pm2 delete files                                 => deleted
pm2 nonsense 2>/dev/null; echo code $?           => code 2
pm2 kill -f; echo code $?                        => code 0
pm2 flush; echo code $?                          => code 0";

/// Every command of pm2 7.0.4, aliases included.
const EVERY: &str = "\
attach autoinstall backward cleardump completion conf config create dash dashboard deepUpdate del delete deploy \
desc describe dump ecosystem env examples expose flush forward get id imonit info init inspect install \
install-otel jlist kill l link list log login logout logrotate logs ls module:generate module:install \
module:publish module:uninstall module:update monit monitor multiset open package pid ping plus prettylist \
profile:cpu profile:mem ps publish pull register reload reloadLogs report reset restart resurrect save scale \
send sendSignal serve set show slist start startOrGracefulReload startOrReload startOrRestart startup status \
stop sysinfos trigger uninstall uninstall-otel unlink unmonitor unset unstartup update updatePM2";

#[test]
fn every_command_of_pm2_is_here_or_says_what_to_do_instead() {
    let shell = Shell::new();
    for command in EVERY.split_whitespace() {
        let said = shell.tine(&format!("{command} --help"));
        let is_told = said.err.starts_with(&format!("tine: `{command}` is not "));
        assert!(said.code == 0 || is_told, "{command}: {said:?}");
    }
}

#[test]
fn a_day_of_pm2_goes_by_with_tine() {
    let mut shell = Shell::new();
    shell.set("PORT", &free_port().to_string());
    shell.node_server("app.js");
    shell.write("sleeper.sh", "sleep 1000\n");
    for line in DAY.lines() {
        let (typed, wanted) = line.split_once("=>").expect("what is typed => what is wanted");
        let output = Command::new("timeout")
            .args(["60", "bash", "-c"])
            .arg(format!("pm2() {{ {} \"$@\"; }}\n{typed}", env!("CARGO_BIN_EXE_tine")))
            .env("TINE_HOME", shell.home())
            .current_dir(shell.work())
            .envs(shell.variables())
            .output()
            .expect("bash is there");
        let out = String::from_utf8_lossy(&output.stdout);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(out.contains(wanted.trim()), "{typed}\nout: {out}\nerr: {err}");
    }
}

/// Every option of pm2 7.0.4's `start`, in each of its spellings, with a value where it takes one.
const OPTIONS: &str = "\
-s;--silent;--ext js;-n x;--name x;-m;--mini-list;--interpreter node;--interpreter-args --harmony;\
--node-args --harmony;-o o.log;--output o.log;-e e.log;--error e.log;-l;-l a.log;--log a.log;--filter-env;\
--filter-env A;--log-type json;--log-date-format YYYY;--time;--disable-logs;--env production;-a;--update-env;\
-f;--force;-i 2;-i max;-i 0;-i -1;--instances 2;--parallel 2;--shutdown-with-message;-p a.pid;--pid a.pid;\
-k 1600;--kill-timeout 1600;--listen-timeout 3000;--max-memory-restart 200M;--restart-delay 100;\
--exp-backoff-restart-delay 100;-x;--execute-command;--max-restarts 3;-u root;--user root;--uid root;\
--gid root;--namespace n;--cwd .;--hp /root;--wait-ip;--service-name x;-c * * * * *;--cron * * * * *;\
--cron-restart * * * * *;--cron-restart 0;-w;--write;--source-map-support;--disable-source-map-support;\
--only x;--wait-ready;--merge-logs;--watch;--watch src;--ignore-watch x;--watch-delay 1000;--no-color;\
--no-vizion;--no-autostart;--no-autorestart;--stop-exit-codes 0;--no-treekill;--no-pmx;--no-automation;\
--trace;--disable-trace;--sort name:desc;--attach;--v8;--event-loop-inspector;--deep-monitoring";

#[test]
fn every_option_of_pm2s_start_is_taken() {
    let shell = Shell::new();
    for option in OPTIONS.split(';') {
        // A cron expression is one word.
        let (name, value) = option.split_once(' ').unwrap_or((option, ""));
        for words in [vec![name, value], vec![&*format!("{name}={value}")]] {
            let short_or_bare = value.is_empty() || !name.starts_with("--");
            if words.len() == 1 && short_or_bare {
                continue;
            }
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            let before = shell.words(&[&["start", "no-file.js"], &*words].concat());
            assert!(
                before.code == 1 && before.err.contains("neither a file"),
                "{option}: {before:?}"
            );
        }
    }
    let said = shell.fails("start app.js --no-daemon");
    assert!(said.contains("it is `tine run`"), "{said}");
}
