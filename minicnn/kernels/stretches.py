"""The width of the vectors that a window is cut into for the backward pass of a pool."""

from collections.abc import Callable, Iterable

from minicnn.kernels.target import ACCUMULATOR_REGISTERS, SIMD_WIDTH

VECTOR_WIDTHS = (1, 2, 4, 8, 16, 32)


def choose_width(rows: int, R: int, fitting: Iterable[int], nine: Callable[[int], bool]) -> int:
    """Choose the lanes of the vectors that some rows are cut into.

    Parameters
    ----------
    rows : int
    R : int
        Numbers of a row.
    fitting : iterable of int
        Lanes to choose from, of `VECTOR_WIDTHS`.
    nine : callable
        Says of so many lanes whether nine vectors are summed at once.

    Returns
    -------
    int
        Those with which the fewest registers are summed, of several those with which the numbers
        come by the fewest times, and of these the most.
    """

    def cost(lanes: int) -> tuple[int, int, int]:
        vectors = rows * -(-R // lanes)
        nines = vectors // 9 if nine(lanes) else 0
        threes = -(-(vectors - 9 * nines) // 3)
        registers = (9 * nines + 3 * threes) * -(-lanes // SIMD_WIDTH)
        return registers, nines + threes, -lanes

    return min(fitting, key=cost)


def nine_fit_in_registers(lanes: int) -> bool:
    """Tell whether the sums of nine vectors fit in the registers.

    Parameters
    ----------
    lanes : int

    Returns
    -------
    bool
    """
    return 9 * -(-lanes // SIMD_WIDTH) <= ACCUMULATOR_REGISTERS
