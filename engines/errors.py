"""The errors of engines that a caller may act on. Each message says what to do next."""


class EngineError(Exception):
    """Base of all errors that engines raise on purpose."""


class UnsupportedModel(EngineError):
    """A configuration value that the graph builder does not implement."""


class DamagedBundle(EngineError):
    """A bundle that fails its hashes, or is not a bundle."""


class IncompatibleBundle(EngineError):
    """A bundle of a format version, or with builds, that this software cannot run."""


class RuntimeMissing(IncompatibleBundle):
    """A runtime that this machine does not have, or a bundle that has no build for it: another may do."""


class UntrustedBundle(EngineError):
    """A bundle that is not signed, or not by a key that is trusted here, where that is required."""


class NotEnoughMemory(EngineError):
    """An engine and the context it was to be opened with need more memory than is free."""


class UnknownQuestion(EngineError):
    """A question, or an allowed answer, that the engine was not trained for."""


class PromptTooLong(EngineError):
    """Prompt and images together exceed the context the engine was opened with."""


class UndecodableAnswer(EngineError):
    """No valid answer came out: the grammar was not completed, or the logits were not finite."""


class BadImage(EngineError):
    """A picture the engine cannot take: wrong shape, type, or an aspect ratio out of range."""


class BadQuestion(EngineError):
    """A prompt or a grammar that nobody could answer: a broken pattern, no allowed value."""
