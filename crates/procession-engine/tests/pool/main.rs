//! Pools from outside: forked workers, kills, and what becomes of each task.

mod death;
mod flow;
mod life;
mod speed;
mod workers;
