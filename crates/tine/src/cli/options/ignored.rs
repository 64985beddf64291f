//! Options of pm2 that mean nothing here: taken, so that nobody's script fails on them.

/// Not shown in the help.
#[derive(Clone, Debug, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, none is looked at")]
pub(super) struct Ignored {
    #[arg(long, hide = true)]
    no_vizion: bool,
    #[arg(long, hide = true)]
    no_pmx: bool,
    #[arg(long, hide = true)]
    no_automation: bool,
    #[arg(long, hide = true)]
    source_map_support: bool,
    #[arg(long, hide = true)]
    disable_source_map_support: bool,
    #[arg(long, hide = true)]
    trace: bool,
    #[arg(long, hide = true)]
    disable_trace: bool,
    #[arg(long, hide = true)]
    v8: bool,
    #[arg(long, hide = true)]
    event_loop_inspector: bool,
    #[arg(long, hide = true)]
    deep_monitoring: bool,
    #[arg(short, long, hide = true)]
    write: bool,
    #[arg(long, hide = true, value_name = "EXTENSIONS")]
    ext: Option<String>,
    #[arg(long, hide = true, value_name = "PATH")]
    hp: Option<String>,
    #[arg(long, hide = true)]
    wait_ip: bool,
    #[arg(long, hide = true, value_name = "NAME")]
    service_name: Option<String>,
}
