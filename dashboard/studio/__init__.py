"""Recipes as people change them: drafts, their form, their differences, and what they would have changed."""
