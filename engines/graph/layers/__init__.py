"""The decoder's layers, each described once in terms of a dialect's rows."""
