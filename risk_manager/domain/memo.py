"""What was worked out about a frozen value, written down beside it."""


class Memo[T](dict[str, T]):
    """Answers about one value by the name of the question, each with what else it followed from.

    The only thing in the core that is written into a value. It saves time and never changes an
    answer: whoever recalls one compares what it followed from. A changed value begins with an
    empty memo. A memo is not compared, copied, stored or replayed.
    """
