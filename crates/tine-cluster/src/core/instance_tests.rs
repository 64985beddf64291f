use super::{super::restart::Restart, *};

const CRASH: End =
    End { asked: false, clean: false, listened: false, lived: Duration::from_millis(5) };

#[test]
fn a_crash_is_followed_by_a_worker_after_the_wait_and_not_before() {
    let (mut place, now, limits) = (Place::default(), Instant::now(), Limits::default());
    place.filled(WorkerId(1));
    assert_eq!(place.ended(CRASH, now, &limits), Next::Restart(limits.first));
    assert!(!place.is_due(now));
    assert!(place.is_due(now + limits.first));
    place.filled(WorkerId(2));
    assert!(!place.is_due(now + limits.first));
}

#[test]
fn a_program_that_always_exits_at_once_is_given_up() {
    let (mut place, now) = (Place::default(), Instant::now());
    let limits = Limits { max_restarts: 2, ..Limits::default() };
    assert!(matches!(place.ended(CRASH, now, &limits), Next::Restart(_)));
    assert_eq!(place.ended(CRASH, now, &limits), Next::GiveUp { early_ends: 2 });
    assert_eq!(place.filling(), Filling::GivenUp);
    assert!(!place.is_due(now + Duration::from_hours(1)));
}

#[test]
fn a_server_that_exits_with_0_has_a_successor_a_job_has_not() {
    let (now, limits) = (Instant::now(), Limits::default());
    let job = End { clean: true, ..CRASH };
    let server = End { listened: true, ..job };
    assert_eq!(Place::default().ended(job, now, &limits), Next::Rest);
    assert!(matches!(Place::default().ended(server, now, &limits), Next::Restart(_)));
}

#[test]
fn who_was_told_to_go_is_not_replaced() {
    let (mut place, now) = (Place::default(), Instant::now());
    let next = place.ended(End { asked: true, ..CRASH }, now, &Limits::default());
    assert_eq!((next, place.filling()), (Next::Rest, Filling::Empty));
}

#[test]
fn a_cancelled_restart_never_comes_due() {
    let (mut place, now, limits) = (Place::default(), Instant::now(), Limits::default());
    place.ended(CRASH, now, &limits);
    place.cancel();
    assert!(!place.is_due(now + Duration::from_hours(1)));
}

const LATE: End = End { lived: Duration::from_mins(1), listened: true, ..CRASH };

fn rules(restart: Restart) -> Rules {
    Rules { restart, limits: Limits::default() }
}

fn running(worker: u32) -> Place {
    let mut place = Place::default();
    place.filled(WorkerId(worker));
    place
}

#[test]
fn an_instance_that_is_stopped_stays_empty_until_it_is_started_again() {
    let (mut place, now) = (running(1), Instant::now());
    assert_eq!(place.stop(), Some(WorkerId(1)));
    // Whether it was seen to be told or crashed just before: nobody follows.
    assert_eq!(place.followed((CRASH, Some(1)), now, &rules(Restart::default())), Next::Rest);
    assert_eq!(place.filling(), Filling::Empty);
    assert!(!place.is_due(now + Duration::from_hours(1)));
    place.start(now, false);
    assert!(place.is_due(now));
}

#[test]
fn an_instance_that_is_restarted_is_filled_at_once_and_counts_anew() {
    let (now, rules) = (Instant::now(), rules(Restart::default()));
    let mut place = running(1);
    place.followed((CRASH, Some(1)), now, &rules);
    assert_eq!(place.early_ends(), 1);
    place.filled(WorkerId(2));
    assert_eq!(place.restart(now), Some(WorkerId(2)));
    let asked = End { asked: true, ..CRASH };
    let next = place.followed((asked, None), now, &rules);
    assert_eq!((next, place.is_due(now)), (Next::Restart(Duration::ZERO), true));
    assert_eq!((place.early_ends(), place.restarts()), (0, 1));
}

#[test]
fn the_owners_wish_goes_before_rules_and_delays() {
    let now = Instant::now();
    let delay = Delay::Fixed(Duration::from_secs(9));
    let never = rules(Restart { automatic: false, delay, ..Restart::default() });
    let mut place = running(1);
    assert_eq!(place.restart(now), Some(WorkerId(1)));
    assert_eq!(place.followed((CRASH, Some(0)), now, &never), Next::Restart(Duration::ZERO));
    let mut place = running(1);
    assert_eq!(place.restart(now), Some(WorkerId(1)));
    assert_eq!(place.failed(now, &never), Next::Restart(Duration::ZERO));
}

