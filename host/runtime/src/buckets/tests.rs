use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use witgate_base::party::Principal;

const SECOND: Moment = 1_000_000_000;

/// Buckets with numbers as names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Number(u32);

impl BucketName<u32> for Number {
    fn is(&self, key: &u32) -> bool {
        self.0 == *key
    }

    fn to_key(&self) -> u32 {
        self.0
    }
}

fn party(number: u32) -> Party {
    Party::Principal(Principal::new("keys".into(), None, &number.to_string()))
}

fn rate(count: u32, burst: u32) -> Bounds {
    Bounds { rate: Some(Rate::new(count, Duration::from_secs(1), burst)), concurrent: None }
}

fn at_once(concurrent: u32) -> Bounds {
    Bounds { rate: None, concurrent: Some(concurrent) }
}

fn tables<const N: usize>(capacity: Capacity) -> [Arc<BucketTable<u32>>; N] {
    let tables = BucketTables::with_capacity(capacity);
    std::array::from_fn(|number| tables.table(&number.to_string().into()))
}

fn bucket(table: &Arc<BucketTable<u32>>, bounds: Bounds, name: u32) -> NeededBucket<'_, u32, Number> {
    NeededBucket { table, bounds, name: Number(name) }
}

#[test]
fn a_refused_call_takes_nothing_from_any_bucket() {
    let [first, second] = tables(CAPACITY);
    let needed = || [bucket(&first, rate(10, 10), 1), bucket(&second, rate(1, 1), 1)];
    take_all(&needed(), || party(1), 0).unwrap();
    let before = first.look(&Number(1));
    for _ in 0..5 {
        assert_eq!(take_all(&needed(), || party(1), 0).unwrap_err(), (1, Lack::Units(SECOND)));
    }
    assert_eq!(first.look(&Number(1)), before);
}

#[test]
fn the_longest_wait_is_reported() {
    let [first, second] = tables(CAPACITY);
    let needed = || [bucket(&first, rate(1, 1), 1), bucket(&second, rate(10, 1), 1)];
    take_all(&needed(), || party(1), 0).unwrap();
    assert_eq!(take_all(&needed(), || party(1), 0).unwrap_err(), (0, Lack::Units(SECOND)));
}

#[test]
fn a_bucket_that_a_call_names_twice_counts_once() {
    let [table] = tables(CAPACITY);
    let needed = [bucket(&table, rate(1, 1), 1), bucket(&table, rate(1, 1), 1)];
    take_all(&needed, || party(1), 0).unwrap();
    take_all(&needed, || party(1), SECOND).unwrap();
    assert!(take_all(&needed, || party(1), SECOND).is_err());
}

#[test]
fn running_calls_have_places_until_they_end() {
    let [table] = tables(CAPACITY);
    let take = || take_all(&[bucket(&table, at_once(2), 1)], || party(1), 0);
    let (first, second) = (take().unwrap(), take().unwrap());
    assert_eq!(take().unwrap_err(), (0, Lack::Concurrent));
    drop(first);
    let third = take().unwrap();
    drop((second, third));
    assert_eq!(table.look(&Number(1)).1, 0);
}

#[test]
fn counts_survive_a_change_of_the_limits() {
    let tables: BucketTables<u32> = BucketTables::default();
    let name: Arc<str> = "calls".into();
    let table = tables.table(&name);
    take_all(&[bucket(&table, rate(1, 1), 1)], || party(1), 0).unwrap();
    drop(table);
    tables.keep_only(std::slice::from_ref(&name));
    let again = tables.table(&name);
    assert!(take_all(&[bucket(&again, rate(1, 1), 1)], || party(1), 0).is_err());
    drop(again);
    tables.keep_only(&[]);
    assert_eq!(tables.table(&name).buckets(), 0);
}

#[test]
fn idle_buckets_go_when_others_come() {
    let [table] = tables(CAPACITY);
    for name in 0..1_000 {
        let now = u64::from(name) * SECOND;
        take_all(&[bucket(&table, rate(10, 1), name)], || party(1), now).unwrap();
    }
    assert!(table.buckets() < 250, "{}", table.buckets());
}

#[test]
fn the_busiest_buckets_are_listed_first() {
    let [table] = tables(CAPACITY);
    for name in 0..50 {
        for _ in 0..=name {
            let _ = take_all(&[bucket(&table, rate(1, 100), name)], || party(1), 0);
        }
    }
    let (number, busiest) = table.busiest(10 * SECOND, 3);
    assert_eq!((number, busiest.iter().map(|bucket| bucket.key).collect::<Vec<_>>()), (40, vec![49, 48, 47]));
    assert_eq!(busiest[0].full_at, 50 * SECOND);
}

#[test]
fn a_party_cannot_take_the_buckets_of_others() {
    let [table] = tables(Capacity { most: 16, most_of_one: 4 });
    let take = |name, owner: u32| take_all(&[bucket(&table, rate(1, 5), name)], || party(owner), 0);
    let of_eve: Vec<_> = (0..10).map(|name| take(name, 1).map(drop)).collect();
    assert_eq!(of_eve.iter().filter(|taken| taken.is_ok()).count(), 4);
    assert_eq!(of_eve[4], Err((0, Lack::Buckets)));
    assert!(take(100, 2).is_ok());
}

