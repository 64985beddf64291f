use proptest::{collection::vec, prelude::*};

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

fn all(queue: &mut HandOver<u32>, now: Instant) -> Vec<(WorkerId, u32)> {
    std::iter::from_fn(|| queue.next(now).map(|(id, &connection)| (id, connection))).collect()
}

#[test]
fn twelve_connections_over_three_idle_workers_go_four_each() {
    let now = Instant::now();
    let mut queue = with(&[A, B, C], 0);
    let mut taken = BTreeMap::new();
    for connection in 0..12 {
        queue.connection(connection);
        let (id, _) = queue.next(now).unwrap();
        assert_eq!(queue.reply(id, true), Some(connection));
        *taken.entry(id).or_insert(0) += 1;
    }
    assert_eq!(taken, BTreeMap::from([(A, 4), (B, 4), (C, 4)]));
}

#[test]
fn a_worker_gets_its_next_connection_when_it_has_answered() {
    let now = Instant::now();
    let mut queue = with(&[A, B], 4);
    assert_eq!(all(&mut queue, now), [(A, 0), (B, 1)]);
    assert_eq!(queue.reply(B, true), Some(1));
    assert_eq!(all(&mut queue, now), [(B, 2)]);
    assert_eq!((queue.pending(), queue.in_flight()), (1, 2));
}

#[test]
fn what_a_dead_worker_had_not_answered_for_goes_first_to_another() {
    let now = Instant::now();
    let mut queue = with(&[A, B], 4);
    assert_eq!(all(&mut queue, now), [(A, 0), (B, 1)]);
    queue.worker_left(A);
    assert_eq!(queue.reply(A, true), None, "a dead worker's word is not heard");
    queue.reply(B, true);
    assert_eq!(all(&mut queue, now), [(B, 0)]);
}

#[test]
fn a_leaving_worker_keeps_what_it_may_have_accepted() {
    let now = Instant::now();
    let mut queue = with(&[A, B], 3);
    assert_eq!(all(&mut queue, now), [(A, 0), (B, 1)]);
    queue.worker_leaving(A);
    queue.reply(B, true);
    assert_eq!(all(&mut queue, now), [(B, 2)]);
    assert_eq!(queue.reply(A, true), Some(0));
    assert_eq!((queue.pending(), queue.in_flight()), (0, 1));
    queue.connection(3);
    assert_eq!(queue.next(now), None, "it gets no more");
}

#[test]
fn a_connection_that_a_leaving_worker_refuses_goes_to_another() {
    let now = Instant::now();
    let mut queue = with(&[A, B], 1);
    assert_eq!(all(&mut queue, now), [(A, 0)]);
    queue.worker_leaving(A);
    assert_eq!(queue.reply(A, false), None);
    assert_eq!(all(&mut queue, now), [(B, 0)]);
}

#[test]
fn a_connection_that_all_refuse_rests_and_lets_others_pass() {
    let start = Instant::now();
    let mut queue = with(&[A, B], 1);
    for id in [A, B] {
        assert_eq!(all(&mut queue, start), [(id, 0)]);
        queue.reply(id, false);
    }
    assert_eq!(queue.next(start), None);
    assert_eq!(queue.poll_timeout(), Some(start + REST));
    queue.connection(1);
    assert_eq!(all(&mut queue, start), [(A, 1)]);
    queue.reply(A, true);
    assert_eq!(queue.next(start + REST / 2), None);
    assert_eq!(all(&mut queue, start + REST), [(B, 0)]);
    assert_eq!(queue.poll_timeout(), None);
}

