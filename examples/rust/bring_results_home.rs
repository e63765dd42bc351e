//! Each way to bring a result home from a process.
//!
//! A shared value, a shared array, a pipe, a queue; and the return value
//! itself, which `join` gives.

use procession::{Pipe, Process, Queue, Result, Shared, SharedArray, pipe};

/// Leaves the sum in a number that both processes see.
fn into_value(value: Shared<i32>, numbers: Vec<i32>) {
    value
        .set(numbers.iter().sum())
        .expect("nobody dies holding it");
}

/// Squares in place numbers that both processes see.
fn into_array(array: SharedArray<i32>) {
    for number in &mut *array.lock().expect("nobody dies holding it") {
        *number *= *number;
    }
}

/// Sends one message through a pipe, and closes its end.
fn into_pipe(end: Pipe<String, ()>, numbers: Vec<i32>) {
    let largest = numbers.iter().max().expect("there are numbers");
    end.send(format!("the largest is {largest}"))
        .expect("the parent listens");
}

/// Puts one item for each number.
fn into_queue(queue: Queue<i32>, numbers: Vec<i32>) {
    for number in numbers {
        queue.put(number * 10).expect("the queue is open");
    }
}

/// Returns the result, as any function does.
fn by_return(numbers: Vec<i32>) -> i32 {
    numbers.iter().map(|number| number * number).sum()
}

fn show_value(numbers: &[i32]) -> Result<()> {
    let value = Shared::new(0)?;
    let child = Process::new(into_value)
        .args((value.clone(), numbers.to_vec()))
        .start()?;
    child.join()?;
    println!("shared value: {}", value.get()?);
    Ok(())
}

fn show_array(numbers: &[i32]) -> Result<()> {
    let array = SharedArray::from_slice(numbers)?;
    Process::new(into_array)
        .args(array.clone())
        .start()?
        .join()?;
    println!("shared array: {:?}", array.to_vec()?);
    Ok(())
}

fn show_pipe(numbers: &[i32]) -> Result<()> {
    let (receiver, sender) = pipe::<(), String>()?;
    let child = Process::new(into_pipe)
        .args((sender, numbers.to_vec()))
        .start()?;
    println!("pipe: {}", receiver.recv()?);
    child.join()
}

fn show_queue(numbers: &[i32]) -> Result<()> {
    let queue = Queue::new()?;
    let child = Process::new(into_queue)
        .args((queue.clone(), numbers.to_vec()))
        .start()?;
    let answers: Vec<i32> = numbers.iter().map(|_| queue.get()).collect::<Result<_>>()?;
    println!("queue: {answers:?}");
    child.join()
}

fn show_result(numbers: &[i32]) -> Result<()> {
    let child = Process::new(by_return).args(numbers.to_vec()).start()?;
    println!("result: {}", child.join()?);
    Ok(())
}

#[procession::main]
fn main() -> Result<()> {
    let numbers = [1, 2, 3, 4];
    show_value(&numbers)?;
    show_array(&numbers)?;
    show_pipe(&numbers)?;
    show_queue(&numbers)?;
    show_result(&numbers)
}
