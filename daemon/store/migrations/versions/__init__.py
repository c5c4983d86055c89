"""One file a schema revision, in order; a released file is never edited."""
