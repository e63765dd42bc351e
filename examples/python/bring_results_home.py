"""Each way to bring a result home from a process.

A shared value, a shared array, a pipe, a queue; and the return value itself,
by `Process.result`, which is procession's own: under the standard library that
part is skipped, and the output says so.
"""

import multiprocessing


def into_value(value, numbers) -> None:
    """Leaves the sum in a number that both processes see."""
    value.value = sum(numbers)


def into_array(array) -> None:
    """Squares in place numbers that both processes see."""
    with array.get_lock():
        for index, number in enumerate(array):
            array[index] = number * number


def into_pipe(connection, numbers) -> None:
    """Sends one message through a pipe, and closes its end."""
    with connection:
        connection.send(f"the largest is {max(numbers)}")


def into_queue(queue, numbers) -> None:
    """Puts one item for each number."""
    for number in numbers:
        queue.put(number * 10)


def by_return(numbers) -> int:
    """Returns the result, as any function does."""
    return sum(number * number for number in numbers)


def run(target, *args) -> None:
    """Runs a function in a process of its own, and waits for its end."""
    process = multiprocessing.Process(target=target, args=args)
    process.start()
    process.join()


def show_value(numbers) -> None:
    value = multiprocessing.Value("i", 0)
    run(into_value, value, numbers)
    print(f"shared value: {value.value}")


def show_array(numbers) -> None:
    array = multiprocessing.Array("i", numbers)
    run(into_array, array)
    print(f"shared array: {array[:]}")


def show_pipe(numbers) -> None:
    receiver, sender = multiprocessing.Pipe(duplex=False)
    with receiver, sender:
        process = multiprocessing.Process(target=into_pipe, args=(sender, numbers))
        process.start()
        print(f"pipe: {receiver.recv()}")
        process.join()


def show_queue(numbers) -> None:
    queue = multiprocessing.Queue()
    process = multiprocessing.Process(target=into_queue, args=(queue, numbers))
    process.start()
    print(f"queue: {[queue.get() for _ in numbers]}")
    process.join()


def show_result(numbers) -> None:
    if not hasattr(multiprocessing.Process, "result"):
        print("result: skipped, Process.result is procession's own")
        return
    process = multiprocessing.Process(target=by_return, args=(numbers,))
    process.start()
    print(f"result: {process.result()}")


if __name__ == "__main__":
    numbers = [1, 2, 3, 4]
    show_value(numbers)
    show_array(numbers)
    show_pipe(numbers)
    show_queue(numbers)
    show_result(numbers)
