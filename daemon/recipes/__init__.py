"""Recipes: the versioned description of one inspection, and the shelf of installed ones."""
