"""What a program in a container can ask and say."""

import os

import procession


def size_of_a_pool() -> None:
    """The default is what this process may use: affinity, and its quota."""
    usable = procession.cpu_count()
    with procession.Pool() as pool:
        print("one worker for each usable CPU:", len(pool.workers()) == usable)


def threads_of_a_worker() -> str:
    return os.environ["OMP_NUM_THREADS"]


def limit_threads() -> None:
    """One thread of BLAS in each worker: the workers are the parallelism."""
    with procession.Pool(2, threads_per_worker=1) as pool:
        print("threads in a worker:", pool.apply(threads_of_a_worker))


def leave_no_name() -> None:
    """Shared memory has no name: none of it lies in /dev/shm."""
    queue = procession.Queue()
    queue.put(bytes(1 << 20))
    with open("/proc/self/maps") as maps:
        print("memory in /dev/shm:", any("/dev/shm" in line for line in maps))
    queue.get()


if __name__ == "__main__":
    size_of_a_pool()
    limit_threads()
    leave_no_name()
