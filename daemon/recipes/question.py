"""From a recipe's question to what the engine is asked. Knows no picture and no runtime."""

from __future__ import annotations

from lineside.daemon.recipes.asks import Ask, ChoiceAnswer, CountAnswer
from lineside.engines.base import Choice, Count, Grammar, Prompt, Text


def prompt_of(ask: Ask) -> Prompt:
    """The recipe's fixed words go before the picture, so that their states are computed once."""
    return Prompt(instruction=ask.question)


def grammar_of(ask: Ask) -> Grammar:
    """What may be answered."""
    answer = ask.answer
    if isinstance(answer, ChoiceAnswer):
        return Choice(answer.choice)
    if isinstance(answer, CountAnswer):
        return Count(*answer.count)
    return Text(answer.text, answer.max_length)
