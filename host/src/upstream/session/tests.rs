use super::*;
use crate::flow::testing::principal;

fn limits(total: usize, per_principal: usize) -> Limits {
    Limits { total, per_principal, idle: Duration::from_secs(60) }
}

#[test]
fn ids_are_long_and_never_repeat() {
    let sessions = Sessions::new(Limits::default());
    let (first, _) = sessions.open(principal("a"), ()).unwrap();
    let (second, _) = sessions.open(principal("a"), ()).unwrap();
    assert_eq!(first.len(), 32);
    assert_ne!(first, second);
}

#[test]
fn a_session_is_its_principals_alone() {
    let sessions = Sessions::new(Limits::default());
    let (id, _) = sessions.open(principal("a"), 1).unwrap();
    assert_eq!(sessions.find(&id, &principal("a")).unwrap().upstream, 1);
    assert_eq!(sessions.find(&id, &principal("b")).unwrap_err(), Rejection::SessionNotFound);
    assert_eq!(sessions.close(&id, &principal("b")).unwrap_err(), Rejection::SessionNotFound);
    sessions.close(&id, &principal("a")).unwrap();
    assert_eq!(sessions.find(&id, &principal("a")).unwrap_err(), Rejection::SessionNotFound);
}

#[test]
fn a_principal_pushes_out_only_its_own() {
    let sessions = Sessions::new(limits(100, 2));
    let (others, _) = sessions.open(principal("b"), 0).unwrap();
    let (oldest, _) = sessions.open(principal("a"), 1).unwrap();
    sessions.open(principal("a"), 2).unwrap();
    let (_, gone) = sessions.open(principal("a"), 3).unwrap();
    assert_eq!(gone.len(), 1);
    assert!(sessions.find(&oldest, &principal("a")).is_err());
    assert!(sessions.find(&others, &principal("b")).is_ok());
}

#[test]
fn an_idle_session_ends_and_an_open_stream_is_not_idle() {
    let sessions = Sessions::new(Limits { idle: Duration::ZERO, ..limits(10, 10) });
    let (idle, _) = sessions.open(principal("a"), 1).unwrap();
    assert!(sessions.find(&idle, &principal("a")).is_err());
    let (streaming, gone) = sessions.open(principal("a"), 2).unwrap();
    assert_eq!(gone.len(), 1);
    let held = sessions.lock().get(&streaming).unwrap().hold();
    assert!(sessions.find(&streaming, &principal("a")).is_ok());
    drop(held);
    assert!(sessions.find(&streaming, &principal("a")).is_err());
}
