"""The limit on the bytes of large request bodies in memory at one time."""


class ByteBudget:
    """A counter of the bytes of open request bodies, for one thread.

    Parameters
    ----------
    least_bytes : int
        What may be under way, unless the limit of one body asks for more.
    n_largest : int
        So many bodies of the largest size may be under way.
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
            How many arrived.
        largest_bytes : int
            How many the body of a request may have.
        """
        limit = max(self._least_bytes, self._n_largest * largest_bytes)
        if self.n_bytes + n_bytes > limit:
            return False
        self.n_bytes += n_bytes
        return True

    def release(self, n_bytes: int) -> None:
        """Release reserved bytes."""
        self.n_bytes -= n_bytes
