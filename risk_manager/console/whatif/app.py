"""A what-if as an app of its own, for `admin journal whatif --screen`."""

import os
from collections.abc import Mapping

from risk_manager.admin.whatif_question import Question
from risk_manager.console.host import Host
from risk_manager.console.whatif.form import QuestionPage
from risk_manager.console.whatif.result import ResultPage


class WhatIf(Host):
    """Begins with the answer. It only reads records, as the verb does: nobody has to sign in."""

    def __init__(self, question: Question, *, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__(question.config, question.asked.data, environ=environ)
        self._question = question

    @property
    def has_answered(self) -> bool:
        """Whether an answer is on top."""
        return isinstance(self.screen, ResultPage) and self.screen.answer is not None

    def on_mount(self) -> None:
        self.push_screen(QuestionPage(self._question, judges_at_once=True), self._leave)

    def _leave(self, _: None) -> None:
        self.exit((0, ""))
