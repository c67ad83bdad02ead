//! Measurements, which other programs of a machine disturb, so that they run on demand only:
//! `cargo test --release -p witgate-accounts -- --ignored --nocapture timing`.

use std::time::Instant;

use super::*;

/// The logins of each kind that are compared.
const LOGINS: u32 = 500;

/// The bound of the statistic beyond which two times are not the same by chance: once in 150,000 cases.
const MOST: f64 = 4.5;

/// The mean of a sample, and the variance of that mean.
fn mean_of(sample: &[f64]) -> (f64, f64) {
    let number = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / number;
    let squares = sample.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, squares / (number - 1.0) / number)
}

/// The statistic of Welch's test, which is far from zero if two samples have different means.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let ((one, of_one), (other, of_other)) = (mean_of(one), mean_of(other));
    (one - other) / (of_one + of_other).sqrt()
}

/// A sample without the slowest tenth, in which other programs had the processor.
fn trimmed(mut sample: Vec<f64>) -> Vec<f64> {
    sample.sort_by(f64::total_cmp);
    sample.truncate(sample.len() * 9 / 10);
    sample
}

#[test]
fn the_statistic_tells_different_means_from_equal_ones() {
    let sample = |mean: f64| (0..100).map(|at| mean + f64::from(at % 10)).collect::<Vec<_>>();
    assert!(welch(&sample(1.0), &sample(1.0)).abs() < 1e-9);
    assert!(welch(&sample(3.0), &sample(1.0)) > MOST && welch(&sample(1.0), &sample(3.0)) < -MOST);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "other programs of the machine change the times"]
async fn timing_of_a_login_does_not_tell_which_names_there_are() {
    let mut browser = Browser::new();
    let page = text_of(&browser.get("/login").await);
    let token = field(&page, "form");
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..2 * LOGINS {
        // In the order a, b, b, a, so that no drift counts for one of them.
        let kind = usize::from(matches!(number % 4, 1 | 2));
        let (name, password) = (["ada", "eve"][kind], format!("wrong password {number}"));
        let form = [("form", &*token), ("name", name), ("password", &*password)];
        let began = Instant::now();
        let (status, time) = (browser.post("/login", &form).await.status(), began.elapsed());
        // Where other programs have the processors, some checks of passwords find no place.
        if status != StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(status, StatusCode::FORBIDDEN);
            times[kind].push(time.as_secs_f64() * 1e3);
        }
    }
    let [known, unknown] = times.map(trimmed);
    let (t, known, unknown) = (welch(&known, &unknown), mean_of(&known).0, mean_of(&unknown).0);
    eprintln!("known {known:.3} ms, unknown {unknown:.3} ms, {LOGINS} each: t = {t:.2}");
    assert!(t.abs() < MOST, "t = {t}");
}

#[tokio::test]
#[ignore = "other programs of the machine change the times"]
async fn timing_of_registrations() {
    let mut browser = Browser::new();
    let body = json!({ "redirect_uris": [REDIRECT], "client_name": "Desk" }).to_string();
    let (number, began) = (20_000, Instant::now());
    for _ in 0..number {
        let answer = browser.send(Method::POST, "/register", body.clone(), "application/json").await;
        assert_eq!(answer.status(), StatusCode::CREATED);
    }
    let rate = f64::from(number) / began.elapsed().as_secs_f64();
    eprintln!("{rate:.0} registrations in a second");
    assert!(rate > 10_000.0 || cfg!(debug_assertions), "{rate}");
}
