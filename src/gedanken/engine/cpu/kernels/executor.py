"""How several threads work through one program together.

A program is a row of Ints: the number of instructions, then from place 8 on eight Ints for each: kernel, its
arguments, number of tasks, tasks handed out, tasks done. A thread that comes late or not at all delays nobody:
whoever is there takes the next task. An instruction starts when all tasks of the one before it are done, so that sums
come out the same for any number of threads.

The control block, Ints on lines of their own:
    0  the program's address     8  turn: counts programs up     16  open: whether helpers may enter
    24 helpers inside            32  and every 8 from there on, for helper 0, 1, ...: whether it is asleep, its memory
"""

from gedanken.engine.cpu.language import (
    Int,
    Ints,
    atomic_add,
    atomic_load,
    atomic_swap,
    call,
    flush_denormals,
    give_way,
    helper,
    ints,
    pause,
    restore,
)

SPINS = 2000  # glances before a waiting thread lets others run: some tens of microseconds


@helper
def glance(glances):
    if glances > SPINS:
        give_way()
    else:
        pause()
    return glances + 1


@helper
def work(program, scratch):
    state = flush_denormals()
    for instruction in range(1, program[0] + 1):
        base = 8 * instruction
        tasks = program[base + 2]
        while True:
            task = atomic_add(program, base + 3, 1)
            if task >= tasks:
                break
            call(program[base], program[base + 1], task, scratch)
            atomic_add(program, base + 4, 1)
        glances = 0
        while atomic_load(program, base + 4) < tasks:
            glances = glance(glances)
    restore(state)


def lead(task: Int, scratch: Ints, control: Ints, memory: Int):
    """Run the program named in the control block, and return when it is done and no helper is inside."""
    program = ints(control[0])
    for instruction in range(1, program[0] + 1):
        program[8 * instruction + 3] = 0
        program[8 * instruction + 4] = 0
    atomic_swap(control, 16, 1)
    atomic_add(control, 8, 1)
    work(program, memory)
    atomic_swap(control, 16, 0)
    glances = 0
    while atomic_load(control, 24) > 0:
        glances = glance(glances)


def assist(task: Int, scratch: Ints, control: Ints, helper_number: Int, patience: Int):
    """Help with programs until none came for `patience` glances, then say that this helper is asleep."""
    place = 32 + 8 * helper_number
    seen = atomic_load(control, 8) - 1
    glances = 0
    while glances < patience:
        turn = atomic_load(control, 8)
        if turn == seen:
            glances = glance(glances)
            continue
        seen, glances = turn, 0
        atomic_add(control, 24, 1)
        if atomic_load(control, 16) == 1:
            work(ints(control[0]), control[place + 1])
        atomic_add(control, 24, -1)
    atomic_swap(control, place, 1)
