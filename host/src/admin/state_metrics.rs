//! The metrics of the gateway's state. They are read only when they are requested, so that they cost nothing before.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::state::GatewayState;
use crate::control::status::{digest, files, seconds};
use crate::reload::{Attempt, Reloader};
use witgate_base::clock;
use witgate_base::digest::digest_text;
use witgate_base::path::absolute;
use witgate_policy::generation::Generation;
use witgate_policy::{Counts, OutageScope, Policy, Source};
use witgate_services::jwks::KeySetState;
use witgate_services::passwords::meters::PasswordMeters;

const COUNTER: MetricType = MetricType::Counter;
const GAUGE: MetricType = MetricType::Gauge;

impl GatewayState {
    /// Adds the state to its metrics.
    pub(crate) fn register(&self) {
        let collector = Box::new(StateCollector(self.clone()));
        self.metrics.register(|registry| registry.register_collector(collector));
    }
}

#[derive(Debug)]
struct StateCollector(GatewayState);

impl Collector for StateCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let live = self.0.generations.live();
        let mut page = MetricsPage(encoder);
        page.build()?;
        page.generation(&live)?;
        if let Some(reloader) = &self.0.reloader {
            page.reloads(reloader)?;
            page.last_attempt(reloader.last().as_ref())?;
        }
        page.certificate(self.0.tls.as_ref().and_then(|tls| tls.expires_at()))?;
        page.keys(&live)?;
        page.policy_counts(&live)?;
        page.policy_states(&live)?;
        page.policy_durations(&live)?;
        page.passwords(self.0.passwords.meters())?;
        page.caches(&live)?;
        page.key_sets(&live)
    }
}

/// The text of the metrics.
struct MetricsPage<'a>(DescriptorEncoder<'a>);

