"""A memo: results computed about a frozen value and kept beside it."""


class Memo[T](dict[str, T]):
    """Cached results about one value, by name, each kept with the other inputs it depends on.

    A memo is the only thing that the pure code writes into a value. It saves time and never changes
    a result: a reader compares the stored inputs before using one. A changed value begins with an
    empty memo, except where `FOLLOWS_FROM` of its class names the only fields that count (see
    `fast_replace`). Memos are not compared, stored or replayed.
    """
