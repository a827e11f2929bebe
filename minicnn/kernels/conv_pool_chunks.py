"""Choice of the chunks of a window in the backward pass of conv-pool.

A window is KH rows of K_row = KW·C values. Each row is cut into chunks of one vector; nine or three
chunks are accumulated together, which are one microtile.
"""

from collections.abc import Callable, Iterable

from minicnn.kernels.target import ACCUMULATOR_REGISTERS, SIMD_WIDTH

VECTOR_WIDTHS = (1, 2, 4, 8, 16, 32)
NINE_ROWS = tuple(range(9))


def choose_width(
    KH: int, K_row: int, fitting: Iterable[int], nine_fit: Callable[[int], bool]
) -> int:
    """Return the width with the fewest accumulator registers.

    If several have, return the one with the fewest microtiles, which each read all gradients, then
    the largest. `nine_fit` returns whether a microtile of a width may have nine chunks.
    """

    def cost(width: int) -> tuple[int, int, int]:
        chunks = KH * -(-K_row // width)
        nines = chunks // 9 if nine_fit(width) else 0
        threes = -(-(chunks - 9 * nines) // 3)
        registers = (9 * nines + 3 * threes) * -(-width // SIMD_WIDTH)
        return registers, nines + threes, -width

    return min(fitting, key=cost)


def nine_fit_in_registers(width: int) -> bool:
    """Return whether nine accumulators of a width fit in the registers."""
    return 9 * -(-width // SIMD_WIDTH) <= ACCUMULATOR_REGISTERS
