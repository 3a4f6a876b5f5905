//! Random walks of producers, workers, rescue, promotion and the ring, against a model that knows of
//! every job what it must be. `ROLEGATE_WALKS` sets how many (default 1), each with another seed.
#![allow(clippy::unwrap_used)]
// A test is no crate that is configured.
#![allow(clippy::disallowed_methods)]

mod model;
mod random;
mod steps;

use rolegate_testkit::for_each_version;

use random::Random;
use steps::Walk;

const STEPS: usize = 500;

#[tokio::test]
async fn nothing_is_lost_doubled_or_out_of_order() {
    let walks: u64 = std::env::var("ROLEGATE_WALKS")
        .ok()
        .map_or(1, |count| count.parse().unwrap());
    for_each_version(async |db| {
        let producer = db.create_role("producer").await;
        let superuser = db.superuser().await;
        let grant = format!("grant rolegate_producer to {producer}");
        superuser.batch_execute(&grant).await.unwrap();
        for seed in 1..=walks {
            // Printed if it fails.
            println!("seed {seed}");
            let mut walk = Walk::begin(db, &producer, Random::new(seed)).await;
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
