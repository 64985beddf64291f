use super::*;

const A: WorkerId = WorkerId(1);
const B: WorkerId = WorkerId(2);
const C: WorkerId = WorkerId(3);

fn with(workers: &[WorkerId], connections: u32) -> HandOver<u32> {
    let mut queue = HandOver::default();
    for &id in workers {
        queue.worker_joined(id);
    }
    for connection in 0..connections {
        queue.connection(connection);
    }
    queue
}

fn next(queue: &mut HandOver<u32>, now: Instant) -> Option<(WorkerId, u32)> {
    let Sent { to, number, connection } = queue.next(now)?;
    assert!(number > 0);
    Some((to, *connection))
}

fn all(queue: &mut HandOver<u32>, now: Instant) -> Vec<(WorkerId, u32)> {
    std::iter::from_fn(|| next(queue, now)).collect()
}

/// The worker answers for what it has had longest.
fn reply(queue: &mut HandOver<u32>, id: WorkerId, accepted: bool, now: Instant) -> Option<u32> {
    let oldest = queue.workers.get(&id).and_then(|worker| worker.in_flight.front());
    let number = oldest.map_or(0, |sent| sent.number);
    queue.reply(id, number, accepted, now)
}

#[test]
fn twelve_connections_over_three_idle_workers_go_four_each() {
    let now = Instant::now();
    let mut queue = with(&[A, B, C], 0);
    let mut taken = BTreeMap::new();
    for connection in 0..12 {
        queue.connection(connection);
        let (id, _) = next(&mut queue, now).unwrap();
        assert_eq!(reply(&mut queue, id, true, now), Some(connection));
        *taken.entry(id).or_insert(0) += 1;
    }
    assert_eq!(taken, BTreeMap::from([(A, 4), (B, 4), (C, 4)]));
}

/// All have answered a moment ago.
fn lively(workers: &[WorkerId], connections: u32, now: Instant) -> HandOver<u32> {
    let mut queue = with(workers, 0);
    for &id in workers {
        queue.connection(1000);
        assert_eq!(next(&mut queue, now), Some((id, 1000)));
        assert_eq!(reply(&mut queue, id, true, now), Some(1000));
    }
    for connection in 0..connections {
        queue.connection(connection);
    }
    queue
}

#[test]
fn with_nobody_idle_each_gets_one_ahead_and_then_one_for_each_answer() {
    let now = Instant::now();
    let mut queue = lively(&[A, B], 6, now);
    assert_eq!(all(&mut queue, now), [(A, 0), (B, 1), (A, 2), (B, 3)]);
    assert!(!queue.has_taker(now));
    assert_eq!(reply(&mut queue, B, true, now), Some(1));
    assert_eq!(all(&mut queue, now), [(B, 4)]);
    assert_eq!((queue.pending(), queue.in_flight()), (1, 4));
}

#[test]
fn who_is_idle_goes_before_who_is_about_to_be() {
    let now = Instant::now();
    let mut queue = lively(&[A, B], 1, now);
    assert_eq!(all(&mut queue, now), [(A, 0)]);
    queue.connection(1);
    assert_eq!(all(&mut queue, now), [(B, 1)]);
}

#[test]
fn a_worker_gets_nothing_ahead_before_it_has_answered() {
    let now = Instant::now();
    let mut queue = with(&[A, B], 3);
    assert_eq!(all(&mut queue, now), [(A, 0), (B, 1)]);
    assert!(!queue.has_taker(now));
}

#[test]
fn a_worker_that_has_been_silent_for_a_while_gets_nothing_ahead() {
    let start = Instant::now();
    let mut queue = lively(&[A, B], 2, start);
    let later = start + AHEAD;
    assert_eq!(all(&mut queue, later), [(A, 0), (B, 1)]);
    queue.connection(2);
    assert!(!queue.has_taker(later));
    assert_eq!(all(&mut queue, later), []);
    assert_eq!(reply(&mut queue, B, true, later), Some(1));
    assert_eq!(all(&mut queue, later), [(B, 2)]);
}

