//! A web service that has a pool do the work, with a deadline for each request.
//!
//! `service [ADDRESS]` answers `/primes/N` with how many primes there are below N, and says 504
//! when that takes longer than half a second. The worker that was at it is killed, and another
//! takes its place; all other requests go on. No thread waits for a pool's result, so any number
//! of requests may be under way. What the workers trace is written by the service's own subscriber,
//! to stderr.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use procession::Pool;
use tokio::net::TcpListener;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_millis(500);

fn primes_below(limit: u64) -> usize {
    let is_prime = |n: &u64| {
        (2..*n)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    let _span = tracing::info_span!("primes_below", limit).entered();
    let count = (2..limit).filter(is_prime).count();
    tracing::info!(count, "counted");
    count
}

async fn primes(
    State(pool): State<Arc<Pool>>,
    Path(limit): Path<u64>,
) -> Result<String, (StatusCode, String)> {
    let broken = |error: procession::Error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let count = pool.apply_async(primes_below, limit).map_err(broken)?;
    // A client that goes away drops this future as the deadline does.
    match timeout(DEADLINE, count.into_future().kill_on_drop()).await {
        Ok(count) => Ok(format!("{}\n", count.map_err(broken)?)),
        Err(_) => Err((StatusCode::GATEWAY_TIMEOUT, "too many numbers\n".to_owned())),
    }
}

#[tokio::main]
#[procession::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let _relay = procession::relay_logs()?;
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0")).await?;
    let pool = Arc::new(Pool::builder().start()?);
    let service = Router::new()
        .route("/primes/{limit}", get(primes))
        .with_state(pool);
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, service).await?;
    Ok(())
}
