"""From a kernel's source to PTX for a chip, and to the table of what each chip spends on it. Needs no GPU."""