#[test]
fn an_answer_counts_for_the_connection_that_it_names() {
    let now = Instant::now();
    let mut queue = lively(&[A], 2, now);
    let first = queue.next(now).unwrap().number;
    let second = queue.next(now).unwrap().number;
    assert_eq!(queue.reply(A, second, true, now), Some(1));
    assert_eq!(queue.reply(A, second, true, now), None, "it was answered for");
    assert_eq!(queue.reply(B, first, true, now), None, "it was not sent to B");
    queue.worker_left(A);
    queue.worker_joined(B);
    assert_eq!(all(&mut queue, now), [(B, 0)]);
}

#[test]
fn what_a_dead_worker_had_not_answered_for_goes_first_to_another() {
    let now = Instant::now();
    let mut queue = lively(&[A, B], 6, now);
    assert_eq!(all(&mut queue, now), [(A, 0), (B, 1), (A, 2), (B, 3)]);
    queue.worker_left(A);
    assert_eq!(reply(&mut queue, A, true, now), None, "a dead worker's word is not heard");
    for connection in [1, 3] {
        assert_eq!(reply(&mut queue, B, true, now), Some(connection));
    }
    assert_eq!(all(&mut queue, now), [(B, 0), (B, 2)]);
}

#[test]
fn a_leaving_worker_keeps_what_it_may_have_accepted() {
    let now = Instant::now();
    let mut queue = lively(&[A, B], 4, now);
    assert_eq!(all(&mut queue, now), [(A, 0), (B, 1), (A, 2), (B, 3)]);
    queue.worker_leaving(A);
    queue.connection(4);
    assert_eq!(all(&mut queue, now), []);
    assert_eq!(reply(&mut queue, A, true, now), Some(0));
    assert_eq!(reply(&mut queue, A, true, now), Some(2));
    assert_eq!((queue.pending(), queue.in_flight()), (1, 2));
    reply(&mut queue, B, true, now);
    assert_eq!(all(&mut queue, now), [(B, 4)], "A gets no more");
}

#[test]
fn a_connection_that_a_leaving_worker_refuses_goes_to_another() {
    let now = Instant::now();
    let mut queue = with(&[A, B], 1);
    assert_eq!(all(&mut queue, now), [(A, 0)]);
    queue.worker_leaving(A);
    assert_eq!(reply(&mut queue, A, false, now), None);
    assert_eq!(all(&mut queue, now), [(B, 0)]);
}

#[test]
fn a_connection_that_all_refuse_rests_and_lets_others_pass() {
    let start = Instant::now();
    let mut queue = with(&[A, B], 1);
    for id in [A, B] {
        assert_eq!(all(&mut queue, start), [(id, 0)]);
        reply(&mut queue, id, false, start);
    }
    assert_eq!(next(&mut queue, start), None);
    assert_eq!(queue.poll_timeout(), Some(start + REST));
    queue.connection(1);
    assert_eq!(all(&mut queue, start), [(A, 1)]);
    reply(&mut queue, A, true, start);
    assert_eq!(next(&mut queue, start + REST / 2), None);
    assert_eq!(all(&mut queue, start + REST), [(B, 0)]);
    assert_eq!(queue.poll_timeout(), None);
}

#[test]
fn a_new_worker_is_offered_what_the_others_refused_at_once() {
    let now = Instant::now();
    let mut queue = with(&[A], 1);
    assert_eq!(all(&mut queue, now), [(A, 0)]);
    reply(&mut queue, A, false, now);
    assert_eq!(next(&mut queue, now), None);
    queue.worker_joined(B);
    assert_eq!(all(&mut queue, now), [(B, 0)]);
}

#[test]
fn accepting_pauses_at_the_limit() {
    let now = Instant::now();
    let mut queue = HandOver::default();
    let mut accepted = 0;
    while queue.wants_more() {
        queue.connection(accepted);
        accepted += 1;
    }
    assert_eq!(queue.pending(), MOST_PENDING);
    queue.worker_joined(A);
    assert!(queue.next(now).is_some());
    assert!(queue.wants_more());
}
