//! A primary of this library: `ROUNDS` times `COUNT` messages of 1 kB to a worker of Node's, and as
//! many back. Prints the seconds of each. The same as `peers/message.js`.
#![forbid(unsafe_code)]

use std::{env, error::Error, path::PathBuf, str::FromStr, time::Instant};

use tine_cluster::{
    id::WorkerId,
    primary::{Cluster, Events, Fork, Program, Settings, What},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (node, script) =
        (PathBuf::from(variable::<String>("NODE")?), variable::<String>("SCRIPT")?);
    let (count, rounds) = (variable::<usize>("COUNT")?, variable::<usize>("ROUNDS")?);
    let mut settings = Settings::new(Program::node(node, script), 0);
    settings.workers_die_with_manager = true;
    let (cluster, mut events) = Cluster::start(settings);
    let worker = cluster.fork(Fork::new()).await?;
    hear(&mut events, 1).await;
    for _ in 0..rounds {
        let start = Instant::now();
        let telling = tokio::spawn(tell(cluster.clone(), worker, count));
        hear(&mut events, 1).await;
        println!("down {}", start.elapsed().as_secs_f64());
        let start = Instant::now();
        hear(&mut events, count).await;
        println!("up {}", start.elapsed().as_secs_f64());
        telling.await??;
    }
    cluster.kill().await?;
    while events.next().await.is_some() {}
    Ok(())
}

async fn tell(
    cluster: Cluster,
    worker: WorkerId,
    count: usize,
) -> Result<(), tine_cluster::primary::SendError> {
    let fill = "x".repeat(1000);
    for _ in 0..count {
        cluster.send(worker, &fill).await?;
    }
    Ok(())
}

async fn hear(events: &mut Events, mut count: usize) {
    while count > 0 {
        match events.next().await.map(|event| event.what) {
            Some(What::Message { .. }) => count -= 1,
            Some(_) => {}
            None => return,
        }
    }
}

fn variable<T: FromStr>(name: &str) -> Result<T, Box<dyn Error>>
where
    T::Err: Error + 'static,
{
    Ok(env::var(name)?.parse()?)
}
