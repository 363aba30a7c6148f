"""The limit on the bytes of large request bodies in memory at one time."""


class ByteBudget:
    """A counter of the bytes of open request bodies, for one thread.

    Parameters
    ----------
    least_bytes : int
        The total limit, unless `n_largest` bodies of the largest size need more.
    n_largest : int
        The number of bodies of the largest size that fit at a time.
    """

    def __init__(self, least_bytes: int, n_largest: int) -> None:
        self._least_bytes = least_bytes
        self._n_largest = n_largest
        self.n_bytes = 0

    def reserve(self, n_bytes: int, largest_bytes: int) -> bool:
        """Reserve bytes and return True, or return False if the limit would be exceeded.

        Parameters
        ----------
        n_bytes : int
            The bytes to reserve.
        largest_bytes : int
            The size limit of a single body.
        """
        limit = max(self._least_bytes, self._n_largest * largest_bytes)
        if self.n_bytes + n_bytes > limit:
            return False
        self.n_bytes += n_bytes
        return True

    def release(self, n_bytes: int) -> None:
        """Release reserved bytes."""
        self.n_bytes -= n_bytes
