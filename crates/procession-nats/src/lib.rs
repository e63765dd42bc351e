//! Pools of procession on other machines, over NATS JetStream.
//!
//! [`connect`] makes what [`Pool::on`](procession::Pool::on) takes; a program that calls [`init`] first
//! is a node where the variable `PROCESSION_NODE` has an address.
//!
#![doc = include_str!("../README.md")]

mod access;
mod address;
mod faults;
mod link;
mod memory;
mod names;
mod objects;
mod post;
mod pull;
mod remains;
mod streams;
mod wire;

mod agent;
mod clients;
mod doubt;
mod held;
mod holders;
mod letter;
mod node;
mod pullers;
mod signals;
mod window;

mod audit;
mod carrier;
mod client;
mod command;
mod farewell;
mod parcel;
mod withdraw;

pub use async_nats::ConnectOptions;
pub use client::{Nats, connect};
pub use node::{init, serve};
