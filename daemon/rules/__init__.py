"""Rules a machine can check, and the one function that turns answers into a verdict."""
