//! When workers start, stop, and start again.

use super::program::set;
use crate::{
    cli::values,
    spec::{Millis, Patch},
};

/// When workers start and stop.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Its life")]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub(super) struct Supervision {
    /// Know the app, and start it later
    #[arg(long)]
    no_autostart: bool,
    /// Do not start a worker again that ended
    #[arg(long)]
    no_autorestart: bool,
    /// Exit codes after which a worker is not started again
    #[arg(long, value_name = "CODE", num_args = 1.., allow_negative_numbers = true)]
    stop_exit_codes: Vec<String>,
    /// Give a worker up that ends so often in a row before --min-uptime [default: 16]
    #[arg(long, value_name = "N")]
    max_restarts: Option<u32>,
    /// A worker that ends sooner ended too early [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = values::millis)]
    min_uptime: Option<Millis>,
    /// A fixed wait before each restart
    #[arg(long, value_name = "TIME", value_parser = values::millis)]
    restart_delay: Option<Millis>,
    /// The first of waits that grow by one half each time, up to 15 s [default: 100ms]
    #[arg(long, value_name = "TIME", value_parser = values::millis)]
    exp_backoff_restart_delay: Option<Millis>,
    /// Replace a worker that uses more memory, as 300M
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    max_memory_restart: Option<u64>,
    /// Restart at these times, as "0 3 * * *"; 0 for no more
    #[arg(short, long, visible_alias = "cron-restart", value_name = "PATTERN")]
    cron: Option<String>,
    /// In which time zone, as Europe/Berlin [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    cron_timezone: Option<String>,
    /// How long a worker has between the stop signal and SIGKILL [default: 1600ms]
    #[arg(short, long, value_name = "TIME", value_parser = values::millis)]
    kill_timeout: Option<Millis>,
    /// What tells a worker to stop, after its connections have finished [default: SIGINT]
    #[arg(long, value_name = "SIGNAL", value_parser = values::signal_word)]
    kill_signal: Option<String>,
    /// The stop signal goes to a worker's first process alone, which sees to those it has started
    #[arg(long)]
    no_treekill: bool,
    /// Tell node workers to stop by the message `shutdown` in place of the signal
    #[arg(long)]
    shutdown_with_message: bool,
    /// A worker is ready when it says so: process.send('ready'), or READY=1 as to systemd
    #[arg(long)]
    wait_ready: bool,
    /// How long a worker may take to be ready [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = values::millis)]
    listen_timeout: Option<Millis>,
    /// Start after these apps are ready; may be given again
    #[arg(long, value_name = "APP")]
    after: Vec<String>,
}

impl Supervision {
    pub(super) fn lay(&self, patch: &mut Patch) {
        set(patch, "autostart", self.no_autostart.then_some(false));
        set(patch, "autorestart", self.no_autorestart.then_some(false));
        let codes: Vec<i32> = self.codes().filter_map(|code| code.parse().ok()).collect();
        set(patch, "stop_exit_codes", Some(codes).filter(|codes| !codes.is_empty()));
        set(patch, "max_restarts", self.max_restarts);
        set(patch, "min_uptime", self.min_uptime);
        set(patch, "restart_delay", self.restart_delay);
        set(patch, "exp_backoff_restart_delay", self.exp_backoff_restart_delay);
        set(patch, "max_memory_restart", self.max_memory_restart);
        set(patch, "after", Some(&self.after).filter(|after| !after.is_empty()));
        self.lay_cron(patch);
        self.lay_stop(patch);
    }

    fn lay_cron(&self, patch: &mut Patch) {
        match self.cron.as_deref() {
            Some("0") => patch.unset("cron_restart"),
            pattern => set(patch, "cron_restart", pattern),
        }
        set(patch, "cron_timezone", self.cron_timezone.as_ref());
    }

    fn lay_stop(&self, patch: &mut Patch) {
        set(patch, "kill_timeout", self.kill_timeout);
        set(patch, "kill_signal", self.kill_signal.as_ref());
        set(patch, "treekill", self.no_treekill.then_some(false));
        set(patch, "shutdown_with_message", self.shutdown_with_message.then_some(true));
        set(patch, "wait_ready", self.wait_ready.then_some(true));
        set(patch, "listen_timeout", self.listen_timeout);
    }

    fn codes(&self) -> impl Iterator<Item = &str> {
        self.stop_exit_codes
            .iter()
            .flat_map(|list| list.split([',', ' ']))
            .filter(|c| !c.is_empty())
    }

    /// What follows the codes and is none: targets.
    pub(super) fn give_back(&mut self) -> Vec<String> {
        let is_codes = |word: &String| {
            word.split([',', ' ']).all(|c| c.is_empty() || c.parse::<i32>().is_ok())
        };
        let (codes, others) =
            std::mem::take(&mut self.stop_exit_codes).into_iter().partition(is_codes);
        self.stop_exit_codes = codes;
        others
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parsed, patch, spec};

    #[test]
    fn switches_turn_off_what_is_on() {
        assert!(!spec(&["--no-autostart"]).autostart);
        assert!(!spec(&["--no-autorestart"]).autorestart);
        assert!(!spec(&["--no-treekill"]).treekill);
        assert!(spec(&["--wait-ready"]).wait_ready);
        assert!(spec(&["--shutdown-with-message"]).shutdown_with_message);
    }

    #[test]
    fn exit_codes_end_where_targets_begin() {
        let (spec, targets) = parsed(&["--stop-exit-codes", "0", "130", "app.js"]).unwrap();
        assert_eq!((spec.stop_exit_codes, targets), (vec![0, 130], vec!["app.js".to_owned()]));
        let (spec, targets) = parsed(&["app.js", "--stop-exit-codes=0,2"]).unwrap();
        assert_eq!((spec.stop_exit_codes, targets), (vec![0, 2], vec!["app.js".to_owned()]));
    }

    #[test]
    fn times_are_milliseconds_without_a_unit() {
        for (flag, key) in [
            ("--min-uptime", "min_uptime"),
            ("--restart-delay", "restart_delay"),
            ("--exp-backoff-restart-delay", "exp_backoff_restart_delay"),
            ("--kill-timeout", "kill_timeout"),
            ("-k", "kill_timeout"),
            ("--listen-timeout", "listen_timeout"),
        ] {
            assert_eq!(patch(&[flag, "2500"]).get(key), Some(&2500.into()), "{flag}");
            assert_eq!(patch(&[flag, "2s"]).get(key), Some(&2000.into()), "{flag}");
        }
    }

    #[test]
    fn limits_are_numbers_and_sizes() {
        assert_eq!(spec(&["--max-restarts", "3"]).max_restarts, 3);
        assert_eq!(spec(&["--max-memory-restart", "300M"]).max_memory_restart, Some(300 << 20));
    }

    #[test]
    fn cron_is_set_and_removed() {
        for flag in ["-c", "--cron", "--cron-restart"] {
            let found = spec(&[flag, "0 3 * * *"]);
            assert_eq!(found.cron_restart.as_deref(), Some("0 3 * * *"));
        }
        assert_eq!(
            patch(&["--cron-restart", "0"]).get("cron_restart"),
            Some(&serde_json::Value::Null)
        );
        assert_eq!(spec(&["--cron-timezone", "UTC"]).cron_timezone.as_deref(), Some("UTC"));
    }

    #[test]
    fn the_stop_signal_has_its_full_name() {
        assert_eq!(spec(&["--kill-signal", "term"]).kill_signal, "SIGTERM");
    }

    #[test]
    fn an_app_may_wait_for_others() {
        assert_eq!(spec(&["--after", "db", "--after=cache"]).after, ["db", "cache"]);
    }
}
