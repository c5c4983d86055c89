"""From a picture and a question to an answer, the same for every runtime: all but running the graphs."""
