use super::*;

const WORKER: WorkerId = WorkerId(1);

fn heard(texts: &[&str]) -> Programs {
    let mut programs = Programs::default();
    for text in texts {
        drop(programs.hear(WORKER, text));
    }
    programs
}

fn action(name: &str, arity: u32) -> String {
    json!({"type": "axm:action", "data": {"action_name": name, "arity": arity}}).to_string()
}

#[test]
fn what_a_program_tells_is_kept_and_the_last_word_counts() {
    let programs = heard(&[
        &action("gc", 1),
        &action("gc", 2),
        r#"{"type":"axm:monitor","data":{"Latency":{"value":"3","unit":"ms"}}}"#,
        r#"{"type":"axm:monitor","data":{"Heap":{"value":7}}}"#,
        r#"{"type":"axm:option:configuration","data":{"a":1}}"#,
        r#"{"type":"axm:option:configuration","data":{"b":2}}"#,
    ]);
    let told = programs.told(WORKER).unwrap();
    assert_eq!(told.actions, [json!({"action_name": "gc", "arity": 2})]);
    assert_eq!(Value::from(told.metrics.clone()), json!({"Heap": {"value": 7}}));
    assert_eq!(Value::from(told.options.clone()), json!({"a": 1, "b": 2}));
}

#[test]
fn nonsense_and_what_is_somebody_elses_is_ignored() {
    let wide = action(&"x".repeat(SHORT), 0);
    let programs = heard(&[
        "\"ready\"",
        "\"axm:action\"",
        r#"{"type":"process:msg","data":{"axm:action":1}}"#,
        r#"{"type":"axm:action"}"#,
        r#"{"type":"axm:action","data":{"action_name":7}}"#,
        r#"{"type":"axm:monitor","data":[]}"#,
        r#"{"type":"axm:reply","data":{"action_name":"gc"}}"#,
        &wide,
    ]);
    assert_eq!(shown(programs.told(WORKER)), None);
}

#[test]
fn one_worker_tells_of_so_many_actions_and_no_more() {
    let mut programs = Programs::default();
    for number in 0..MOST + 10 {
        programs.hear(WORKER, &action(&number.to_string(), 0));
    }
    assert_eq!(programs.told(WORKER).unwrap().actions.len(), MOST);
}

#[test]
fn an_answer_is_for_whoever_has_waited_longest_and_still_does() {
    let mut programs = heard(&[&action("gc", 1), &action("dump", 1)]);
    drop(programs.expect(WORKER, "gc").unwrap());
    let mut first = programs.expect(WORKER, "gc").unwrap();
    let mut second = programs.expect(WORKER, "gc").unwrap();
    drop(programs.hear(WORKER, r#"{"type":"axm:reply","data":{"action_name":"dump","return":1}}"#));
    drop(
        programs.hear(WORKER, r#"{"type":"axm:reply","data":{"action_name":"gc","return":"one"}}"#),
    );
    assert_eq!(first.try_recv(), Ok(json!("one")));
    assert!(second.try_recv().is_err());
    drop(programs.hear(WORKER, r#"{"type":"axm:reply","data":{"action_name":"gc"}}"#));
    assert_eq!(second.try_recv(), Ok(Value::Null), "it returned nothing");
}

#[test]
fn an_unknown_action_is_told_with_those_that_there_are() {
    let mut programs = heard(&[&action("gc", 1), &action("dump", 1)]);
    let said = programs.expect(WORKER, "gcc").unwrap_err();
    assert_eq!(said, "has no action `gcc`; it has gc, dump");
    let said = programs.expect(WorkerId(2), "gc").unwrap_err();
    assert_eq!(said, "has no action `gc`, and no other");
}

#[test]
fn what_is_told_once_is_for_the_next_manager_and_so_often_that_nobody_is_kept_busy() {
    let mut programs = Programs::default();
    let kept = programs.hear(WORKER, &action("gc", 1)).unwrap();
    let metrics = r#"{"type":"axm:monitor","data":{"Heap":{"value":7}}}"#;
    assert_eq!(programs.hear(WORKER, metrics), None, "they come again");
    let mut next = Programs::default();
    next.remember(WORKER, &kept);
    assert!(next.expect(WORKER, "gc").is_ok());
    let changes = (0..2000).filter(|arity| programs.hear(WORKER, &action("gc", *arity)).is_some());
    assert_eq!(changes.count(), CHANGES as usize - 1);
}
