//! Random walks of producers, workers, rescue, promotion and the ring, against a model that knows of
//! every job what it must be. The seeds are 1, 2 and one by chance, which is printed; `ROLEGATE_WALK_SEED` goes
//! the way of this one again. `ROLEGATE_WALKS` sets how many there are, from 1 on.
#![allow(clippy::unwrap_used)]
// A test is no crate that is configured.
#![allow(clippy::disallowed_methods)]

mod model;
mod random;
mod steps;

use std::time::{SystemTime, UNIX_EPOCH};

use rolegate_testkit::for_each_version;

use random::Random;
use steps::Walk;

const STEPS: usize = 500;

fn seeds() -> Vec<u64> {
    let number = |name| -> Option<u64> { Some(std::env::var(name).ok()?.parse().unwrap()) };
    match (number("ROLEGATE_WALK_SEED"), number("ROLEGATE_WALKS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(walks)) => (1..=walks).collect(),
        (None, None) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            vec![1, 2, u64::from(now.subsec_micros()) + 1000]
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_doubled_or_out_of_order() {
    let seeds = seeds();
    println!("seeds {seeds:?}");
    for_each_version(async |db| {
        let producer = db.create_role("producer").await;
        let operator = db.create_role("operator").await;
        let superuser = db.superuser().await;
        let grant =
            format!("grant rolegate_producer to {producer}; grant rolegate_operator to {operator}");
        superuser.batch_execute(&grant).await.unwrap();
        for &seed in &seeds {
            // Printed if it fails.
            println!("seed {seed}");
            let mut walk = Walk::begin(db, &producer, &operator, Random::new(seed)).await;
            for step in 0..STEPS {
                walk.step().await;
                if step % 50 == 0 {
                    walk.compare_counts().await;
                }
            }
            walk.drain().await;
            walk.empty_the_ring().await;
            walk.check_order();
        }
    })
    .await;
}
