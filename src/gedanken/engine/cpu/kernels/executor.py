"""How several threads work through one program together.

A program is a row of Ints: the number of instructions, then from place 8 on eight Ints for each: kernel, its
arguments, number of tasks, tasks handed out, tasks done. A thread that comes late or not at all delays nobody:
whoever is there takes the next task. An instruction starts when all tasks of the one before it are done, so that sums
come out the same for any number of threads.

The control block, Ints on lines of their own:
    0  the program's address     1  the table of the threads' memories, the leader's first
    8  turn: counts programs up  9  over: whether helpers shall end
    16 open: whether helpers may enter
    24 helpers inside
    32 and every 8 from there on, for helper 0, 1, ...: whether it is asleep

Only `lead` says what the program is and where the memories are, and only while it is at work: whatever interrupts its
caller before or after, another program's run included, finds nothing half said.
"""

from gedanken.engine.cpu.language import (
    Int,
    Ints,
    atomic_add,
    atomic_load,
    atomic_swap,
    call,
    flush_denormals,
    inline,
    ints,
    pause,
    restore,
    yield_thread,
)

SPINS = 2000  # glances before a waiting thread lets others run: some tens of microseconds


@inline
def glance(glances):
    if glances > SPINS:
        yield_thread()
    else:
        pause()
    return glances + 1


@inline
def work(program, scratch):
    state = flush_denormals()
    for instruction in range(1, program[0] + 1):
        base = 8 * instruction
        tasks = program[base + 2]
        while True:
            # Whoever is free takes the next task, so a helper that comes late delays nobody.
            task = atomic_add(program, base + 3, 1)
            if task >= tasks:
                break
            call(program[base], program[base + 1], task, scratch)
            atomic_add(program, base + 4, 1)
        glances = 0
        # The next instruction reads what this one writes: wait for the tasks of other threads too.
        while atomic_load(program, base + 4) < tasks:
            glances = glance(glances)
    restore(state)


def flush(task: Int, scratch: Ints):
    """Let the calling thread take denormals as zero from now on, in all that it computes."""
    flush_denormals()


def lead(task: Int, scratch: Ints, control: Ints, memories: Int):
    """Run the program at the address `task`, and return when it is done and no helper is inside."""
    program = ints(task)
    # No task is taken and none is done.
    for instruction in range(1, program[0] + 1):
        program[8 * instruction + 3] = 0
        program[8 * instruction + 4] = 0
    control[0] = task
    control[1] = memories
    # Opened before helpers see the new turn, and closed before they are waited for.
    atomic_swap(control, 16, 1)
    atomic_add(control, 8, 1)
    work(program, ints(memories)[0])
    atomic_swap(control, 16, 0)
    glances = 0
    while atomic_load(control, 24) > 0:
        glances = glance(glances)


def assist(task: Int, scratch: Ints, control: Ints, helper_number: Int, patience: Int):
    """Help until no program came for `patience` glances, or all is over; then say that this helper is asleep."""
    place = 32 + 8 * helper_number
    seen = atomic_load(control, 8) - 1
    glances = 0
    while glances < patience:
        if atomic_load(control, 9) > 0:
            break
        turn = atomic_load(control, 8)
        if turn == seen:
            glances = glance(glances)
            continue
        seen, glances = turn, 0
        # Counted first and asked after that whether it is open, so `lead` misses nobody whom it let in.
        atomic_add(control, 24, 1)
        if atomic_load(control, 16) == 1:
            work(ints(control[0]), ints(control[1])[helper_number + 1])
        atomic_add(control, 24, -1)
    atomic_swap(control, place, 1)
