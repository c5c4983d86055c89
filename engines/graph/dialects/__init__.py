"""The dialects: how each runtime wants the few special operators to be said."""
