"""Alerts: what a person should hear of, from its beginning to its end, and how it reaches them.

`plan` says what is watched, `levels` how each thing is, `standing` when that begins and ends an alert.
`watch` does it in the following process; `channels` and `deliver` tell people, by `mail` and `webhook`.
`pages` shows it.
"""
