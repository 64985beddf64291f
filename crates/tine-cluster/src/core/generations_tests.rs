use proptest::prelude::*;

use super::*;

const A: Instance = Instance(0);
const B: Instance = Instance(1);
const MINUTE: Duration = Duration::from_mins(1);

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("1 to 99")
}

fn aside() -> Generations {
    let mut generations = Generations::new(Beside::Aside(MINUTE));
    generations.replaced(A, WorkerId(1));
    generations.replaced(B, WorkerId(2));
    generations
}

#[test]
fn the_time_of_those_aside_begins_when_all_places_have_their_new_worker() {
    let (mut generations, now) = (aside(), Instant::now());
    assert_eq!(generations.poll_timeout(), None);
    assert!(!generations.is_over(now + 2 * MINUTE), "the reload may take as long as it does");
    generations.settled(now);
    assert_eq!(generations.poll_timeout(), Some(now + MINUTE));
    assert!(!generations.is_over(now + MINUTE / 2));
    assert!(generations.is_over(now + MINUTE));
}

#[test]
fn with_the_last_of_those_aside_the_way_back_is_gone() {
    let (mut generations, now) = (aside(), Instant::now());
    generations.settled(now);
    generations.gone(WorkerId(1));
    assert!(!generations.is_over(now) && generations.keeps_aside(WorkerId(2)));
    assert_eq!(generations.old().collect::<Vec<_>>(), [(B, WorkerId(2))]);
    generations.gone(WorkerId(2));
    assert!(generations.is_over(now));
}

#[test]
fn a_canary_waits_for_a_word_whatever_happens() {
    let (mut generations, now) = (Generations::new(Beside::Canary(percent(5))), Instant::now());
    generations.replaced(A, WorkerId(1));
    generations.settled(now);
    assert_eq!(generations.poll_timeout(), None);
    assert!(generations.keeps(WorkerId(1)) && !generations.keeps_aside(WorkerId(1)));
    generations.gone(WorkerId(1));
    assert!(!generations.is_over(now + 1000 * MINUTE));
}

#[test]
fn a_part_that_leaves_one_nothing_is_none() {
    assert_eq!((Percent::new(0), Percent::new(100)), (None, None));
    assert_eq!(percent(99).to_string(), "99 %");
}

#[test]
fn where_one_generation_has_nobody_the_other_gets_all() {
    let seats = [SeatId(3), SeatId(4)];
    assert_eq!(turns(&seats, &[], percent(10)), seats);
    assert_eq!(turns(&[], &seats, percent(10)), seats);
}

#[test]
fn the_turns_of_the_few_are_spread_over_the_round() {
    let turns = turns(&[SeatId(0)], &[SeatId(1)], percent(25));
    let expected = [0, 0, 0, 1].map(SeatId);
    assert_eq!(turns.len(), 100);
    assert!(turns.chunks(4).all(|four| four == expected), "{turns:?}");
}

#[test]
fn seats_are_parted_by_who_holds_them() {
    let seats = [(0, 1), (1, 7), (2, 2)];
    let seats = seats.map(|(seat, holder)| (SeatId(seat), vec![WorkerId(holder)])).to_vec();
    let kept = [WorkerId(1), WorkerId(2)].into();
    assert_eq!(parted(seats, &kept), (vec![SeatId(0), SeatId(2)], vec![SeatId(1)]));
}

proptest! {
    /// Exact up to forty workers, and to a turn beyond.
    #[test]
    fn each_generation_has_its_part_and_each_seat_of_it_as_much_as_the_others(
        old in 1u32..60,
        new in 1u32..60,
        part in 1u8..100,
    ) {
        let old: Vec<SeatId> = (0..old).map(SeatId).collect();
        let new: Vec<SeatId> = (1000..1000 + new).map(SeatId).collect();
        let turns = turns(&old, &new, percent(part));
        prop_assert!(turns.len() <= MOST_TURNS);
        let of = |seat: &SeatId| turns.iter().filter(|turn| *turn == seat).count();
        let theirs: usize = new.iter().map(of).sum();
        let exact = turns.len() * usize::from(part) / 100;
        prop_assert!(theirs.abs_diff(exact) <= 1);
        for generation in [&old, &new] {
            let counts: Vec<usize> = generation.iter().map(of).collect();
            let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1));
        }
    }
}
