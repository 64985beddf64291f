//! Case 44: the other versions of Node, and Bun and Deno.
//!
//! A worker tells three answers of a primary apart: connections to come, a socket of its own, and a shared one.
//! Node's own `SCHED_NONE` is not among the ways: from Node 22 on it breaks a worker that tries a taken address
//! again.

use std::thread;

use compliance::{IN_ANY_ORDER, IN_TURN, Interpreter, Way, compare_on, get};

use crate::{datagrams, deaths, ends, listen, messages, paths, web};

macro_rules! on_version {
    ($version:ident) => {
        mod $version {
            use super::*;

            on_version! { $version,
                listen::each_worker_answers,
                listen::listen_0_is_one_port_for_all_and_for_the_next_worker,
                listen::a_server_that_listens_again_loses_nobody,
                listen::a_taken_address_is_an_error_and_can_be_tried_again,
                paths::a_path_is_served_by_all_and_removed_at_the_end,
                datagrams::datagrams_are_answered,
                web::tls_sessions_resume_at_every_worker_and_at_the_next,
                ends::a_running_request_is_answered_before_the_end,
                ends::each_way_to_end_has_its_code,
                messages::messages_come_back_equal_and_in_order,
            }

            #[test]
            fn what_a_killed_worker_had_not_taken_goes_to_the_other() {
                let ways = [Way::HAND_OVER, Way::KERNEL_RR, Way::ONE_QUEUE, Way::NODE_NONE];
                let case = deaths::what_a_killed_worker_had_not_taken_goes_to_the_other;
                compare_on(&Interpreter::installed(stringify!($version)), &ways, case);
            }
        }
    };
    ($version:ident, $($module:ident::$case:ident),+ $(,)?) => { $(
        #[test]
        fn $case() {
            let ways = [Way::NODE_RR, Way::HAND_OVER, Way::KERNEL_RR, Way::ONE_QUEUE];
            compare_on(&Interpreter::installed(stringify!($version)), &ways, $module::$case);
        }
    )+ };
}

on_version!(node16);
on_version!(node18);
on_version!(node22);
on_version!(node24);
on_version!(node26);

mod node18_and_earlier {
    use super::*;

    /// These accept until that would block, and declared sockets block as they are bound.
    #[test]
    fn a_declared_descriptor_is_served() {
        for version in ["node16", "node18"] {
            paths::declared_is_served(&Interpreter::installed(version));
        }
    }
}

mod node22_and_later {
    use super::*;

    /// Case 20. Earlier versions know no such option, and ask the primary.
    #[test]
    fn who_reuses_a_port_binds_alone_and_shares_it() {
        for version in ["node22", "node24", "node26"] {
            let interpreter = Interpreter::installed(version);
            compare_on(&interpreter, &IN_TURN, listen::a_reused_port_is_bound_by_each_worker);
            compare_on(&interpreter, &IN_ANY_ORDER, listen::a_reused_port_is_bound_by_each_worker);
        }
    }
}

/// Under one socket for all Deno listens elsewhere than it says, on Node's primary too.
mod deno {
    use super::*;

    #[test]
    fn each_worker_answers() {
        let case = listen::each_worker_answers;
        compare_on(&Interpreter::installed("deno"), &[Way::HAND_OVER], case);
    }

    #[test]
    fn a_running_request_is_answered_before_the_end() {
        let case = ends::a_running_request_is_answered_before_the_end;
        compare_on(&Interpreter::installed("deno"), &[Way::HAND_OVER], case);
    }
}

/// Bun asks no primary: each worker binds by itself and shares the port. At a disconnect it closes its channel,
/// and serves on.
mod bun {
    use super::*;

    const ID: &str = "
const { worker } = require('cluster');
require('http').createServer((request, response) => {
  if (process.connected) process.send('begun');
  setTimeout(() => response.end(String(worker.id)), 50);
}).listen(+process.env.PORT, '127.0.0.1', () => process.send('ready'));
";

    /// Cases 4 and 32.
    #[test]
    fn workers_answer_also_after_a_disconnect() {
        let ways = [Way::HAND_OVER, Way::KERNEL_RR, Way::ONE_QUEUE];
        compare_on(&Interpreter::installed("bun"), &ways, |primary| {
            let port = primary.port();
            let worker = primary.fork(ID, &[("PORT", &port)]);
            assert_eq!(primary.message(worker), "ready");
            let client = thread::spawn(move || get(port));
            assert_eq!(primary.message(worker), "begun");
            primary.disconnect(worker);
            assert_eq!(client.join().expect("the client lives").expect("an answer"), "1");
            primary.wait_for(worker, "disconnect");
            assert_eq!(get(port).expect("it serves on"), "1");
            let exit = primary.kill(worker);
            assert!(exit.exited_after_disconnect);
        });
    }
}
