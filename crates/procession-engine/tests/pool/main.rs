//! Pools from outside: forked workers, kills, and what becomes of each task.

mod cancel;
mod death;
mod feed;
mod flow;
mod life;
mod speed;
mod terms;
mod turns;
mod workers;
