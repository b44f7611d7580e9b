//! Sandboxes come and go.
//!
//! The floor is the same guest, started by the same launcher with namespaces and a root of its own and nothing else.

use std::time::Duration;

use anyhow::Context;
use futures::future::{join_all, try_join_all};
use glass_runtime::native::StepTime;
use glass_runtime::{Runtime, RuntimeError};
use tokio::time::Instant;

use crate::figures::{Row, Samples};
use crate::place::Place;

/// The first ones fill caches.
const WARM_UP: usize = 3;
const TIMES: usize = 40;
const ROUNDS: usize = 6;
const AT_ONCE: usize = 50;
const GRACE: Duration = Duration::from_secs(5);

/// What is measured one sandbox after the other.
#[derive(Default)]
struct Life {
    floor: Samples,
    /// Of `trait_create`.
    steps: Vec<(String, Samples)>,
    trait_create: Samples,
    trait_stop: Samples,
    trait_destroy: Samples,
    api_floor: Samples,
    api_create: Samples,
    api_stop: Samples,
    api_start: Samples,
    api_destroy: Samples,
}

/// The rows, and what each step of a create took.
pub(crate) async fn one_by_one(place: &Place) -> anyhow::Result<(Vec<Row>, Vec<Row>)> {
    let mut life = Life::default();
    for turn in 0..WARM_UP + TIMES {
        if turn == WARM_UP {
            life = Life::default();
        }
        life.floor.push(place.runtime.floor().await?);
        by_trait(place, &mut life).await?;
        life.api_floor.push(place.runtime.floor().await?);
        by_api(place, &mut life).await?;
    }
    let rows = vec![
        Row::new("create → guest answers, runtime alone", life.trait_create).over(life.floor),
        Row::new("create → guest answers, API", life.api_create).over(life.api_floor.clone()),
        Row::new("start of a stopped sandbox, API", life.api_start).over(life.api_floor),
        Row::new("stop, runtime alone", life.trait_stop),
        Row::new("stop, API", life.api_stop),
        Row::new(
            "destroy of a running sandbox, runtime alone",
            life.trait_destroy,
        ),
        Row::new("destroy of a running sandbox, API", life.api_destroy),
    ];
    let steps = life.steps.into_iter();
    Ok((
        rows,
        steps
            .map(|(name, samples)| Row::new(name, samples))
            .collect(),
    ))
}

async fn by_trait(place: &Place, life: &mut Life) -> anyhow::Result<()> {
    let (runtime, spec) = (&place.runtime, place.spec());
    let begin = Instant::now();
    let steps = runtime.up_timed(&spec).await?;
    life.trait_create.push(begin.elapsed());
    for StepTime { name, time } in steps {
        match life.steps.iter_mut().find(|(known, _)| *known == name) {
            Some((_, samples)) => samples.push(time),
            None => {
                let mut samples = Samples::default();
                samples.push(time);
                life.steps.push((name, samples));
            }
        }
    }
    let begin = Instant::now();
    runtime.stop(&spec.id, GRACE).await?;
    life.trait_stop.push(begin.elapsed());
    runtime.start(&spec).await?;
    let begin = Instant::now();
    runtime.destroy(&spec.id).await?;
    life.trait_destroy.push(begin.elapsed());
    Ok(())
}

async fn by_api(place: &Place, life: &mut Life) -> anyhow::Result<()> {
    let begin = Instant::now();
    let sandbox = place.sandbox().await?;
    life.api_create.push(begin.elapsed());
    let begin = Instant::now();
    place.power(&sandbox, "stop").await?;
    life.api_stop.push(begin.elapsed());
    let begin = Instant::now();
    place.power(&sandbox, "start").await?;
    life.api_start.push(begin.elapsed());
    let begin = Instant::now();
    place.remove(&sandbox).await?;
    life.api_destroy.push(begin.elapsed());
    Ok(())
}

/// Fifty sandboxes at once: until each one, and the last one answers.
pub(crate) async fn at_once(place: &Place) -> anyhow::Result<Vec<Row>> {
    let (mut floor, mut by_trait, mut each, mut by_api, mut destroy) = Default::default();
    for _ in 0..ROUNDS {
        push_floors(place, &mut floor).await?;
        let specs: Vec<_> = (0..AT_ONCE).map(|_| place.spec()).collect();
        let begin = Instant::now();
        let started = try_join_all(specs.iter().map(async |spec| {
            place.runtime.create(spec).await?;
            place.runtime.start(spec).await
        }));
        started.await.context("fifty at once")?;
        Samples::push(&mut by_trait, begin.elapsed());
        let destroyed = specs.iter().map(|spec| place.runtime.destroy(&spec.id));
        try_join_all(destroyed).await?;

        push_floors(place, &mut floor).await?;
        let begin = Instant::now();
        let made = join_all((0..AT_ONCE).map(async |_| {
            let made = place.sandbox().await?;
            anyhow::Ok((made, begin.elapsed()))
        }));
        let (made, times): (Vec<_>, Vec<_>) = made
            .await
            .into_iter()
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter()
            .unzip();
        Samples::extend(&mut each, times.into_iter().collect());
        Samples::push(&mut by_api, begin.elapsed());
        let begin = Instant::now();
        try_join_all(made.iter().map(|sandbox| place.remove(sandbox))).await?;
        Samples::push(&mut destroy, begin.elapsed());
    }
    Ok(vec![
        Row::new("create 50 at once → all answer, runtime alone", by_trait).over(floor.clone()),
        Row::new("create 50 at once → each answers, API", each).over(floor.clone()),
        Row::new("create 50 at once → all answer, API", by_api).over(floor),
        Row::new("destroy 50 at once, API", destroy),
    ])
}

async fn push_floors(place: &Place, floor: &mut Samples) -> Result<(), RuntimeError> {
    let floors = try_join_all((0..AT_ONCE).map(|_| place.runtime.floor())).await?;
    // The time until the last of them answered; ending them again is not part of it.
    floor.push(floors.into_iter().max().unwrap_or_default());
    Ok(())
}