impl MetricsPage<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl TryInto<i64>) -> Result<(), Error> {
        self.family(name, help, GAUGE)?.encode_gauge(&value.try_into().unwrap_or(i64::MAX))
    }

    /// A gauge with seconds since the Unix epoch.
    fn time(&mut self, name: &str, help: &str, at: u64) -> Result<(), Error> {
        let mut gauge = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), GAUGE)?;
        gauge.encode_gauge(&i64::try_from(at).unwrap_or(i64::MAX))
    }

    /// A gauge with a duration in seconds.
    fn seconds(&mut self, name: &str, help: &str, seconds: f64) -> Result<(), Error> {
        self.0.encode_descriptor(name, help, Some(&Unit::Seconds), GAUGE)?.encode_gauge(&seconds)
    }

    fn build(&mut self) -> Result<(), Error> {
        let help = "The program: always 1";
        let mut family = self.family("build_info", help, GAUGE)?;
        one(family.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?)
    }

    fn generation(&mut self, live: &Generation) -> Result<(), Error> {
        self.gauge("generation", "Number of the live generation", live.number())?;
        let help = "Time at which the live generation went live";
        self.time("generation_start_timestamp", help, seconds(live.since()))?;
        let help = "1 if all pipelines are made from the files as they are";
        self.gauge("generation_whole", help, i64::from(live.is_whole()))?;
        let help = "All that the live generation was made from, as SHA-256: always 1";
        let mut family = self.family("generation_info", help, GAUGE)?;
        one(family.encode_family(&[("digest", digest_text(&digest(live)))])?)
    }

    fn reloads(&mut self, reloader: &Reloader) -> Result<(), Error> {
        let counts = [("flipped", &reloader.reloads().flipped), ("refused", &reloader.reloads().refused)];
        let mut family = self.family("reloads", "Candidates by outcome", COUNTER)?;
        for (outcome, count) in counts {
            counted(family.encode_family(&[("outcome", outcome)])?, count.load(Ordering::Relaxed))?;
        }
        let help = "Files whose changes cause no notification, so they are checked every second";
        self.gauge("unwatched_files", help, reloader.unwatched().all().len())?;
        let help = "Changes in the files that take effect with a restart only";
        self.gauge("changes_waiting_for_restart", help, reloader.waiting().len())?;
        let help = "Time since the files were last checked for changes";
        self.seconds("files_checked_age", help, reloader.looked_ago().as_secs_f64())
    }

    /// Without an attempt since the start, there is nothing to tell.
    fn last_attempt(&mut self, last: Option<&Attempt>) -> Result<(), Error> {
        let (at, took, is_good) = last.map_or((SystemTime::UNIX_EPOCH, 0.0, true), |last| {
            (last.at, last.took.as_secs_f64(), last.outcome.is_ok())
        });
        let help = "Time of the last attempt to apply a change; 0 if there was none since the start";
        self.time("reload_attempt_timestamp", help, seconds(at))?;
        let help = "Duration of the last attempt to apply a change";
        self.seconds("reload_attempt_duration", help, took)?;
        let help =
            "1 if the last attempt to apply a change applied all of it, or there was none since the start";
        self.gauge("reload_attempt_success", help, i64::from(is_good))
    }

    fn certificate(&mut self, expires_at: Option<u64>) -> Result<(), Error> {
        let help = "Time at which the first certificate of a chain expires, by setting";
        let unit = Some(&Unit::Seconds);
        let mut family = self.0.encode_descriptor("certificate_expiry_timestamp", help, unit, GAUGE)?;
        match expires_at.and_then(|at| i64::try_from(at).ok()) {
            Some(at) => family.encode_family(&[("certificate", "server.tls")])?.encode_gauge(&at),
            None => Ok(()),
        }
    }

    fn keys(&mut self, live: &Generation) -> Result<(), Error> {
        let help = "Time at which the next key of a store expires, by policy of the live generation";
        let now = seconds(clock::system_time());
        let mut family =
            self.0.encode_descriptor("key_expiry_timestamp", help, Some(&Unit::Seconds), GAUGE)?;
        for policy in live.policies() {
            if let Some(at) = policy.key_expiries().next(now).and_then(|at| i64::try_from(at).ok()) {
                family.encode_family(&[("policy", &**policy.name())])?.encode_gauge(&at)?;
            }
        }
        Ok(())
    }

    fn policy_counts(&mut self, live: &Generation) -> Result<(), Error> {
        type Count = (&'static str, &'static str, fn(&Counts) -> u64);
        let counts: [Count; 5] = [
            (
                "policy_disagreements",
                "Verdicts of a shadow policy that differ from those of the live policies",
                Counts::disagreements,
            ),
            ("policy_shed", "Calls that a shadow policy did not judge, because it was busy", Counts::sheds),
            (
                "policy_calls",
                "Hooks called and verdicts used again, by policy of the live generation",
                Counts::calls,
            ),
            ("policy_denials", "Refusals and denials, by policy", Counts::denials),
            (
                "policy_fallbacks",
                "Hooks that the built-in decided in place of a missing or failed component",
                Counts::fallbacks,
            ),
        ];
        for (name, help, count) in counts {
            let mut family = self.family(name, help, COUNTER)?;
            for policy in live.policies() {
                counted(family.encode_family(&[("policy", &**policy.name())])?, count(policy.counts()))?;
            }
        }
        let help = "Hooks of components that failed, by policy and reason";
        let mut family = self.family("policy_failures", help, COUNTER)?;
        for policy in live.policies() {
            for (failure, count) in policy.counts().failures() {
                let labels = [("policy", &**policy.name()), ("reason", failure.reason())];
                counted(family.encode_family(&labels)?, count)?;
            }
        }
        Ok(())
    }

    fn policy_states(&mut self, live: &Generation) -> Result<(), Error> {
        let broken = live.policies().filter(|policy| policy.is_broken()).count();
        let help = "Policies that cannot decide, so that their calls are denied";
        self.gauge("policies_broken", help, broken)?;
        let help = "1 if the policy is broken, replaced by its fallback, or paused by its circuit breaker";
        let mut family = self.family("policy_degraded", help, GAUGE)?;
        for policy in live.policies() {
            let labels = [("policy", &**policy.name())];
            family.encode_family(&labels)?.encode_gauge(&i64::from(is_degraded(policy)))?;
        }
        let help = "The content that each policy of the live generation was made from, as SHA-256: always 1";
        let mut family = self.family("policy_file_info", help, GAUGE)?;
        for (policy, files) in files(live) {
            for (file, digest) in
                files.into_iter().filter_map(|(file, digest)| Some((file, digest.as_ref()?)))
            {
                let (file, digest) = (absolute(file).to_string_lossy().into_owned(), digest_text(digest));
                one(family.encode_family(&[("policy", policy), ("file", &file), ("digest", &digest)])?)?;
            }
        }
        Ok(())
    }

    fn policy_durations(&mut self, live: &Generation) -> Result<(), Error> {
        let help = "Duration of hooks, by policy of the live generation";
        let unit = Some(&Unit::Seconds);
        let mut family = self.0.encode_descriptor("policy_duration", help, unit, MetricType::Histogram)?;
        for policy in live.policies() {
            for (hook, form, state) in policy.times().states() {
                let labels = [("policy", &**policy.name()), ("hook", hook.name()), ("form", form.name())];
                let mut histogram = family.encode_family(&labels)?;
                histogram.encode_histogram::<NoLabelSet>(state.sum, state.count, &state.buckets, None)?;
            }
        }
        Ok(())
    }

    fn passwords(&mut self, meters: &PasswordMeters) -> Result<(), Error> {
        let mut family = self.family("password_checks", "Checks of passwords by result", COUNTER)?;
        for (result, count) in meters.results() {
            counted(family.encode_family(&[("result", result)])?, count)?;
        }
        let help = "Duration of checks of passwords: in the queue, and of the hash";
        let unit = Some(&Unit::Seconds);
        let mut family =
            self.0.encode_descriptor("password_check_duration", help, unit, MetricType::Histogram)?;
        for (part, state) in meters.times() {
            let labels = [("part", part)];
            let mut histogram = family.encode_family(&labels)?;
            histogram.encode_histogram::<NoLabelSet>(state.sum, state.count, &state.buckets, None)?;
        }
        Ok(())
    }

    fn caches(&mut self, live: &Generation) -> Result<(), Error> {
        let help = "Lookups in the caches of policies of the live generation, by result";
        let mut family = self.family("cache_lookups", help, COUNTER)?;
        for policy in live.policies() {
            for (cache, lookups) in policy.lookups() {
                for (result, count) in [("hit", lookups.hits()), ("miss", lookups.misses())] {
                    let labels = [("policy", &**policy.name()), ("cache", cache), ("result", result)];
                    counted(family.encode_family(&labels)?, count)?;
                }
            }
        }
        Ok(())
    }

    fn key_sets(&mut self, live: &Generation) -> Result<(), Error> {
        let sets = key_sets(live);
        let mut family = self.family("key_set_lookups", "Uses of fetched key sets, by result", COUNTER)?;
        for (source, set) in &sets {
            for (result, count) in [("hit", set.hits), ("miss", set.misses)] {
                counted(family.encode_family(&[("source", source.as_str()), ("result", result)])?, count)?;
            }
        }
        let mut family = self.family("key_set_fetches", "Requests for key sets, by outcome", COUNTER)?;
        for (source, set) in &sets {
            for (outcome, count) in [("fetched", set.fetched), ("failed", set.failed)] {
                counted(family.encode_family(&[("source", source.as_str()), ("outcome", outcome)])?, count)?;
            }
        }
        let help = "Time since the request that brought the key set in use";
        let mut family = self.0.encode_descriptor("key_set_age", help, Some(&Unit::Seconds), GAUGE)?;
        for (source, age) in sets.iter().filter_map(|(source, set)| Some((source, set.age?))) {
            family.encode_family(&[("source", source.as_str())])?.encode_gauge(&age.as_secs_f64())?;
        }
        Ok(())
    }
}

/// The fetched key sets of all policies, by their source.
pub(super) fn key_sets(live: &Generation) -> BTreeMap<String, KeySetState> {
    live.policies().flat_map(|policy| policy.key_sets()).map(|set| (set.source.clone(), set)).collect()
}

fn is_degraded(policy: &Policy) -> bool {
    matches!(policy.source(), Source::Fallback { .. })
        || policy.is_broken()
        || policy.out_for() != OutageScope::Nobody
}

fn counted(encoder: MetricEncoder<'_>, count: u64) -> Result<(), Error> {
    ConstCounter::new(count).encode(encoder)
}

fn one(encoder: MetricEncoder<'_>) -> Result<(), Error> {
    ConstGauge::new(1_i64).encode(encoder)
}
