//! Requests at a rate, and how long each took from the moment it was due.
//!
//! Latency is counted from the intended start, not from when the sender got round to it: a server that stalls for a
//! second has made everybody wait who was due in that second.

use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How much, how fast.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Requests in all.
    pub requests: usize,
    /// Over how long their starts are spread, evenly.
    pub over: Duration,
}

impl Load {
    /// So many a second for so long.
    pub fn rate(per_second: f64, for_seconds: f64) -> Load {
        let requests = (per_second * for_seconds).round().max(1.0);
        Load { requests: requests as usize, over: Duration::from_secs_f64(requests / per_second.max(0.001)) }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the intended start to the end, sorted, in microseconds. Of those that succeeded.
    latencies: Vec<u32>,
    /// What went wrong, a line each.
    pub failures: Vec<String>,
    /// From the first intended start to the last end.
    pub took: Duration,
}

impl Outcome {
    /// How many succeeded.
    pub fn succeeded(&self) -> usize {
        self.latencies.len()
    }

    /// The latency that this share of the successful requests did not exceed; 0.5 is the median.
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        let at = rank.clamp(1, self.latencies.len().max(1)) - 1;
        Duration::from_micros(self.latencies.get(at).copied().unwrap_or(0).into())
    }

    /// For programs; times in milliseconds.
    pub fn json(&self) -> Value {
        let ms = |share| self.percentile(share).as_secs_f64() * 1000.0;
        json!({
            "succeeded": self.succeeded(),
            "failed": self.failures.len(),
            "first_failures": self.failures.iter().take(3).collect::<Vec<_>>(),
            "seconds": self.took.as_secs_f64(),
            "latency_ms": { "p50": ms(0.5), "p90": ms(0.9), "p99": ms(0.99), "p99_9": ms(0.999), "max": ms(1.0) },
        })
    }
}

/// Starts `request(n)` at its time for each n, whatever became of the others, and waits for all.
pub async fn run<F, R>(load: Load, request: F) -> Outcome
where
    F: Fn(usize) -> R,
    R: Future<Output = Result<(), String>> + Send + 'static,
{
    let (done, mut results) = mpsc::unbounded_channel();
    let start = Instant::now();
    for n in 0..load.requests {
        let due = start + load.over.mul_f64(n as f64 / load.requests as f64);
        // A sender that is late sends at once, and the request counts from when it was due.
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        } else if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
        let (request, done) = (request(n), done.clone());
        tokio::spawn(async move {
            let result = request.await;
            let _ = done.send((due.elapsed(), result));
        });
    }
    drop(done);
    let mut outcome = Outcome::default();
    while let Some((latency, result)) = results.recv().await {
        match result {
            Ok(()) => outcome.latencies.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX)),
            Err(why) => outcome.failures.push(why),
        }
    }
    outcome.took = start.elapsed();
    outcome.latencies.sort_unstable();
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let outcome = Outcome { latencies: (1..=1000).collect(), ..Outcome::default() };
        let micros = |share| outcome.percentile(share).as_micros();
        assert_eq!((micros(0.5), micros(0.99), micros(0.999), micros(1.0)), (500, 990, 999, 1000));
        assert_eq!(Outcome::default().percentile(0.99), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_counts_for_everybody_who_was_due() {
        // One place, so a request waits for the one before it; the first holds it for a second.
        let place = std::sync::Arc::new(tokio::sync::Mutex::new(()));
        let outcome = run(Load { requests: 10, over: Duration::from_secs(1) }, |n| {
            let place = place.clone();
            async move {
                let _held = place.lock().await;
                if n == 0 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                if n == 9 { Err("no".to_owned()) } else { Ok(()) }
            }
        })
        .await;
        assert_eq!((outcome.succeeded(), outcome.failures.len()), (9, 1));
        let median = outcome.percentile(0.5).as_millis();
        assert!((500..=700).contains(&median), "{median}");
    }
}