#[test]
fn a_new_worker_is_offered_what_the_others_refused_at_once() {
    let now = Instant::now();
    let mut queue = with(&[A], 1);
    assert_eq!(all(&mut queue, now), [(A, 0)]);
    queue.reply(A, false);
    assert_eq!(queue.next(now), None);
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

#[test]
fn a_worker_that_does_not_answer_is_called_silent_until_it_does() {
    let now = Instant::now();
    let mut queue = with(&[A, B], 1);
    assert_eq!(all(&mut queue, now), [(A, 0)]);
    assert_eq!(queue.silent(now + PATIENCE / 2).count(), 0);
    assert_eq!(queue.silent(now + PATIENCE).collect::<Vec<_>>(), [A]);
    queue.reply(A, true);
    assert_eq!(queue.silent(now + PATIENCE).count(), 0);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Join(u32),
    Leaving(u32),
    Left(u32),
    Connection,
    Next,
    Reply(u32, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..4_u32;
    prop_oneof![
        2 => id().prop_map(Step::Join),
        1 => id().prop_map(Step::Leaving),
        1 => id().prop_map(Step::Left),
        4 => Just(Step::Connection),
        5 => Just(Step::Next),
        5 => (id(), any::<bool>()).prop_map(|(id, accepted)| Step::Reply(id, accepted)),
        1 => (0..80_u64).prop_map(Step::Wait),
    ]
}

/// What an onlooker who sees only the calls and their results knows.
#[derive(Default)]
struct Onlooker {
    offered: u32,
    out: BTreeMap<WorkerId, u32>,
    accepted: BTreeSet<u32>,
    refused: BTreeSet<u32>,
    /// Workers in the order in which they became idle.
    idle: Vec<WorkerId>,
    last_fresh: Option<u32>,
}

impl Onlooker {
    fn sent(&mut self, id: WorkerId, connection: u32) {
        assert!(!self.accepted.contains(&connection), "{connection} was accepted already");
        assert!(!self.out.values().any(|&out| out == connection), "{connection} is out twice");
        assert!(self.out.insert(id, connection).is_none(), "{id} has one already");
        let place = self.idle.iter().position(|&idle| idle == id).expect("it was idle");
        if self.refused.contains(&connection) {
            self.idle.remove(place);
            return;
        }
        assert_eq!(place, 0, "a connection that nobody refused goes to who waited longest");
        self.idle.remove(0);
        assert!(self.last_fresh < Some(connection), "fresh connections keep their order");
        self.last_fresh = Some(connection);
    }

    fn is_idle(&mut self, id: WorkerId) {
        if !self.idle.contains(&id) && !self.out.contains_key(&id) {
            self.idle.push(id);
        }
    }

    /// Seen once: what comes back from a dead worker is no longer fresh.
    fn died(&mut self, id: WorkerId) {
        self.idle.retain(|&other| other != id);
        self.refused.extend(self.out.remove(&id));
    }

    fn answered(&mut self, id: WorkerId, accepted: bool, result: Option<u32>) {
        let Some(out) = self.out.remove(&id) else {
            assert_eq!(result, None);
            return;
        };
        assert_eq!(result, accepted.then_some(out));
        if accepted {
            assert!(self.accepted.insert(out), "{out} was accepted twice");
            return;
        }
        self.refused.insert(out);
    }
}

proptest! {
    #[test]
    fn no_connection_is_lost_none_accepted_twice_and_idle_workers_take_turns(
        steps in vec(step(), 0..200)
    ) {
        let mut now = Instant::now();
        let mut queue = HandOver::default();
        let mut seen = Onlooker::default();
        let mut members = BTreeSet::new();
        for step in steps {
            match step {
                Step::Join(id) => {
                    queue.worker_joined(WorkerId(id));
                    members.insert(id);
                    seen.is_idle(WorkerId(id));
                }
                Step::Leaving(id) => {
                    queue.worker_leaving(WorkerId(id));
                    members.remove(&id);
                    seen.idle.retain(|&other| other != WorkerId(id));
                }
                Step::Left(id) => {
                    queue.worker_left(WorkerId(id));
                    members.remove(&id);
                    seen.died(WorkerId(id));
                }
                Step::Connection => {
                    queue.connection(seen.offered);
                    seen.offered += 1;
                }
                Step::Next => {
                    if let Some((id, &connection)) = queue.next(now) {
                        prop_assert!(members.contains(&id.0), "{} has left", id);
                        seen.sent(id, connection);
                    }
                }
                Step::Reply(id, accepted) => {
                    let result = queue.reply(WorkerId(id), accepted);
                    let owed = seen.out.contains_key(&WorkerId(id));
                    seen.answered(WorkerId(id), accepted, result);
                    if owed && members.contains(&id) {
                        seen.is_idle(WorkerId(id));
                    }
                }
                Step::Wait(millis) => now += Duration::from_millis(millis),
            }
            prop_assert_eq!(queue.in_flight(), seen.out.len());
            prop_assert_eq!(
                queue.pending() + queue.in_flight() + seen.accepted.len(),
                seen.offered as usize
            );
        }
        finish(queue, seen, now);
    }
}

/// Whatever happened: one willing worker is enough for all that is left.
fn finish(mut queue: HandOver<u32>, mut seen: Onlooker, mut now: Instant) {
    (0..4).for_each(|id| queue.worker_left(WorkerId(id)));
    seen.out.clear();
    queue.worker_joined(WorkerId(9));
    while seen.accepted.len() < seen.offered as usize {
        let Some((id, &connection)) = queue.next(now) else {
            now = queue.poll_timeout().expect("something is to come");
            continue;
        };
        assert_eq!(queue.reply(id, true), Some(connection));
        assert!(seen.accepted.insert(connection), "{connection} was accepted twice");
    }
    assert_eq!((queue.pending(), queue.in_flight()), (0, 0));
}
