"""Questions to a person: from an option where it was given, else asked at the terminal."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice[T]:
    """One possible answer: the word for the option, what it means, and its value."""

    word: str
    meaning: str
    value: T


class Unusable(ValueError):
    """An answer that cannot be used; the message says why, and what to write."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Asks what the options of a command have not answered.

    Without a terminal a missing answer is a usage error that names the option.
    """

    arguments: argparse.Namespace

    @property
    def can_ask(self) -> bool:
        return sys.stdin.isatty()

    def choose[T](
        self,
        option: str,
        given: str | None,
        question: str,
        choices: Sequence[Choice[T]],
        default: str | None = None,
    ) -> T:
        """Return the value of one choice. `given` is the word of the option, None without it."""
        known = {choice.word: choice.value for choice in choices}

        def read(text: str) -> T:
            if text.isdigit() and 0 < int(text) <= len(choices):
                return choices[int(text) - 1].value
            if text in known:
                return known[text]
            raise Unusable(f"{text!r} is none of {', '.join(known)}")

        if given is None and self.can_ask:
            print(f"\n{question}")
            width = max(len(word) for word in known)
            for number, choice in enumerate(choices, start=1):
                print(f"  {number:>2}  {choice.word:<{width}}  {choice.meaning}".rstrip())
        return self.ask(option, given, "Number or word", read, default)

    def ask[T](
        self,
        option: str,
        given: str | None,
        prompt: str,
        read: Callable[[str], T],
        default: str | None = None,
    ) -> T:
        """Return an answer as `read` makes it, which raises Unusable for what it cannot use."""
        if given is not None:
            try:
                return read(given)
            except Unusable as error:
                self.arguments.usage(f"{option}: {error}")
        self.require_terminal(option)
        while True:
            text = input(f"{prompt}{f' [{default}]' if default else ''}: ").strip() or default or ""
            try:
                if text:
                    return read(text)
            except Unusable as error:
                print(f"  {error}")

    def require_terminal(self, option: str) -> None:
        """End the command as wrongly used unless somebody can be asked."""
        if not self.can_ask:
            self.arguments.usage(f"nobody can be asked here; give {option}")
