"""How many bytes of large bodies may be in memory at one time, those of all requests together."""


class ByteBudget:
    """Counts the bytes of the bodies under way; to be used by one thread.

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

    def take(self, n_bytes: int, largest_bytes: int) -> bool:
        """Count bytes that arrived; False, and nothing is counted, if they are too many.

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

    def give_back(self, n_bytes: int) -> None:
        """Count bytes that are no longer held."""
        self.n_bytes -= n_bytes
