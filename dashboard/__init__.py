"""What people see, trust and steer: the fleet in a browser.

How it hangs together
    One process follows the devices and writes (`ingest`, under a lease); others draw pages and hold
    nothing (`app`, `serve`); `processes` starts both. They share the database (`database`), nothing else.
    Pages read it through `reading`; what the database does not hold (pictures) comes through
    `devices.doors`. Who may do what is `people`. `simulator` plays devices that are not there.

How to add a page, for instance the review queue
    1. Reading: `reading/reviews.py`, functions of a `Session` and a `Person` that give frozen values.
       Leave out what `person.role_at(place_of(device))` says None for. Anything that counts over many
       results reads `hourly_verdicts` and `hourly_defects`, never `results`.
    2. Blueprint: `reviews.py`, one for the noun; add it to `app.BLUEPRINTS`. Every route has, under its
       `@blueprint` line, `@needs(Role.REVIEWER)` (`everywhere=True` for what has no line; `@public`
       hardly ever): a route without is refused, and a test enumerates them. A route that names a device
       begins with `device_or_404(session, key)`; one that changes something of it calls
       `must(Role.ENGINEER, place_of(device))`.
    3. Changes: in one `with writing() as session:` the change and its `audit.note(session, now,
       person().name, "review.decide", subject, detail)`. Only POST changes anything. The guard checks the
       form: `parts.form(url)` puts the token in; a script sends `X-CSRF-Token`, taken from a `data-csrf`
       that the template wrote.
    4. Template: `templates/reviews/…`, extends `base.html` (blocks: title, styles, body_class, body_data,
       where, tools, clock, main, scripts); tables, states, fields, empty places, strips and pagers from
       `_parts.html`; shapes, ages and bars from `_icons.html`. No inline script or style: the policy
       forbids it. Colours are the variables of `lineside.css`; a page's own rules go to
       `static/reviews.css` (block styles).
    5. Words: `texts/reviews.py` with `WORDS = {"key": ("English", "German")}`, added to `texts.PAIRS`.
    6. Navigation: a line in `navigation.ENTRIES`.
    7. Live: `wall.stream(live.overview_stream(draw, seconds, stopping))` and `Live.follow(url, {rows:
       …})` in a script; both say by themselves when nothing was heard.
    8. Tables: a class in `database/*_tables.py` and a file in `database/migrations/versions` (a test
       compares them, on SQLite and PostgreSQL). `database.insert(table)` has ON CONFLICT on both.
    9. Tests: `tests/dashboard/test_reviews.py`: `client_for(device)` is signed in over a followed
       scripted device, `client_of(app, Role.VIEWER, "ben")` is another person; `database` gives both
       kinds, `sqlite_database` one. In the browser: `served(app)` and `enter(page, app, url)`; add the
       page's path to the accessibility test.
"""
