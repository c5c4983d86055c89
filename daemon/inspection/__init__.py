"""From a trigger to a verdict: crops, gates, the engine's answers, rules, and the station that runs them."""
