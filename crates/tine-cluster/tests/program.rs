//! What a program is given beside its arguments, with real programs.
#![cfg(feature = "tokio")]
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "the helpers of a test")]

#[expect(dead_code, reason = "the other tests use more of it")]
mod common;

use common::soon;
use tine_cluster::{
    id::Instance,
    primary::{CgroupLimits, Cluster, Controller, Program, Resource, Settings, Stream, What},
};

fn shell(script: &str) -> Program {
    let args = vec!["-c".into(), script.into()];
    Program { args, ..Program::new("/bin/sh") }
}

/// What the workers say on their standard output, and which limits they run without.
async fn run(program: Program, instances: u32) -> (Vec<(Instance, String)>, Vec<Controller>) {
    let (_cluster, mut events) = Cluster::start(Settings::new(program, instances));
    let (mut lines, mut unlimited) = (Vec::new(), Vec::new());
    while let Some(event) = soon(events.next()).await {
        match event.what {
            What::Output { stream: Stream::Out, line } => {
                lines.push((event.instance.unwrap(), String::from_utf8(line).unwrap()));
            }
            What::Unlimited { controller, .. } => unlimited.push(controller),
            _ => {}
        }
    }
    lines.sort();
    (lines, unlimited)
}

#[tokio::test]
async fn a_program_runs_with_its_umask_its_priority_and_its_limits() {
    let mut program = shell("umask; nice; ulimit -n; ulimit -c");
    (program.umask, program.nice) = (Some(0o077), Some(7));
    program.rlimits =
        vec![(Resource::Nofile, Some(50), Some(60)), (Resource::Core, Some(0), Some(0))];
    let (lines, _) = run(program, 1).await;
    let mut lines: Vec<_> = lines.iter().map(|(_, line)| line.as_str()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "0077", "50", "7"]);
}

#[tokio::test]
async fn each_instance_has_its_number_and_what_counts_up_with_it() {
    let mut program = shell("echo $NR $NODE_APP_INSTANCE $PORT");
    program.env.extend([("PORT", "8000"), ("NR", "x")].map(|(n, v)| (n.into(), v.into())));
    program.instance_var = Some("NR".into());
    program.increment_var = Some("PORT".into());
    let (lines, unlimited) = run(program, 3).await;
    let expected = [(0, "0 8000"), (1, "1 8001"), (2, "2 8002")];
    assert_eq!(lines, expected.map(|(n, line)| (Instance(n), line.to_owned())));
    assert_eq!(unlimited, [], "nothing was to be limited");
}

/// Says what its own cgroup allows.
const LIMITS: &str = "
group=$(sed -n 's/^0:://p' /proc/self/cgroup)
for root in /sys/fs/cgroup /sys/fs/cgroup/unified; do
    for controller in memory cpu pids; do
        [ -e $root$group/$controller.max ] && echo $controller $(cat $root$group/$controller.max)
    done
done
true";

#[tokio::test]
async fn a_limit_holds_or_is_told_not_to() {
    let mut program = shell(LIMITS);
    program.cgroup_limits =
        CgroupLimits { memory_max: Some(64 << 20), cpu_max: Some(50), pids_max: Some(40) };
    let (lines, unlimited) = run(program, 1).await;
    for (controller, line) in [
        (Controller::Memory, "memory 67108864"),
        (Controller::Cpu, "cpu 50000 100000"),
        (Controller::Pids, "pids 40"),
    ] {
        let holds = lines.iter().any(|(_, said)| said == line);
        assert_ne!(holds, unlimited.contains(&controller), "{lines:?} {unlimited:?}");
    }
}
