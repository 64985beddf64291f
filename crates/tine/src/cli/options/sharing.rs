//! How the workers share their ports. All of it is tine's own.

use std::net::SocketAddr;

use tine_cluster::policy::Policy;

use super::program::set;
use crate::{
    cli::values::{self, Wish},
    spec::{Health, HealthProbe, Millis, Patch},
};

/// How ports are shared.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Its ports")]
pub(super) struct Sharing {
    /// Who gets the next connection: rr, random, sticky or shared [default: rr]
    #[arg(long)]
    policy: Option<Policy>,
    /// How that is done: auto, kernel-ebpf, kernel-cbpf, one-queue or hand-over [default: auto]
    #[arg(long, value_parser = values::mechanism)]
    mechanism: Option<Wish>,
    /// Bind this address before the start and pass it as systemd does; may be given again
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = values::address)]
    listen: Vec<SocketAddr>,
    /// A port that each worker has for itself, not shared; may be given again
    #[arg(long, value_name = "PORT")]
    private_port: Vec<u16>,
    /// Ask each worker whether it is well: /path, <http://…>, tcp, tcp:ADDRESS:PORT, exec:COMMAND
    #[arg(long, value_name = "PROBE", value_parser = values::probe)]
    health: Option<HealthProbe>,
    /// From one question to the next [default: 5s]
    #[arg(long, value_name = "TIME", requires = "health", value_parser = values::millis)]
    health_interval: Option<Millis>,
    /// So long after its start a worker need not be well [default: 0]
    #[arg(long, value_name = "TIME", requires = "health", value_parser = values::millis)]
    health_grace: Option<Millis>,
    /// How long open connections may take to finish [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = values::millis)]
    drain_timeout: Option<Millis>,
}

impl Sharing {
    pub(super) fn lay(&self, patch: &mut Patch) {
        set(patch, "policy", self.policy);
        match self.mechanism {
            Some(Wish(None)) => patch.unset("mechanism"),
            Some(Wish(mechanism)) => patch.set("mechanism", mechanism),
            None => {}
        }
        set(patch, "listen", Some(&self.listen).filter(|listen| !listen.is_empty()));
        set(patch, "private_ports", Some(&self.private_port).filter(|ports| !ports.is_empty()));
        set(patch, "health", self.health());
        set(patch, "drain_timeout", self.drain_timeout);
    }

    fn health(&self) -> Option<Health> {
        let mut health = Health::of(self.health.clone()?);
        health.interval = self.health_interval.unwrap_or(health.interval);
        health.grace = self.health_grace.unwrap_or(health.grace);
        Some(health)
    }
}

#[cfg(test)]
mod tests {
    use tine_cluster::policy::Mechanism;

    use super::super::tests::{parsed, patch, spec};
    use super::*;

    #[test]
    fn policy_and_mechanism_are_words() {
        let spec = spec(&["--policy", "sticky", "--mechanism", "one-queue"]);
        assert_eq!((spec.policy, spec.mechanism), (Policy::Sticky, Some(Mechanism::OneQueue)));
        assert_eq!(patch(&["--mechanism=auto"]).get("mechanism"), Some(&serde_json::Value::Null));
        assert!(parsed(&["--policy", "luck"]).is_err());
    }

    #[test]
    fn addresses_and_private_ports_are_lists() {
        let spec = spec(&["--listen", "[::1]:80", "--listen=1.2.3.4:5", "--private-port", "9229"]);
        let wanted: Vec<SocketAddr> =
            ["[::1]:80", "1.2.3.4:5"].map(|a| a.parse().unwrap()).to_vec();
        assert_eq!((spec.listen, spec.private_ports), (wanted, vec![9229]));
    }

    #[test]
    fn health_has_its_defaults() {
        let bare = spec(&["--health", "/ok"]).health.unwrap();
        assert_eq!((bare.interval, bare.grace, bare.threshold), (Millis(5000), Millis(0), 3));
        let line = ["--health=tcp", "--health-interval", "1s", "--health-grace=2s"];
        let health = spec(&line).health.unwrap();
        assert_eq!((health.interval, health.grace), (Millis(1000), Millis(2000)));
        assert!(parsed(&["--health-grace=2s"]).is_err(), "of what?");
    }

    #[test]
    fn open_connections_have_so_long() {
        assert_eq!(spec(&["--drain-timeout", "2m"]).drain_timeout, Millis(120_000));
    }
}
