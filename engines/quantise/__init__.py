"""Storing weights in fewer bits: the arithmetic, the choice of a form for each matrix, and calibration."""
