use super::*;
use witgate_base::party::{Party, Principal};

fn principal(name: &str) -> Principal {
    Principal::new("keys".into(), None, name)
}

fn party(name: &str) -> Party {
    principal(name).party(None)
}

fn limits(most: usize, most_of_one: usize) -> SessionLimits {
    SessionLimits { bounds: Capacity { most, most_of_one }, idle: Duration::from_secs(3600) }
}

fn open<T>(
    sessions: &Sessions<T>,
    who: &str,
    upstream: T,
) -> Result<(Box<str>, EvictedSessions<T>), SessionError> {
    sessions.open(SessionOwner::new(principal(who), false), party(who), upstream)
}

/// Lets a session be idle for a minute.
fn idle<T>(sessions: &Sessions<T>, id: &str) {
    let a_minute_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
    *sessions.table.lock().by_id.get(id).unwrap().used.lock() = a_minute_ago;
}

#[test]
fn ids_are_long_and_never_repeat() {
    let sessions = Sessions::new(SessionLimits::default());
    let (first, _) = open(&sessions, "a", ()).unwrap();
    let (second, _) = open(&sessions, "a", ()).unwrap();
    assert_eq!(first.len(), 32);
    assert_ne!(first, second);
}

#[test]
fn a_session_belongs_only_to_its_principal() {
    let sessions = Sessions::new(SessionLimits::default());
    let (id, _) = open(&sessions, "a", 1).unwrap();
    assert_eq!(sessions.find(&id, &principal("a")).unwrap().upstream, 1);
    assert_eq!(sessions.find(&id, &principal("b")).unwrap_err(), Rejection::SessionNotFound);
    assert_eq!(sessions.close(&id, &principal("b")).unwrap_err(), Rejection::SessionNotFound);
    sessions.close(&id, &principal("a")).unwrap();
    assert_eq!(sessions.find(&id, &principal("a")).unwrap_err(), Rejection::SessionNotFound);
}

#[test]
fn a_principal_displaces_only_its_own_sessions() {
    let sessions = Sessions::new(limits(100, 2));
    let (others, _) = open(&sessions, "b", 0).unwrap();
    let (oldest, _) = open(&sessions, "a", 1).unwrap();
    open(&sessions, "a", 2).unwrap();
    assert!(matches!(open(&sessions, "a", 3), Err(SessionError::Full)), "none of them is idle");
    idle(&sessions, &others);
    idle(&sessions, &oldest);
    let (_, gone) = open(&sessions, "a", 3).unwrap();
    assert_eq!(gone.len(), 1);
    assert!(sessions.find(&oldest, &principal("a")).is_err());
    assert!(sessions.find(&others, &principal("b")).is_ok());
}

#[test]
fn a_full_table_displaces_a_session_of_the_largest_holder() {
    let sessions = Sessions::new(limits(4, 3));
    let (single, _) = open(&sessions, "b", 0).unwrap();
    let many: Vec<_> = (1..4).map(|n| open(&sessions, "a", n).unwrap().0).collect();
    assert!(matches!(open(&sessions, "c", 4), Err(SessionError::Full)), "none of them is idle");
    idle(&sessions, &single);
    idle(&sessions, &many[1]);
    let (_, gone) = open(&sessions, "c", 4).unwrap();
    assert_eq!(gone.iter().map(|session| session.upstream).collect::<Vec<_>>(), [2]);
    assert!(sessions.find(&single, &principal("b")).is_ok());
}

#[test]
fn an_idle_session_ends_and_an_open_stream_is_not_idle() {
    let sessions = Sessions::new(SessionLimits { idle: Duration::ZERO, ..limits(10, 10) });
    let (idle, _) = open(&sessions, "a", 1).unwrap();
    assert!(sessions.find(&idle, &principal("a")).is_err());
    let (streaming, gone) = open(&sessions, "a", 2).unwrap();
    assert_eq!(gone.len(), 1);
    let held = sessions.table.lock().by_id.get(&streaming).unwrap().hold();
    assert!(sessions.find(&streaming, &principal("a")).is_ok());
    drop(held);
    assert!(sessions.find(&streaming, &principal("a")).is_err());
}