#[test]
fn a_bucket_that_was_pushed_out_returns_without_a_gain() {
    let [table] = tables(Capacity { most: 8, most_of_one: 4 });
    let take = |name: u32| take_all(&[bucket(&table, rate(1, 3), name)], || party(name), 0).map(drop);
    while take(0).is_ok() {}
    for name in 1..100 {
        let _ = take(name);
    }
    assert!(table.buckets() <= 8);
    assert_eq!(take(0), Err((0, Lack::Units(SECOND))));
}

#[test]
fn buckets_with_running_calls_stay() {
    let [table] = tables(Capacity { most: 2, most_of_one: 2 });
    let take = |name: u32| take_all(&[bucket(&table, at_once(1), name)], || party(name), 0);
    let running: Vec<_> = (0..4).map(|name| take(name).unwrap()).collect();
    assert!((0..4).all(|name| take(name).is_err()));
    drop(running);
    assert!((0..4).all(|name| take(name).is_ok()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Two hundred callers at ten times their rate, each at moments of their own, and in another order in each tick:
    /// each gets the burst and ten calls a second, within two per cent, and a quiet caller everything.
    #[test]
    fn callers_at_ten_times_their_rate_get_their_share_and_a_quiet_one_everything(
        moments in proptest::collection::vec(0..SECOND / 100, 200),
        turns in proptest::collection::vec(0_usize..200, 50),
    ) {
        const TICK: Moment = SECOND / 100;
        let [table] = tables(CAPACITY);
        let take =
            |caller, now| take_all(&[bucket(&table, rate(10, 10), caller)], || party(caller), now).is_ok();
        let mut callers: Vec<_> = (0_u32..).zip(moments).map(|(caller, moment)| (caller, moment, 0_u64)).collect();
        for (tick, turn) in (0..2_000).zip(turns.iter().cycle()) {
            callers.rotate_left(*turn);
            for (caller, moment, admitted) in &mut callers {
                *admitted += u64::from(take(*caller, tick * TICK + *moment));
            }
            prop_assert!(tick % 10 > 0 || take(1_000, tick * TICK), "the quiet one, at tick {tick}");
        }
        let admitted: Vec<_> = callers.iter().map(|(.., admitted)| *admitted).collect();
        prop_assert!(admitted.iter().all(|admitted| (206..=210).contains(admitted)), "{admitted:?}");
    }
}

/// At most this many calls in `time`, from a bucket that was full before.
fn most(count: u32, burst: u32, time: Moment) -> u64 {
    u64::from(burst) + time * u64::from(count) / SECOND
}

proptest! {
    /// Calls of several parties over several limits, in tables that are too small: in every window, each bucket admits
    /// at most its burst and what its rate gives, and a refused call changes no bucket.
    #[test]
    fn no_bucket_admits_more_than_its_bounds(
        steps in proptest::collection::vec((0_u32..12, 0_u32..3, 0_u64..300_000_000, any::<bool>()), 1..300),
    ) {
        let [wide, narrow] = tables(Capacity { most: 6, most_of_one: 6 });
        let (mut now, mut admitted) = (0, BTreeMap::<(u64, u32), Vec<Moment>>::new());
        for (caller, target, step, both) in steps {
            now += step;
            let all = [bucket(&wide, rate(5, 4), caller), bucket(&narrow, rate(3, 2), target)];
            let needed = if both { &all[..] } else { &all[1..] };
            let look = || needed.iter().map(|bucket| bucket.table.look(&bucket.name).0.max(now)).collect::<Vec<_>>();
            let before = look();
            match take_all(needed, || party(caller), now) {
                Ok(_) => for bucket in needed {
                    admitted.entry((bucket.table.number(), bucket.name.0)).or_default().push(now);
                },
                Err(_) => prop_assert_eq!(before, look()),
            }
        }
        for ((table, name), times) in admitted {
            let (count, burst) = if table == wide.number() { (5, 4) } else { (3, 2) };
            for (first, start) in times.iter().enumerate() {
                for (last, end) in times.iter().enumerate().skip(first) {
                    let allowed = most(count, burst, end - start);
                    prop_assert!((last - first + 1) as u64 <= allowed, "bucket {name}: {times:?}");
                }
            }
        }
    }
}

#[test]
fn threads_together_get_no_more_than_the_bounds() {
    let tables: BucketTables<u32> = BucketTables::default();
    let (all, own) = (tables.table(&"all".into()), tables.table(&"own".into()));
    let bounds = |burst| Bounds { concurrent: Some(3), ..rate(1, burst) };
    let (admitted, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let (all, own, admitted, refused) = (&all, &own, &admitted, &refused);
            scope.spawn(move || {
                for _ in 0..2_000 {
                    // The time stands still, so that exactly the burst is admitted.
                    let needed = [bucket(all, bounds(1_000), 0), bucket(own, bounds(400), caller)];
                    match take_all(&needed, || party(caller), 0) {
                        Ok(running) => {
                            assert!(all.look(&Number(0)).1 <= 3);
                            drop(running);
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_) => _ = refused.fetch_add(1, Ordering::Relaxed),
                    }
                }
            });
        }
    });
    assert_eq!(admitted.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed), 8_000);
    let taken: u64 = (0..4).map(|caller| own.look(&Number(caller)).0 / SECOND).sum();
    assert_eq!(admitted.load(Ordering::Relaxed), taken, "no unit is lost with a refused call");
    assert_eq!(all.look(&Number(0)).0 / SECOND, taken);
    assert!(taken <= 1_000 && all.look(&Number(0)).1 == 0);
}
