"""People: who may come in, what each may do and where, and what was done.

`accounts`, `sessions` and `attempts` keep it in the database, `audit` writes down every change, `rights` says
what a role may, `guard` asks before every request. Knows no device and no page.
"""