#[test]
fn the_last_wish_counts() {
    let (now, rules) = (Instant::now(), rules(Restart::default()));
    let asked = End { asked: true, ..CRASH };
    let mut place = running(1);
    assert!(place.restart(now).is_some() && place.stop().is_some());
    assert_eq!(place.followed((asked, None), now, &rules), Next::Rest);
    let mut place = running(1);
    assert!(place.stop().is_some());
    place.start(now, true);
    assert_eq!(place.followed((asked, None), now, &rules), Next::Restart(Duration::ZERO));
    // The whole cluster stops.
    let mut place = running(1);
    assert!(place.restart(now).is_some());
    place.cancel();
    assert_eq!(place.followed((asked, None), now, &rules), Next::Rest);
}

#[test]
fn whoever_is_started_and_runs_is_left_alone() {
    let (mut place, now) = (running(1), Instant::now());
    place.start(now, false);
    let next = place.followed((LATE, None), now, &rules(Restart::default()));
    assert_eq!(next, Next::Restart(Duration::ZERO), "as after any long life");
}

#[test]
fn a_given_up_instance_can_be_started_or_stopped() {
    let (mut place, now) = (running(1), Instant::now());
    place.give_up();
    assert_eq!(place.restart(now), None);
    assert!(place.is_due(now));
    place.give_up();
    assert_eq!((place.stop(), place.filling()), (None, Filling::Empty));
}

#[test]
fn an_exit_code_that_means_the_end_leaves_the_instance_finished() {
    let (mut place, now) = (running(1), Instant::now());
    let rules = rules(Restart { stop_exit_codes: [7].into(), ..Restart::default() });
    assert_eq!(place.followed((LATE, Some(7)), now, &rules), Next::Rest);
    assert_eq!(place.filling(), Filling::Finished);
}

#[test]
fn without_restarts_every_end_is_the_last_and_a_failed_start_too() {
    let now = Instant::now();
    let never = rules(Restart { automatic: false, ..Restart::default() });
    let mut place = running(1);
    assert_eq!(place.followed((CRASH, None), now, &never), Next::Rest);
    assert_eq!(place.filling(), Filling::Finished);
    assert_eq!(running(1).failed(now, &never), Next::GiveUp { early_ends: 1 });
}

#[test]
fn where_no_job_ends_an_end_with_0_is_followed_like_a_crash() {
    let now = Instant::now();
    let always = rules(Restart { jobs_end: false, ..Restart::default() });
    let job = |lived| (End { clean: true, lived, ..CRASH }, Some(0));
    let mut place = running(1);
    let long = Duration::from_secs(5);
    assert_eq!(place.followed(job(long), now, &always), Next::Restart(Duration::ZERO));
    let short = Duration::from_millis(5);
    let first = always.limits.first;
    assert_eq!(place.followed(job(short), now, &always), Next::Restart(first));
    assert!(!place.is_due(now) && place.is_due(now + first));
    let limits = Limits { max_restarts: 2, ..Limits::default() };
    let next = place.followed(job(short), now, &Rules { limits, ..always.clone() });
    assert_eq!(next, Next::GiveUp { early_ends: 2 });
    let codes = Restart { stop_exit_codes: [0].into(), ..always.restart };
    assert_eq!(running(1).followed(job(short), now, &rules(codes)), Next::Rest);
    let asked = (End { asked: true, ..job(long).0 }, Some(0));
    let always = rules(Restart { jobs_end: false, ..Restart::default() });
    assert_eq!(running(1).followed(asked, now, &always), Next::Rest);
}

#[test]
fn a_fixed_delay_holds_after_every_end_and_does_not_grow() {
    let (now, wait) = (Instant::now(), Duration::from_secs(3));
    let fixed = rules(Restart { delay: Delay::Fixed(wait), ..Restart::default() });
    let mut place = running(1);
    for end in [CRASH, CRASH, LATE] {
        assert_eq!(place.followed((end, Some(1)), now, &fixed), Next::Restart(wait));
        assert!(!place.is_due(now) && place.is_due(now + wait));
    }
    assert_eq!(place.failed(now, &fixed), Next::Restart(wait));
    let limits = Limits { max_restarts: 2, ..Limits::default() };
    let next = place.failed(now, &Rules { limits, ..fixed });
    assert_eq!(next, Next::GiveUp { early_ends: 2 }, "it gives up all the same");
}

#[test]
fn each_state_has_its_word() {
    let (worker, until) = (Filling::Worker(WorkerId(1)), Instant::now());
    let word = State::of;
    assert_eq!(word(worker, Some((Phase::Starting, false))), State::Launching);
    assert_eq!(word(worker, Some((Phase::Online, false))), State::Launching);
    assert_eq!(word(worker, Some((Phase::Starting, true))), State::Online);
    assert_eq!(word(worker, Some((Phase::Draining, true))), State::Stopping);
    assert_eq!(word(Filling::Empty, Some((Phase::Gone, true))), State::Stopping);
    assert_eq!(word(Filling::Empty, None), State::Stopped);
    assert_eq!(word(Filling::Waiting { until }, None), State::Waiting);
    assert_eq!(word(Filling::Finished, None), State::Finished);
    assert_eq!(word(Filling::GivenUp, None), State::GivenUp);
}
